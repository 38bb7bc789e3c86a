"""What a person types into a phone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SipAccount:
    """The account card of an extension. The password is no part of it."""

    username: str
    server: str  # SIP_DOMAIN or this machine's own address, never the address that the socket binds to
    port: int
    transport: str  # "UDP"
