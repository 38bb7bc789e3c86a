"""``dialog``: the calls of an extension (RFC 4235), what a lamp (BLF) shows.

Documents always tell the whole state. By default the other party is not named: who calls the director is not for
everyone with a lamp."""

from __future__ import annotations

from collections.abc import Hashable

from sipcore.subscriptions.states import Conversation, ExtensionState, Telling
from sipcore.subscriptions.xml import HEAD, attribute, text

CONTENT_TYPE = "application/dialog-info+xml"


def seen(state: ExtensionState, named: bool) -> Hashable:
    """What is shown of this state."""
    if named:
        return state.conversations
    return tuple((c.id, c.outgoing, c.state) for c in state.conversations)


def document(telling: Telling) -> bytes:
    lines = [
        f'{HEAD}<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="{telling.version}" state="full" '
        f"entity={attribute(telling.entity)}>"
    ]
    if telling.state.conversations:
        lines += [_dialog(telling, conversation, conversation.state) for conversation in telling.state.conversations]
    elif telling.ended:
        lines += [_dialog(telling, conversation, "terminated") for conversation in telling.ended]
    else:
        # Yealink, Grandstream and Snom put a lamp out by a terminated dialog, not by the absence of dialogs.
        lines.append(f"<dialog id={attribute(telling.number)}><state>terminated</state></dialog>")
    lines.append("</dialog-info>\r\n")
    return "\r\n".join(lines).encode()


def _dialog(telling: Telling, conversation: Conversation, state: str) -> str:
    direction = "initiator" if conversation.outgoing else "recipient"
    remote = ""
    if telling.named and conversation.remote:
        name = f" display={attribute(conversation.remote_name)}" if conversation.remote_name else ""
        uri = f"sip:{conversation.remote}@{telling.domain}"
        remote = f"<remote><identity{name}>{text(uri)}</identity><target uri={attribute(uri)}/></remote>"
    return (
        f'<dialog id={attribute(conversation.id)} direction="{direction}"><state>{state}</state>{remote}</dialog>'
    )
