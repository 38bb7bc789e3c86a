"""What people type into a phone as the server: never the address that the socket binds."""

from __future__ import annotations

import socket


def own_address() -> str:
    """This machine's own address, the one its packets to the world carry; 127.0.0.1 without any network."""
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))  # chooses a route; a datagram socket sends nothing here
                address = probe.getsockname()[0]
        except OSError:
            continue
        if address not in ("0.0.0.0", "::"):
            return address
    return "127.0.0.1"


def sip_domain() -> str:
    """SIP_DOMAIN, or this machine's own address."""
    from django.conf import settings

    return settings.SIP_DOMAIN or own_address()


def sip_names(domain: str) -> frozenset[str]:
    """All names under which phones may know us, as they are compared: lower case, no brackets."""
    from django.conf import settings

    ours = {domain, *settings.SIP_ALIASES, settings.EXTERNAL_IP, own_address(), "localhost"}
    return frozenset(name.lower().strip("[]").rstrip(".") for name in ours if name)
