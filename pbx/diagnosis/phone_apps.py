"""The apps and phones that people use, and what their settings are called on their own screens. The names of fields
are the apps' own and stay as they are in every language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class PhoneApp:
    """``labels``: the app's own names for ``user``, ``auth_user``, ``password``, ``domain``, ``port``, ``transport``,
    ``proxy``, ``expires``, ``stun``; one that is missing is not on its screens. ``port_in_domain``: it has no field
    for the port, which is written behind the domain. ``expires_unit``: seconds of one unit of its field."""

    name: str
    marks: tuple[str, ...]  # of its User-Agent, in small letters
    labels: Mapping[str, str]
    is_desk_phone: bool = False
    port_in_domain: bool = True
    expires_unit: int = 1


APPS = (
    PhoneApp("Zoiper", ("zoiper",), MappingProxyType({
        "user": "Username", "auth_user": "Auth. username", "domain": "Domain", "transport": "Transport",
        "proxy": "Outbound proxy", "expires": "Registration expiry", "stun": "Use STUN",
        "password": "Password",
    })),
    PhoneApp("Linphone", ("linphone",), MappingProxyType({
        "user": "Username", "auth_user": "Authentication ID", "domain": "SIP Domain", "transport": "Transport",
        "proxy": "Outbound proxy", "expires": "Expire", "stun": "STUN/TURN server",
        "password": "Password",
    })),
    PhoneApp("MicroSIP", ("microsip",), MappingProxyType({
        "user": "Username", "auth_user": "Login", "domain": "Domain",
        "transport": "Transport", "proxy": "SIP Proxy", "expires": "Register Refresh", "stun": "STUN Server",
        "password": "Password",
    })),
    PhoneApp("Groundwire", ("groundwire", "acrobits"), MappingProxyType({
        "user": "Username", "auth_user": "Auth Username", "domain": "Domain", "transport": "Transport Protocol",
        "proxy": "Proxy", "expires": "Expires", "stun": "NAT Traversal", "password": "Password",
    })),
    PhoneApp("Grandstream", ("grandstream",), MappingProxyType({
        "user": "SIP User ID", "auth_user": "Authenticate ID", "domain": "SIP Server", "transport": "SIP Transport",
        "proxy": "Outbound Proxy", "expires": "Register Expiration", "stun": "NAT Traversal",
        "password": "Authenticate Password",
    }), is_desk_phone=True, expires_unit=60),
    PhoneApp("Yealink", ("yealink",), MappingProxyType({
        "user": "User Name", "auth_user": "Register Name", "domain": "Server Host", "port": "Port",
        "transport": "Transport", "proxy": "Outbound Proxy Server", "expires": "Server Expires", "stun": "NAT",
        "password": "Password",
    }), is_desk_phone=True, port_in_domain=False),
)

OTHER_DESK_PHONES = ("fanvil", "cisco", "polycom", "snom", "gigaset", "panasonic", "htek", "escene", "akuvox", "mitel")
ANY = PhoneApp("", (), MappingProxyType({}), port_in_domain=False)
ANY_DESK_PHONE = PhoneApp("", (), MappingProxyType({}), is_desk_phone=True, port_in_domain=False)


def app_of(user_agent: str) -> PhoneApp:
    """By the User-Agent; one without a name when it is none that is known."""
    text = user_agent.lower()
    for app in APPS:
        if any(mark in text for mark in app.marks):
            return app
    return ANY_DESK_PHONE if any(mark in text for mark in OTHER_DESK_PHONES) else ANY
