"""System checks with stable ids: each names the wrong setting and its remedy.

E001-E019 SIP, E020-E029 web, E030-E039 storage, E060-E069 guard, W070 the file .env, E080-E089 workers; W alike. A
number is never used again for something else."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import socket
import sys
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.utils.translation import gettext as _

from pbx.environment import asked_for, unread_names
from sipcore.protocol.headers import clean_text
from sipcore.workers import MOST_WORKERS

HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")
ALGORITHMS = ("MD5", "SHA-256")
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "glusterfs", "ceph"}


def is_host(text: str) -> bool:
    """A host name or an IP address (RFC 3261 25.1, without a port)."""
    return is_address(text) or HOST_NAME.fullmatch(text) is not None


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def is_origin(text: str) -> bool:
    """``http`` or ``https``, a host, maybe a port, and nothing more."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return (
        parts.scheme in ("http", "https") and is_host(parts.hostname or "")
        and text.lower() == f"{parts.scheme}://{host}{f':{port}' if port else ''}"
    )


def is_everything(network: str) -> bool:
    return ipaddress.ip_network(network, strict=False).prefixlen == 0


def is_unspecified(text: str) -> bool:
    return is_address(text) and ipaddress.ip_address(text.strip("[]")).is_unspecified


def is_of_this_machine(address: str) -> bool:
    host = address.strip().strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


@register("pbx")
def check_sip_domain(**_options: object) -> list[CheckMessage]:
    domain = settings.SIP_DOMAIN
    found: list[CheckMessage] = []
    if is_unspecified(domain):
        found.append(
            Error(
                _("SIP_DOMAIN=%(value)s is no address that a phone can reach.") % {"value": domain},
                hint=_("Write the name or address that people type into their phones, or take the line out."),
                id="pbx.E001",
            )
        )
    elif domain and not is_host(domain):
        found.append(
            Error(
                _("SIP_DOMAIN=%(value)s is not a plain host name or address.") % {"value": domain[:80]},
                hint=_("Write it without sip:, without a port and without a slash, for example pbx.example.com."),
                id="pbx.E002",
            )
        )
    elif domain and ipaddress_is_loopback(domain):
        found.append(
            Warning(
                _("SIP_DOMAIN=%(value)s can be reached from this machine only.") % {"value": domain},
                hint=_("Write the name or address that people type into their phones, or take the line out."),
                id="pbx.W001",
            )
        )
    wrong = [alias for alias in settings.SIP_ALIASES if not is_host(alias) or is_unspecified(alias)]
    if wrong:
        found.append(
            Error(
                _("SIP_ALIASES has a value that is not a plain host name or address: %(value)s")
                % {"value": wrong[0][:80]},
                hint=_("Write names and addresses with commas between, without sip: and without ports."),
                id="pbx.E003",
            )
        )
    return found


def ipaddress_is_loopback(host: str) -> bool:
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host.strip("[]")).is_loopback)


@register("pbx")
def check_digest(**_options: object) -> list[CheckMessage]:
    algorithms = settings.SIP_DIGEST_ALGORITHMS
    found: list[CheckMessage] = []
    if not algorithms or not set(algorithms) <= set(ALGORITHMS) or len(set(algorithms)) != len(algorithms):
        found.append(
            Error(
                _("SIP_DIGEST_ALGORITHMS=%(value)s is not known.") % {"value": ",".join(algorithms)[:80]},
                hint=_("Write MD5, or SHA-256,MD5 when every phone can take two challenges."),
                id="pbx.E004",
            )
        )
    realm = settings.SIP_REALM
    if len(realm) > 255 or not realm.isprintable() or '"' in realm or "\\" in realm or ":" in realm:
        found.append(
            Error(
                _("SIP_REALM has a character that does not fit into a challenge, or is longer than 255."),
                hint=_("Write letters, digits, dots and hyphens only, or take the line out to keep the stored realm."),
                id="pbx.E005",
            )
        )
    return found


