"""What a person needs next, in words."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from extensions.provisioning import is_private_address
from pbx.startup.preparation import FirstLogin, administrator_name, write_private
from pbx.system.server_address import own_address


def admin_address() -> str:
    host = settings.WEB_HOST
    if host in ("0.0.0.0", "::", ""):
        host = own_address()
    if ":" in host:
        host = f"[{host.strip('[]')}]"
    return f"http://{host}:{settings.WEB_PORT}/admin/"


def only_from_this_machine() -> bool:
    try:
        return ipaddress.ip_address(settings.WEB_HOST.strip("[]")).is_loopback
    except ValueError:
        return settings.WEB_HOST == "localhost"


def rows(pairs: list[tuple[str, str]]) -> str:
    width = max(len(label) for label, _value in pairs) + 2
    return "\n".join(f"  {label:<{width}}{value}".rstrip() for label, value in pairs)


def login_text(login: FirstLogin) -> str:
    """The administration and the account card of the first extension, with their passwords."""
    parts = [
        _("Administration: %(address)s") % {"address": admin_address()},
        rows([(_("User"), login.administrator), (_("Password"), login.administrator_password)]),
    ]
    if login.extension is not None:
        account = login.extension.sip_account
        parts += [
            "",
            _("Your first phone: type this into Zoiper, Linphone or another SIP phone"),
            rows(
                [
                    (_("User"), account.username),
                    (_("Password"), login.extension_password),
                    (_("Server (domain)"), account.server),
                    (_("Port"), str(account.port)),
                    (_("Transport"), account.transport),
                    (_("Register"), _("on")),
                    (_("STUN"), _("off")),
                    (_("Outbound proxy"), _("(empty)")),
                ]
            ),
        ]
    return "\n".join(parts)


def later_text() -> str:
    """For every further start: where to look, and no secret."""
    unread = []
    if first_login_file().exists():
        sentence = _("The first passwords are still in %(file)s: read them and delete the file.")
        unread.append(sentence % {"file": first_login_file()})
    return "\n".join(
        [
            _("Administration: %(address)s") % {"address": admin_address()},
            *unread,
            _("The account card of each phone is there, under Extensions."),
            _("Forgotten the password? python3 manage.py changepassword %(user)s") % {"user": administrator_name()},
        ]
    )


def first_login_file() -> Path:
    return settings.VAR_DIR / "first-login.txt"


def next_steps(login: FirstLogin | None, on_terminal: bool) -> str:
    """What to print. Passwords go to the screen of a person, or into a private file: no journal keeps them."""
    if login is None:
        text = later_text()
    elif on_terminal:
        text = login_text(login)
    else:
        path = first_login_file()
        write_private(path, login_text(login) + "\n")
        text = "\n".join(
            [
                _("Administration: %(address)s") % {"address": admin_address()},
                _("The first passwords are in %(file)s: read them and delete the file.") % {"file": path},
            ]
        )
    return f"{text}\n\n{tunnel_text()}" if needs_tunnel() else text


def needs_tunnel() -> bool:
    """Whether nobody but this machine reaches the administration: it listens here only, or on every address of a
    machine in the open Internet, whose other hosts ADMIN_NETS keeps out."""
    everywhere = settings.WEB_HOST in ("0.0.0.0", "::")
    return only_from_this_machine() or (everywhere and not is_private_address(own_address()))


def tunnel_text() -> str:
    values = {"port": settings.WEB_PORT, "server": own_address()}
    return _("From another computer first: ssh -L %(port)d:127.0.0.1:%(port)d USER@%(server)s") % values
