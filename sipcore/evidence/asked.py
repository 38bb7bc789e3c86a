"""What a request asked with, for the comparison with what it should have been."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from sipcore.evidence.facts import Asked
from sipcore.evidence.scrub import without_uri_passwords
from sipcore.protocol.digest import Credentials, parse_authorization
from sipcore.protocol.errors import SipError
from sipcore.protocol.headers import Contact, Star, clean_text, parse_number, split_list
from sipcore.protocol.message import Request, parse_message

MOST_TEXT = 256
MOST_NUMBER = 64
"""Characters."""

T = TypeVar("T")


def number_of(request: Request) -> str:
    """Whose number it is: of a REGISTER the To, of anything else (or where that cannot be read) the From. Empty when it
    cannot be read."""
    if request.method == "REGISTER":
        with suppress(SipError):
            return clean_text(request.to.uri.canonical_user, MOST_NUMBER)
    with suppress(SipError):
        return clean_text(request.from_.uri.canonical_user, MOST_NUMBER)
    return ""


def read_request(data: bytes) -> Request | None:
    """What can be read of a request, whatever is wrong with it."""
    try:
        message = parse_message(data)
    except SipError as error:
        message = error.message
    return message if isinstance(message, Request) else None


def asked_of(request: Request, data: bytes = b"", fault: str = "") -> Asked:
    """``data``: the message as it came, where it is known. Raises nothing: what cannot be read stays empty."""
    contacts: list[Contact] | Star = []
    with suppress(SipError):
        contacts = request.contacts
    listed = [] if isinstance(contacts, Star) else contacts
    no_vias: list[str] = []
    vias = _try(lambda: split_list(", ".join(request.getall("Via"))), no_vias)
    credentials = _credentials(request)
    expires = listed[0].expires if listed else None
    if expires is None:
        expires = request.expires
    body = data.partition(b"\r\n\r\n")[2] if data else request.body
    return Asked(
        method=_clean(request.method),
        request_uri=_clean(request.uri),
        from_uri=_clean(_try(lambda: str(request.from_.uri), "")),
        to_uri=_clean(_try(lambda: str(request.to.uri), "")),
        contact="*" if isinstance(contacts, Star) else _clean(str(listed[0].uri)) if listed else "",
        contacts=1 if isinstance(contacts, Star) else len(listed),
        via=_clean(_try(lambda: request.via.sent_by, "")),
        via_transport=_clean(_try(lambda: request.via.transport, "")),
        vias=len(vias),
        route=_clean(request.get("Route") or ""),
        expires=expires,
        user_agent=_clean(request.get("User-Agent") or ""),
        call_id=clean_text(request.get("Call-ID") or "", MOST_TEXT),
        digest_username=_clean(credentials.username) if credentials else "",
        digest_realm=_clean(credentials.realm) if credentials else "",
        digest_uri=_clean(credentials.uri) if credentials else "",
        digest_algorithm=_clean(credentials.algorithm) if credentials else "",
        digest_qop=_clean(credentials.qop or "") if credentials else "",
        fault=fault,
        content_length=parse_number((request.get("Content-Length") or "").strip()),
        body_bytes=len(body),
    )


def _credentials(request: Request) -> Credentials | None:
    for value in request.getall("Authorization") + request.getall("Proxy-Authorization"):
        with suppress(SipError):
            return parse_authorization(value)
    return None


def _try(read: Callable[[], T], otherwise: T) -> T:
    try:
        return read()
    except SipError:
        return otherwise


def _clean(text: str) -> str:
    return clean_text(without_uri_passwords(text[: 4 * MOST_TEXT]), MOST_TEXT)
