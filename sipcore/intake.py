"""From a REGISTER's message to what it asks: read once, cleaned and cut to what can be stored."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from sipcore.protocol.digest import Credentials
from sipcore.protocol.errors import SipError
from sipcore.protocol.flow import Flow
from sipcore.protocol.headers import SHORT, STAR, Contact, clean_text, parse_contact
from sipcore.protocol.message import Request
from sipcore.protocol.uri import Uri
from sipcore.registrar import (
    CALL_ID_LIMIT,
    CONTACT_LIMIT,
    DOMAIN_LIMIT,
    INSTANCE_LIMIT,
    KEY_LIMIT,
    MAX_CONTACTS,
    PATH_LIMIT,
    USER_AGENT_LIMIT,
    ContactRequest,
    Registration,
)

MAX_REG_ID = 2**31 - 1  # RFC 5626 section 4.2
MAX_CSEQ = 2**31 - 1  # RFC 3261 section 8.1.1.5


def read_registration(request: Request, credentials: Credentials, flow: Flow) -> Registration:
    """Raises :class:`SipError` 400 for what is wrong in itself, whoever sent it."""
    contacts = request.contacts
    asked: tuple[ContactRequest, ...] | None = None
    if contacts is not STAR:
        if len(contacts) > MAX_CONTACTS:
            raise SipError(400, "Too Many Contacts")
        for contact in contacts:
            if _leads_nowhere(contact.uri, flow.local):
                raise SipError(400, "Bad Contact")
        text = request.firsts["Contact"] if request.single and request.firsts is not None and contacts else ","
        if len(text) <= SHORT and "," not in text:  # one, written as most are
            asked = (usual_contact(text, flow.local),)
        else:
            asked = tuple([_contact(contact) for contact in contacts])
            if len({contact.key for contact in asked}) < len(asked):
                raise SipError(400, "Same Contact Twice")
    path = ", ".join(request.path)
    call_id = request.call_id
    if len(path) > PATH_LIMIT or len(call_id) > CALL_ID_LIMIT:
        raise SipError(400, "Header Too Long")
    if request.cseq.number > MAX_CSEQ:
        raise SipError(400, "Bad CSeq")
    return Registration(
        number=credentials.username,
        method=request.method,
        credentials=credentials,
        call_id=call_id,  # printable ASCII, as it was read
        cseq=request.cseq.number,
        contacts=asked,
        expires=request.expires,
        flow=flow,
        path=clean_text(path, PATH_LIMIT) if path else "",
        user_agent=request.user_agent[:USER_AGENT_LIMIT],  # cleaned as it was read
        domain=clean_text(request.to.uri.host, DOMAIN_LIMIT),
    )


@lru_cache(maxsize=8192)
def usual_contact(text: str, local: tuple[str, int]) -> ContactRequest:
    """The only Contact of a REGISTER that came to ``local``; not ``*``, and at most SHORT characters. Raises SipError
    400."""
    contact = parse_contact(text)
    if _leads_nowhere(contact.uri, local):
        raise SipError(400, "Bad Contact")
    return _contact(contact)


def _contact(contact: Contact) -> ContactRequest:
    uri = contact.uri
    if uri.scheme not in ("sip", "sips") or not uri.host:
        raise SipError(400, "Bad Contact")
    text = str(uri)
    cleaned = clean_text(text, CONTACT_LIMIT)
    instance = clean_text(contact.instance or "", INSTANCE_LIMIT)
    reg_id = contact.reg_id if instance else None
    if reg_id is not None and reg_id > MAX_REG_ID:
        raise SipError(400, "Bad reg-id")
    key = f"{instance};{reg_id}" if reg_id is not None else uri.canonical
    if len(key) > KEY_LIMIT or cleaned != text or len(contact.instance or "") > INSTANCE_LIMIT:
        raise SipError(400, "Bad Contact")
    return ContactRequest(
        key=clean_text(key, KEY_LIMIT),
        uri=text,
        user=uri.user or "",
        instance=instance,
        reg_id=reg_id,
        q=contact.q,
        expires=contact.expires,
    )


def _leads_nowhere(uri: Uri, local: tuple[str, int]) -> bool:
    """A Contact that no phone can have: the server itself (a call would chase its tail), or many at once.
    Otherwise the host does not matter, because a binding is reached at the address its REGISTER came from."""
    return (uri.host, uri.port or 5060) == local or _is_no_one(uri.host)


@lru_cache(maxsize=4096)
def _is_no_one(host: str) -> bool:
    """Multicast, broadcast, or no address at all."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_multicast or address.is_unspecified or str(address) == "255.255.255.255"


def behind_nat(contact: Uri, remote: tuple[str, int]) -> bool:
    """Whether the phone's own idea of its address differs from the one its packets come from."""
    return contact.host != remote[0] or (contact.port or 5060) != remote[1]