@register("pbx")
def check_addresses(**_options: object) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    external = settings.EXTERNAL_IP
    if external and (not is_host(external) or is_unspecified(external)):
        found.append(
            Error(
                _("EXTERNAL_IP=%(value)s is neither an address nor a host name.") % {"value": external[:80]},
                hint=_("Write the router's public address, for example 203.0.113.5, or a name that leads to it."),
                id="pbx.E006",
            )
        )
    for number, name in (
        ("pbx.E007", "LOCAL_NETS"), ("pbx.E008", "SIP_TRUSTED_PROXIES"), ("pbx.E024", "ADMIN_NETS"),
        ("pbx.E025", "WEB_TRUSTED_PROXIES"), ("pbx.E060", "GUARD_TRUSTED_NETS"),
    ):
        wrong = [network for network in getattr(settings, name) if not is_network(network)]
        if wrong:
            found.append(
                Error(
                    _("%(name)s has a value that is not a network: %(value)s") % {"name": name, "value": wrong[0][:80]},
                    hint=_("Write networks with commas between, for example %(name)s=192.168.0.0/16,10.0.0.0/8.")
                    % {"name": name},
                    id=number,
                )
            )
    hosts = settings.SIP_HOST.split(",")
    if not all(is_address(host.strip()) for host in hosts):
        found.append(
            Error(
                _("SIP_HOST=%(value)s is not an IP address.") % {"value": settings.SIP_HOST[:80]},
                hint=_("Write SIP_HOST=0.0.0.0 for every address; the name for the phones goes into SIP_DOMAIN."),
                id="pbx.E009",
            )
        )
    elif sys.argv[1:2] not in (["start"], ["runsip"]):  # they cannot listen there, and say so themselves
        foreign = [host.strip() for host in hosts if not is_of_this_machine(host)]
        if foreign:
            found.append(
                Warning(
                    _("SIP_HOST=%(value)s is no address of this machine: nothing can listen there.")
                    % {"value": foreign[0]},
                    hint=_("Write SIP_HOST=0.0.0.0 for every address; the router's address goes into EXTERNAL_IP."),
                    id="pbx.W009",
                )
            )
    return found


@register("pbx")
def check_numbers(**_options: object) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    limits = (
        ("pbx.E010", "SIP_PORT", 1, 65535),
        ("pbx.E020", "WEB_PORT", 1, 65535),
        ("pbx.E012", "SIP_NONCE_LIFETIME", 60, 7 * 86400),
        ("pbx.E013", "SIP_STORE_WAIT", 1, 30),
        ("pbx.E014", "SIP_INBOX_LIMIT", 10, 1_000_000),
        ("pbx.E015", "SIP_KEEPALIVE_INTERVAL", 5, 600),
        ("pbx.E018", "SIP_SESSION_EXPIRES", 90, 86400),  # RFC 4028 section 4: 90 is the least
        ("pbx.E019", "SIP_MEDIA_TIMEOUT", 5, 86400),
        ("pbx.E061", "GUARD_FAILURES", 0, 100),
        ("pbx.E062", "GUARD_NUMBERS", 0, 50),
        ("pbx.E080", "SIP_WORKERS", 1, MOST_WORKERS),
    )
    for number, name, low, high in limits:
        value = getattr(settings, name)
        if not low <= value <= high:
            found.append(
                Error(
                    _("%(name)s=%(value)d is outside %(low)d to %(high)d.")
                    % {"name": name, "value": value, "low": low, "high": high},
                    hint=_("Write a number in that range, or take the line out to use the default."),
                    id=number,
                )
            )
    if settings.SIP_WORKERS > 1 and settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        found.append(
            Error(
                _("SIP_WORKERS=%(value)d needs PostgreSQL: SQLite has one writer.") % {"value": settings.SIP_WORKERS},
                hint=_("Move the database with `manage.py movedatabase --to URL`, or write SIP_WORKERS=1."),
                id="pbx.E081",
            )
        )
    if settings.SIP_PORT == settings.WEB_PORT:  # SIP is on TCP as well
        found.append(
            Error(
                _("SIP_PORT and WEB_PORT are the same: %(value)d.") % {"value": settings.SIP_PORT},
                hint=_("Write another WEB_PORT, for example 8000."),
                id="pbx.E016",
            )
        )
    for number in settings.SIP_EMERGENCY_NUMBERS:
        if not re.fullmatch(r"[+*#0-9]{1,20}", number):
            found.append(
                Error(
                    _("SIP_EMERGENCY_NUMBERS has a value that nobody can dial: %(value)s") % {"value": number[:40]},
                    hint=_("Write numbers with commas between, for example 101,102,103,104,112; or none."),
                    id="pbx.E017",
                )
            )
    low, default, high = settings.SIP_MIN_EXPIRES, settings.SIP_DEFAULT_EXPIRES, settings.SIP_MAX_EXPIRES
    # RFC 3261 10.3: a registrar must not call an hour too brief.
    if not 1 <= low <= min(default, 3600) or not default <= high <= 7 * 86400:
        found.append(
            Error(
                _("SIP_MIN_EXPIRES, SIP_DEFAULT_EXPIRES and SIP_MAX_EXPIRES do not fit together."),
                hint=_("They must rise in this order, the first at most 3600, the last at most 604800 (seconds)."),
                id="pbx.E011",
            )
        )
    return found


