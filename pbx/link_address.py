"""With what address a link begins that a phone shall open: the administrator's browser may use one, such as
127.0.0.1 at the end of a tunnel, that no phone can follow."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port

from extensions.card import url_host
from extensions.provisioning import is_private_address, resolves_to_private
from pbx.checks import ipaddress_is_loopback

INNER_ENDINGS = (".localhost", ".local", ".lan", ".home", ".internal", ".home.arpa")


class Reach(Enum):
    ANYWHERE = "anywhere"
    FORWARDED = "forwarded"  # where the router forwards the port of the pages
    INSIDE = "inside"  # only within the network of this server
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class LinkAddress:
    origin: str
    """Scheme, host and port, without a slash; empty when there is none."""
    reach: Reach


def link_address(request: HttpRequest) -> LinkAddress:
    """WEB_PUBLIC_URL, else the address that this browser uses, else the router's, whichever reaches farthest."""
    if settings.WEB_PUBLIC_URL:
        return LinkAddress(settings.WEB_PUBLIC_URL, Reach.ANYWHERE)
    host = split_domain_port(request.get_host())[0]
    if not leads_inside(host):
        return LinkAddress(f"{request.scheme}://{request.get_host()}", Reach.ANYWHERE)
    open_port = not ipaddress_is_loopback(settings.WEB_HOST)
    if open_port and settings.EXTERNAL_IP and not is_private_address(settings.EXTERNAL_IP):
        return LinkAddress(f"http://{url_host(settings.EXTERNAL_IP)}:{settings.WEB_PORT}", Reach.FORWARDED)
    if leads_to_itself(host):
        return LinkAddress("", Reach.NOWHERE)
    return LinkAddress(f"{request.scheme}://{request.get_host()}", Reach.INSIDE)


def leads_to_itself(host: str) -> bool:
    """Whether every machine takes this name or address for its own."""
    bare = host.strip("[]")
    return ipaddress_is_loopback(bare) or bare in ("0.0.0.0", "::") or bare.endswith(".localhost")


def leads_inside(host: str) -> bool:
    """Whether only this machine or its network understands this name or address."""
    bare = host.strip("[]").rstrip(".").lower()
    if leads_to_itself(bare) or is_private_address(bare):
        return True
    if ":" in bare or bare.replace(".", "").isdigit():
        return False
    return "." not in bare or bare.endswith(INNER_ENDINGS) or resolves_to_private(bare)
