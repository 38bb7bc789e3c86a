"""Who may reach the pages at all: only ADMIN_NETS, but for the few addresses that phones open from anywhere.

A stranger gets the same answer for every other address, whether there is something behind it or not. Blocks of SIP
addresses play no part here: whoever mistypes a phone's password can still open the admin to mend it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.loader import render_to_string
from django.utils import translation

from pbx.client_address import client_address, is_trusted_proxy, peer_address

PUBLIC = ("/p/", "/phone/", "/static/pbx/")
"""The test from outside, the one-time links for Linphone, and the style sheets of both."""

MARKS_OF_A_PROXY = (
    "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_X_REAL_IP", "HTTP_FORWARDED",
    "HTTP_VIA",
)


class AdminReachMiddleware:
    """Stands before everything that answers, the static files included."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if may_administer(request):
            return self.get_response(request)
        if is_public(request.path_info):
            if request.method in ("GET", "HEAD"):
                return self.get_response(request)
            return HttpResponseNotAllowed(("GET", "HEAD"))  # and nothing of what it brings is read
        if is_through_strange_proxy(request):
            _name_proxy(peer_address(request))
        with translation.override(translation.get_language_from_request(request)):
            page = render_to_string("out_of_reach.html", {"address": shown_address(request)}, request)
        response = HttpResponse(page, status=404)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Vary"] = "Accept-Language, Cookie"
        return response


@lru_cache(maxsize=64)
def _name_proxy(address: str) -> None:
    """Once for each, because it cannot be told from a browser in the house that has a proxy of its own."""
    logging.getLogger("pbx.web").warning(
        "[WEB] Refused what came through a proxy at %s. If it is yours, add %s to WEB_TRUSTED_PROXIES in .env, and let "
        "it send X-Forwarded-For.", address, address,
    )


def is_public(path: str) -> bool:
    # No dots: what a proxy, or the code behind, takes for another path is not public.
    return path.startswith(PUBLIC) and "/../" not in path and "/./" not in path and "//" not in path


def may_administer(request: HttpRequest) -> bool:
    """Whether the client's address is within ADMIN_NETS. A proxy that does not say whose request it brings, or that is
    none of WEB_TRUSTED_PROXIES, would make every stranger look like itself, that is, like a machine in the house: such
    a request is refused."""
    return not is_through_strange_proxy(request) and is_within(client_address(request), tuple(settings.ADMIN_NETS))


def is_through_strange_proxy(request: HttpRequest) -> bool:
    """Whether it came through a proxy whose word is not taken for where it came from."""
    if not any(mark in request.META for mark in MARKS_OF_A_PROXY):
        return False
    named = request.META.get("HTTP_X_FORWARDED_FOR", "").strip(", ")
    return not named or not is_trusted_proxy(peer_address(request))


def is_within(text: str, networks: tuple[str, ...]) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in _networks(networks))


def shown_address(request: HttpRequest) -> str:
    """What an administrator would have to add to ADMIN_NETS; empty when it is no address."""
    try:
        return str(ip_address(client_address(request)))
    except ValueError:
        return ""


@lru_cache(maxsize=8)
def _networks(networks: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(network, strict=False) for network in networks)
