"""The cells of the list of extensions, in Python: a template for each of three hundred cells took ten times as long as
the whole page around them. The pages of one extension show the same (``extensions/templatetags/cells.py``).

A key stands in the shape itself, as ``:d``: that is a whole number or an error. All else is for ``format_html`` to
escape."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from django.urls import get_script_prefix, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from extensions.models import CredentialState, Extension
from pbx.badges import badge


def page_address(pk: int, page: str = "change") -> str:
    """Of a page of this extension. To look up an address costs more than all the rest of a cell."""
    return f"{_list_address(get_script_prefix())}{pk}/{page}/"


@lru_cache(maxsize=1)
def _list_address(_prefix: str) -> str:
    return reverse("admin:extensions_extension_changelist")


@lru_cache(maxsize=8)
def _badges(_language: str | None) -> dict[str, str]:
    """Made once for each language, and not for each row. The button wants its address."""
    ready, missing, stale = CredentialState.READY, CredentialState.MISSING, CredentialState.STALE
    return {
        "disabled": badge("bad", _("disabled")),
        "offline": badge("off", _("offline")),
        "silent": badge(
            "warn", _("does not answer"), _("It registered, but does not answer the server any more.")
        ),
        "online": badge("good", _("online")),
        ready: badge("good", ready.label, _("Phones can sign in with this extension's password.")),
        missing: badge("bad", missing.label, _("No phone can sign in yet. Press Password and give one.")),
        stale: badge("warn", stale.label, _(
            "The number or the realm was changed since. Press Password and give one again."
        )),
        "password": format_html('<a class="pbx-button" href="{{}}">{}</a>', _("Password")),
        "seen": format_html('<span class="pbx-seen-label">{}: </span>', _("last seen")),
    }


def online_cell(extension: Extension) -> str:
    """Whether its phones are there: the live cell, which the page fetches to renew it. Of ``add_presence()``."""
    online = getattr(extension, "devices_online", 0)  # the page renews it at once where it was not counted
    if not extension.enabled:
        state = "disabled"
    elif not online:
        state = "offline"
    else:
        state = "silent" if extension.silent_devices >= online else "online"
    language = get_language()
    shown = _badges(language)[state]
    if not online:
        return format_html(f'<span data-live="online" data-id="{extension.pk:d}">{{}}</span>', shown)
    return format_html(
        f'<span data-live="online" data-id="{extension.pk:d}">{{}} {{}}</span>', shown, _count(online, language)
    )


@lru_cache(maxsize=100)
def _count(devices: int, _language: str | None) -> str:
    text = ngettext("%(n)s device", "%(n)s devices", devices) % {"n": devices}
    return format_html('<span class="pbx-count">{}</span>', text)


def last_seen_cell(extension: Extension) -> str:
    """When it was last seen: the time of today, else the day."""
    language = get_language()
    label = _badges(language)["seen"]
    if not extension.last_seen:
        return format_html(f'<span data-live="seen" data-id="{extension.pk:d}">{{}}{{}}</span>', label, _("never"))
    local, is_today = local_time(extension.last_seen)
    exact = local.isoformat()
    day, whole = _in_words(local.replace(second=0, microsecond=0, tzinfo=None), language)
    return format_html(
        f'<span data-live="seen" data-id="{extension.pk:d}">{{}}<time datetime="{{}}" title="{{}}">{{}}</time></span>',
        label, exact, whole, exact[11:16] if is_today else day,
    )


def local_time(moment: datetime) -> tuple[datetime, bool]:
    """By the clock on the wall, and whether that is today."""
    zone = timezone.get_current_timezone()
    local = moment.astimezone(zone)
    return local, local.date() == timezone.now().astimezone(zone).date()


@lru_cache(maxsize=2000)
def _in_words(minute: datetime, _language: str | None) -> tuple[str, str]:
    """The day alone, and with the time: most phones were seen in the same few minutes, and are looked at every few
    seconds."""
    return date_format(minute, "SHORT_DATE_FORMAT"), date_format(minute, "DATETIME_FORMAT")


def password_button(extension: Extension) -> str:
    return format_html(_badges(get_language())["password"], page_address(extension.pk, "password"))


def credential_cell(state: CredentialState) -> str:
    return _badges(get_language())[state]
