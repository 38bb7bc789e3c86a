"""``message-summary``: voice messages waiting (RFC 3842). There is no mailbox yet: the counts are zero."""

from __future__ import annotations

from collections.abc import Hashable

from sipcore.subscriptions.states import ExtensionState, Telling

CONTENT_TYPE = "application/simple-message-summary"


def seen(state: ExtensionState, named: bool) -> Hashable:
    """What is shown of this state."""
    return ()


def document(telling: Telling) -> bytes:
    lines = ["Messages-Waiting: no", f"Message-Account: {telling.entity}", "Voice-Message: 0/0 (0/0)", ""]
    return "\r\n".join(lines).encode()
