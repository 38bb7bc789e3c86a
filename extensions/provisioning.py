"""One-time links from which Linphone fetches its settings, and the document behind them.

The document carries the HA1, never the password. It is worth the password for this server all the same, so a link
works once, for 15 minutes, and only over HTTPS or within a private network. The token itself is not stored, only
its SHA-256: 192 random bits need no slow hash."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import socket
from datetime import datetime, timedelta
from xml.etree import ElementTree

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.utils import timezone

from extensions.card import url_host
from extensions.models import CredentialState, DigestCredential, Extension, ProvisioningLink

LIFETIME = timedelta(minutes=15)
PRIVATE_NETS = tuple(ipaddress.ip_network(net) for net in (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "fc00::/7",
    "fe80::/10", "::1/128",
))


def make_link(extension: Extension, now: datetime | None = None) -> tuple[ProvisioningLink, str]:
    """A new link and its token. The older links of the extension end: one QR code is good at a time."""
    now = now or timezone.now()
    token = secrets.token_urlsafe(24)
    with transaction.atomic():
        extension.provisioning_links.all().delete()
        link = extension.provisioning_links.create(
            token_hash=_hash(token), created_at=now, expires_at=now + LIFETIME
        )
    return link, token


def find_link(token: str, now: datetime | None = None) -> ProvisioningLink | None:
    """The link of this token while it can still be used."""
    link = ProvisioningLink.objects.select_related("extension").filter(token_hash=_hash(token)).first()
    return link if link is not None and link.state(now) == ProvisioningLink.State.WAITING else None


def use_link(link: ProvisioningLink, used_from: str, now: datetime | None = None) -> bool:
    """Whether this caller is the one who uses the link up: of several at once exactly one."""
    now = now or timezone.now()
    fresh = ProvisioningLink.objects.filter(pk=link.pk, used_at__isnull=True, expires_at__gt=now)
    return fresh.update(used_at=now, used_from=used_from[:45]) == 1


def burn_link(token: str) -> None:
    """End a link that travelled where others could read it."""
    ProvisioningLink.objects.filter(token_hash=_hash(token)).delete()


def usable_credentials(extension: Extension, link: ProvisioningLink | None = None) -> list[DigestCredential]:
    """One row for each offered algorithm, none unless all are ready; none either where the password was changed
    after ``link`` was made, because its QR code was for the one before."""
    if not extension.enabled or extension.credential_state != CredentialState.READY:
        return []
    rows = {row.algorithm: row for row in extension.credentials.all()}
    offered = [rows[algorithm] for algorithm in settings.SIP_DIGEST_ALGORITHMS]
    if link is not None and any(row.changed_at > link.created_at for row in offered):
        return []
    return offered


def document(extension: Extension, credentials: list[DigestCredential]) -> bytes:
    """Linphone's configuration as XML (its remote provisioning format, tried with 5.1). ``transient_provisioning``
    makes it forget the link, which would not work a second time."""
    account = extension.sip_account
    host = url_host(account.server)
    port = "" if account.port == 5060 else f":{account.port}"
    name = extension.display_name.replace("\\", " ").replace('"', " ").strip()
    identity = f"<sip:{account.username}@{host}>"
    root = ElementTree.Element("config", xmlns="http://www.linphone.org/xsds/lpconfig.xsd")
    _section(root, "misc", {"transient_provisioning": "1"})
    _section(root, "sip", {"default_proxy": "0"})
    _section(root, "proxy_0", {
        "reg_proxy": f"<sip:{host}{port};transport={account.transport.lower()}>",
        "reg_identity": f'"{name}" {identity}' if name else identity,
        "realm": credentials[0].realm,
        "reg_expires": str(settings.SIP_DEFAULT_EXPIRES),
        "reg_sendregister": "1",
        "publish": "0",
        "push_notification_allowed": "0",
    })
    for index, row in enumerate(credentials):
        _section(root, f"auth_info_{index}", {
            "username": row.username, "ha1": row.ha1, "realm": row.realm, "domain": host, "algorithm": row.algorithm,
        })
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _section(root: ElementTree.Element, name: str, entries: dict[str, str]) -> None:
    section = ElementTree.SubElement(root, "section", name=name)
    for key, value in entries.items():
        ElementTree.SubElement(section, "entry", name=key, overwrite="true").text = value


def is_private_address(text: str) -> bool:
    """Whether this is an IP address of a private network or of this machine."""
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address.version == net.version and address in net for net in PRIVATE_NETS)


def is_safe_way(request: HttpRequest) -> bool:
    """Whether an HA1 may travel the way that this request came: HTTPS, or private addresses all along. Every hop of
    X-Forwarded-For counts, whoever wrote it: it can only take safety away here."""
    if request.is_secure():
        return True
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    hops = [request.META.get("REMOTE_ADDR", ""), *(part.strip() for part in forwarded.split(",") if part.strip())]
    if not all(is_private_address(hop) for hop in hops):
        return False
    host = split_domain_port(request.get_host())[0]
    return is_private_address(host) or resolves_to_private(host)


def resolves_to_private(host: str) -> bool:
    """Whether this name leads into a private network, as far as this machine knows."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(is_private_address(entry[4][0]) for entry in found)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
