"""``presence``: whether an extension can be reached (RFC 3856, PIDF of RFC 3863), and that it is in a call (RPID of
RFC 4480, which baresip and others read, and a note for people)."""

from __future__ import annotations

from collections.abc import Hashable

from sipcore.subscriptions.states import ExtensionState, Telling
from sipcore.subscriptions.xml import HEAD, attribute, text

CONTENT_TYPE = "application/pidf+xml"

NAMESPACES = (
    'xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" '
    'xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid"'
)


def seen(state: ExtensionState, named: bool) -> Hashable:
    """What is shown of this state."""
    return state.registered, state.registered and state.on_the_phone


def document(telling: Telling) -> bytes:
    state, entity = telling.state, telling.entity
    talks = state.registered and state.on_the_phone
    # No prefix before `basic`: baresip looks for these very letters.
    lines = [
        f"{HEAD}<presence {NAMESPACES} entity={attribute(entity)}>",
        f"<tuple id=\"phone\"><status><basic>{'open' if state.registered else 'closed'}</basic></status>",
        f"<contact>{text(entity)}</contact>",
    ]
    if talks and telling.note:
        lines.append(f"<note>{text(telling.note)}</note>")
    lines.append("</tuple>")
    if talks:
        lines.append(
            '<dm:person id="person"><rpid:activities><rpid:on-the-phone/></rpid:activities></dm:person>'
        )
    lines.append("</presence>\r\n")
    return "\r\n".join(lines).encode()
