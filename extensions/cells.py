"""The cells of the list of extensions, in Python: a template for each of three hundred cells took ten times as long as
the whole page around them. The pages of one extension show the same (``extensions/templatetags/cells.py``)."""

from __future__ import annotations

from functools import lru_cache

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from extensions.models import CredentialState, Extension
from pbx.badges import badge


@lru_cache(maxsize=8)
def _badges(_language: str | None) -> dict[str, str]:
    """Made once for each language, and not for each row."""
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
        "seen": format_html('<span class="pbx-seen-label">{}: </span>', _("last seen")),
    }


def online_cell(extension: Extension) -> str:
    """Whether its phones are there: the live cell, which the page fetches to renew it. Of ``for_list()``."""
    online = getattr(extension, "devices_online", 0)  # the page renews it at once where it was not counted
    if not extension.enabled:
        state = "disabled"
    elif not online:
        state = "offline"
    else:
        state = "silent" if extension.silent_devices >= online else "online"
    count = ""
    if online:
        devices = ngettext("%(n)s device", "%(n)s devices", online) % {"n": online}
        count = format_html(' <span class="pbx-count">{}</span>', devices)
    return format_html(
        '<span data-live="online" data-id="{}">{}{}</span>', extension.pk, _badges(get_language())[state], count
    )


def last_seen_cell(extension: Extension) -> str:
    """When it was last seen: the time of today, else the day."""
    if extension.last_seen:
        local = timezone.localtime(extension.last_seen)
        is_today = local.date() == timezone.localdate()
        seen = format_html(
            '<time datetime="{}" title="{}">{}</time>', local.isoformat(), date_format(local, "DATETIME_FORMAT"),
            f"{local:%H:%M}" if is_today else date_format(local, "SHORT_DATE_FORMAT"),
        )
    else:
        seen = _("never")
    return format_html(
        '<span data-live="seen" data-id="{}">{}{}</span>', extension.pk, _badges(get_language())["seen"], seen
    )


def credential_cell(state: CredentialState) -> str:
    return _badges(get_language())[state]
