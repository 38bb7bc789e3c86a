"""The ping that keeps a way to a phone open and asks whether it is there."""

from __future__ import annotations

import hashlib

from sipcore.protocol.flow import Flow


def ping(contact: str, flow: Flow, branch: str) -> bytes:
    """An OPTIONS without a transaction: a lost one is followed by the next, and any answer will do."""
    host = f"[{flow.local[0]}]" if ":" in flow.local[0] else flow.local[0]
    us = f"{host}:{flow.local[1]}"
    call_id = hashlib.sha256(branch.encode()).hexdigest()[:24]
    return (
        f"OPTIONS {contact} SIP/2.0\r\n"
        f"Via: SIP/2.0/{flow.transport} {us};branch={branch};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:{us}>;tag={call_id[:8]}\r\nTo: <{contact}>\r\n"
        f"Call-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    ).encode()