@register("pbx")
def check_web(**_options: object) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    public = not ipaddress_is_loopback(settings.WEB_HOST)
    if settings.DEBUG and public:
        found.append(
            Error(
                _("DEBUG=yes shows settings to everyone who can reach WEB_HOST=%(value)s.")
                % {"value": settings.WEB_HOST},
                hint=_("Take DEBUG out of .env, or set WEB_HOST=127.0.0.1."),
                id="pbx.E021",
            )
        )
    wrong = [origin for origin in settings.CSRF_TRUSTED_ORIGINS if not origin.startswith(("https://", "http://"))]
    if wrong:
        found.append(
            Error(
                _("CSRF_TRUSTED_ORIGINS has a value without its scheme: %(value)s") % {"value": wrong[0][:80]},
                hint=_("Write it like this: CSRF_TRUSTED_ORIGINS=https://pbx.example.com"),
                id="pbx.E022",
            )
        )
    if settings.WEB_PUBLIC_URL and not is_origin(settings.WEB_PUBLIC_URL):
        found.append(
            Error(
                _("WEB_PUBLIC_URL=%(value)s is not the address of a server.") % {"value": settings.WEB_PUBLIC_URL[:80]},
                hint=_("Write it like this, without a path: WEB_PUBLIC_URL=https://pbx.example.com"),
                id="pbx.E026",
            )
        )
    if settings.LANGUAGE_CODE not in dict(settings.LANGUAGES):
        found.append(
            Error(
                _("LANGUAGE_CODE=%(value)s is not one of the languages.") % {"value": settings.LANGUAGE_CODE[:20]},
                hint=_("Write uz, ru or en."),
                id="pbx.E023",
            )
        )
    if "*" in settings.ALLOWED_HOSTS and public:
        found.append(
            Warning(
                _("ALLOWED_HOSTS=* takes any host name from a browser."),
                hint=_("Write the names under which people open the pages."),
                id="pbx.W021",
            )
        )
    wide = [network for network in settings.ADMIN_NETS if is_network(network) and is_everything(network)]
    if wide:
        found.append(
            Warning(
                _("ADMIN_NETS=%(value)s lets the whole Internet try to sign in to the administration.")
                % {"value": wide[0]},
                hint=_("Write the networks of the administrators only, or take the line out."),
                id="pbx.W023",
            )
        )
    if public and not settings.WEB_HTTPS:
        found.append(
            Warning(
                _("WEB_HOST=%(value)s: passwords of administrators cross the network unencrypted.")
                % {"value": settings.WEB_HOST},
                hint=_("Put an HTTPS proxy in front and set WEB_HTTPS=yes, or keep WEB_HOST=127.0.0.1."),
                id="pbx.W022",
            )
        )
    return found


@register("pbx")
def check_storage(**_options: object) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not os.access(settings.VAR_DIR, os.W_OK | os.X_OK):
        found.append(
            Error(
                _("VAR_DIR=%(value)s cannot be written.") % {"value": settings.VAR_DIR},
                hint=_("Give that directory to the user who runs the PBX (chown), or set another VAR_DIR."),
                id="pbx.E030",
            )
        )
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3") and file_system_of(str(database["NAME"])) in NETWORK_FILE_SYSTEMS:
        found.append(
            Warning(
                _("The SQLite file lies on a network file system, where its locks do not hold."),
                hint=_("Set VAR_DIR to a local directory, or use PostgreSQL by DATABASE_URL."),
                id="pbx.W030",
            )
        )
    if len(settings.SECRET_KEY) < 32:
        found.append(
            Warning(
                _("SECRET_KEY is shorter than 32 characters: sessions and nonces could be forged."),
                hint=_("Take the line out; a strong key is then made under var/."),
                id="pbx.W031",
            )
        )
    return found


@register("pbx")
def check_names(**_options: object) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name in unread_names():
        similar = difflib.get_close_matches(name.upper().replace("-", "_"), sorted(asked_for), 1, 0.7)
        hint = _("Do you mean %(name)s?") % {"name": similar[0]} if similar else _(
            "The names of all settings are in .env.example. If it belongs to another program, all is well."
        )
        found.append(
            Warning(
                _("%(name)s in .env is no setting of the PBX: the line has no effect.")
                % {"name": clean_text(name, 80)},
                hint=hint,
                id="pbx.W070",
            )
        )
    return found


def file_system_of(path: str) -> str:
    """The type of the file system that holds ``path``; "" where the system does not tell."""
    real, best, kind = os.path.realpath(path), "", ""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                _device, point, name = line.split()[:3]
                point = point.replace("\\040", " ")
                inside = real == point or real.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, name
    except (OSError, ValueError):
        return ""
    return kind
