"""What a phone wrote about itself, compared with where its packets really came from."""

from __future__ import annotations

from django.utils.translation import gettext as _

from pbx.diagnosis.evidence import AttemptFacts, DeviceFacts
from pbx.diagnosis.lines import place, shown
from pbx.diagnosis.networks import is_private, is_public
from sipcore.protocol.errors import SipError
from sipcore.protocol.uri import Uri, parse_host_port, parse_uri

LEARNERS = ("linphone", "belle-sip", "pjsua", "pjsip", "microsip", "csipsimple", "telephone ", "blink", "groundwire",
            "acrobits", "jitsi", "sipsak")
"""Apps that take their public address from what the server says (received, rport), and a tool that writes any: a public
address in their messages means neither STUN nor a router that rewrites."""


def uri_of(text: str) -> Uri | None:
    """A URI, or an address with one, as a phone wrote it; None when it cannot be read."""
    inner = text.partition("<")[2].partition(">")[0] or text.partition(";")[0]
    try:
        return parse_uri(inner.strip())
    except SipError:
        return None


def host_of(text: str) -> str:
    uri = uri_of(text)
    return uri.host if uri is not None else ""


def sent_by_of(text: str) -> tuple[str, int] | None:
    """Host and port of a Via's sent-by."""
    try:
        host, port = parse_host_port(text.strip())
    except SipError:
        return None
    return host, port or 5060


def learns_its_address(user_agent: str) -> bool:
    return any(name in user_agent.lower() for name in LEARNERS)


def own_address(contact: str) -> tuple[str, int] | None:
    """Host and port that a phone gives in its Contact."""
    uri = uri_of(contact)
    return None if uri is None or not uri.host else (uri.host, uri.port or 5060)


def stun_address(phone: AttemptFacts | DeviceFacts) -> tuple[str, int] | None:
    """The public address that the phone believes to have, when it is not the one its packets come from: it has asked
    a STUN server. None when all is well, or when it has another reason."""
    own = own_address(phone.asked.contact if isinstance(phone, AttemptFacts) else phone.contact)
    if own is None or phone.transport != "UDP" or learns_its_address(phone.user_agent):
        return None  # over a connection, the port in the Contact is that at which the phone listens
    if not is_public(own[0]) or is_private(phone.source) or own == (phone.source, phone.port):
        return None
    return own


def path_lines(attempt: AttemptFacts) -> tuple[str, ...]:
    """Evidence of what lies between: the address that the phone believes to have, and the one its packets have."""
    via = sent_by_of(attempt.asked.via)
    if via is None or via == (attempt.source, attempt.port):
        return ()
    lines = [
        _("The phone believes to be at %(own)s, its packets come from %(source)s: a router is between")
        % {"own": shown(place(*via)), "source": place(attempt.source, attempt.port)}
    ]
    if is_private(via[0]) and is_private(attempt.source) and via[0] != attempt.source:
        lines[0] = _(
            "The phone believes to be at %(own)s, its packets come from %(source)s: a router or VPN inside the local "
            "network is between"
        ) % {"own": shown(place(*via)), "source": place(attempt.source, attempt.port)}
    return tuple(lines)
