"""The account card: what a person types into a phone, in the order and with the names of the phone's own screens."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from extensions.models import Extension


@dataclass(frozen=True, slots=True)
class Field:
    label: str
    value: str  # what is copied; empty when there is nothing to type
    note: str = ""  # shown in place of, or after, the value
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """One way to read the card: all settings, or one app's own form from top to bottom."""

    key: str
    title: str
    hint: str
    fields: tuple[Field, ...]

    @property
    def as_text(self) -> str:
        """For the clipboard: one setting a line."""
        return "\n".join(f"{field.label}: {field.value or field.note}" for field in self.fields)


@sensitive_variables()
def account_sheets(extension: Extension, password: str | None = None) -> list[Sheet]:
    """``password`` is the raw one just set, the only moment at which it can be shown."""
    account = extension.sip_account
    empty = _("leave empty")
    host = url_host(account.server)
    host_port = host if account.port == 5060 else f"{host}:{account.port}"
    transport = account.transport.upper()
    secret = Field(
        _("Password"), password or "", "" if password else _("shown only once, when it is set"), secret=True
    )

    def named(field: Field, label: str) -> Field:
        return Field(label, field.value, field.note, field.secret)

    everything = Sheet("all", _("Any phone"), _("All settings, whatever the phone calls them."), (
        Field(_("User name"), account.username),
        secret,
        Field(_("Server (domain)"), account.server),
        Field(_("Port"), str(account.port)),
        Field(_("Transport"), transport),
        Field(_("Register"), "", _("on")),
        Field("STUN", "", _("off")),
        Field(_("Outbound proxy"), "", empty),
    ))
    # The field names below are those on the apps' own screens, and stay as they are in every language.
    zoiper = Sheet("zoiper", "Zoiper", _("Add account, then fill in from top to bottom."), (
        Field("Username / Login", f"{account.username}@{host_port}"),
        named(secret, "Password"),
        Field("Hostname or provider", host_port),
        Field("Authentication username", "", empty),
        Field("Outbound proxy", "", empty),
        Field("SIP transport", f"SIP {transport}"),
        Field("Use STUN", "", "No"),
    ))
    linphone = Sheet("linphone", "Linphone", _("Choose “third-party SIP account”, then fill in from top to bottom."), (
        Field("Username", account.username),
        named(secret, "Password"),
        Field("Domain", host_port),
        Field("Display name", extension.display_name, "" if extension.display_name else empty),
        Field("Transport", transport),
        Field("Authentication ID", "", empty),
        Field("Outbound proxy", "", empty),
    ))
    return [everything, zoiper, linphone]


def url_host(server: str) -> str:
    """The server as it stands in an address with a port: an IPv6 address needs its brackets."""
    return f"[{server}]" if ":" in server else server
