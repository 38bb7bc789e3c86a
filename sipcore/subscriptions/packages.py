"""The event packages we know, and how a SUBSCRIBE asks for one (RFC 6665 sections 4.1 and 8.2.1)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from sipcore.protocol.errors import SipError
from sipcore.protocol.headers import TOKEN, parse_params
from sipcore.protocol.message import Request
from sipcore.subscriptions import dialog_info, message_summary, pidf
from sipcore.subscriptions.ports import EVENT_ID_LIMIT
from sipcore.subscriptions.states import ExtensionState, Telling

MAX_ACCEPTED = 32
"""Content types looked at in Accept."""


@dataclass(frozen=True, slots=True)
class Package:
    """``seen``: what of an extension's state its document shows; NOTIFYs are sent when this changes. ``own_only``: an
    extension may only ask for itself."""

    name: str
    content_type: str
    seen: Callable[[ExtensionState, bool], Hashable]
    document: Callable[[Telling], bytes]
    own_only: bool = False


PACKAGES = {
    package.name: package
    for package in (
        Package("dialog", dialog_info.CONTENT_TYPE, dialog_info.seen, dialog_info.document),
        Package("presence", pidf.CONTENT_TYPE, pidf.seen, pidf.document),
        Package("message-summary", message_summary.CONTENT_TYPE, message_summary.seen, message_summary.document, True),
    )
}
ALLOW_EVENTS = ", ".join(PACKAGES)


class Refusal(SipError):
    """An answer that needs headers."""

    def __init__(self, status: int, reason: str, *headers: tuple[str, str]) -> None:
        super().__init__(status, reason)
        self.headers = list(headers)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds."""

    min_expires: int = 60
    max_expires: int = 3600
    default_expires: int = 3600


@dataclass(frozen=True, slots=True)
class Asked:
    """What a SUBSCRIBE asks. ``expires`` is what is granted (seconds): 0 ends it, or only wants to know once."""

    package: Package
    event_id: str
    expires: int


def read_subscribe(request: Request, limits: Limits) -> Asked:
    """Raises :class:`Refusal` 489, 406, 423 and SipError 400."""
    event, _, rest = (request.get("Event") or "").partition(";")
    package = PACKAGES.get(event.strip(" \t").lower())
    if package is None:
        raise Refusal(489, "Bad Event", ("Allow-Events", ALLOW_EVENTS))
    event_id = parse_params(rest).get("id") or ""
    if event_id and (TOKEN.fullmatch(event_id) is None or len(event_id) > EVENT_ID_LIMIT):
        raise SipError(400, "Bad Event")
    if not _accepts(request, package.content_type):
        raise Refusal(406, "Not Acceptable", ("Accept", package.content_type))
    expires = request.expires if request.expires is not None else limits.default_expires
    if 0 < expires < limits.min_expires:
        raise Refusal(423, "Interval Too Brief", ("Min-Expires", str(limits.min_expires)))
    return Asked(package, event_id, min(expires, limits.max_expires))


def _accepts(request: Request, content_type: str) -> bool:
    """Without Accept the package's own type is meant (RFC 6665 section 3.1.3)."""
    lines = request.getall("Accept")
    if not any(line.strip(" \t") for line in lines):
        return True
    wanted = {content_type, "*/*", content_type.partition("/")[0] + "/*"}
    accepted = ",".join(lines).split(",", MAX_ACCEPTED)
    return any(value.partition(";")[0].strip(" \t").lower() in wanted for value in accepted)
