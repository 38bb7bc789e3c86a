"""What an address says about where a phone is. Python's ``ipaddress`` calls more than these private: the documentation
networks too, which stand for public addresses wherever somebody tries things out."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

LOOPBACK = tuple(map(ip_network, ("127.0.0.0/8", "::1/128")))
CARRIER = tuple(map(ip_network, ("100.64.0.0/10",)))  # RFC 6598: behind a provider's own NAT
LOCAL = tuple(map(ip_network, (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
    "169.254.0.0/16", "fe80::/10",  # link-local
    "fc00::/7",  # RFC 4193
)))  # fmt: skip


def is_address(host: str) -> bool:
    return _address(host) is not None


def is_private(host: str) -> bool:
    """Whether it is an address that means something only in its own network."""
    return _among(host, (*LOOPBACK, *CARRIER, *LOCAL))


def is_loopback(host: str) -> bool:
    return _among(host, LOOPBACK)


def is_public(host: str) -> bool:
    """Whether it is an address, and means something everywhere."""
    return is_address(host) and not is_private(host)


def _among(host: str, networks: tuple) -> bool:
    address = _address(host)
    return address is not None and any(address in network for network in networks)


def _address(host: str):
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
