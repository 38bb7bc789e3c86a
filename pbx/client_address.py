"""Who is asking, over the web: the address for the login throttle and for the provisioning links."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

from pbx.throttle import network_of


def client_address(request: HttpRequest) -> str:
    """The address of the browser or phone. ``X-Forwarded-For`` is believed only from WEB_TRUSTED_PROXIES, and read
    from the right: what stands left of the first stranger was written by that stranger."""
    address = peer_address(request)
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    for hop in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
        if not is_trusted_proxy(address):
            break
        address = hop
    return address


def throttled_address(request: HttpRequest) -> str:
    """What the tries of one stranger are counted by: of an IPv6 address the first of its /64, which is all his."""
    return network_of(client_address(request)).partition("/")[0] or "0.0.0.0"


def peer_address(request: HttpRequest) -> str:
    """Of whoever is at the other end of the connection: the proxy, where there is one."""
    return request.META.get("REMOTE_ADDR") or "127.0.0.1"  # empty on a unix socket, which only a proxy uses


def is_trusted_proxy(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in ip_network(net, strict=False) for net in settings.WEB_TRUSTED_PROXIES)
