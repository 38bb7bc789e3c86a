"""The button that mends what a verdict found: what it says, where it leads, and what it does.

A button that only asks or shows is a link; one that changes something is a POST to ``admin:diagnosis_act``, whose
``act`` is ``verb:row``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from extensions.models import Extension
from extensions.registration_views import forget, forgotten_text
from pbx.diagnosis.models import Block, Watch
from pbx.diagnosis.verdict import Repair, Verdict

WATCH_TIME = timedelta(minutes=10)
LONGEST_NUMBER = 64
"""Characters: the column of a watched number."""


@dataclass(frozen=True, slots=True)
class Button:
    label: str
    url: str = ""  # a link
    act: str = ""  # or a POST


def button_for(verdict: Verdict, number: str, extension: Extension | None, user: User) -> Button | None:
    """None where nothing mends it, or this administrator may not."""
    may_change = user.has_perm("extensions.change_extension")
    key, row = verdict.repair_key, extension.pk if extension else None
    if verdict.repair is Repair.PASSWORD and row and may_change:
        return Button(_("Password"), reverse("admin:extensions_extension_password", args=[row]))
    if verdict.repair is Repair.ENABLE and row and may_change:
        return Button(_("Enable"), act=f"enable:{row}")
    if verdict.repair is Repair.UNBLOCK and key and user.has_perm("diagnosis.delete_block"):
        return Button(_("Unblock"), act=f"unblock:{key}")
    if verdict.repair is Repair.FORGET_DEVICES and row and may_change:
        if key:
            return Button(_("Forget this device"), act=f"forget:{key}")
        return Button(_("Forget devices"), reverse("admin:extensions_extension_forget_all", args=[row]))
    if verdict.repair is Repair.ADD_EXTENSION and number and user.has_perm("extensions.add_extension"):
        address = f"{reverse('admin:extensions_extension_add')}?{urlencode({'number': number})}"
        return Button(_("Add extension"), address)
    return None


def act(request: HttpRequest, verb: str, row: str) -> str:
    """Do it, note it in the history, and return the sentence that says so.

    :raises PermissionDenied: when this administrator may not.
    :raises Extension.DoesNotExist: when the row is gone, or the verb is none."""
    if verb in ("watch", "unwatch"):
        return _watch(request, row) if verb == "watch" else _unwatch(request, row)
    pk = int(row) if row.isascii() and row.isdigit() and len(row) < 19 else 0
    if verb == "enable":
        return _enable(request, pk)
    if verb == "unblock":
        return _unblock(request, pk)
    if verb == "forget":
        return _forget(request, pk)
    raise Extension.DoesNotExist


def _need(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied


def _enable(request: HttpRequest, pk: int) -> str:
    _need(request, "extensions.change_extension")
    extension = Extension.objects.get(pk=pk)
    if not extension.enabled:
        extension.enabled = True
        extension.save(update_fields=["enabled"])
        _note(request, extension, [{"changed": {"fields": [str(Extension._meta.get_field("enabled").verbose_name)]}}])
    return _("Extension %(number)s is enabled now.") % {"number": extension.number}


def _unblock(request: HttpRequest, pk: int) -> str:
    from pbx.diagnosis.blocks import lift

    _need(request, "diagnosis.delete_block")
    block = Block.objects.filter(pk=pk).first()
    if block is None:
        return _("This address is not blocked any more.")
    lift(block, request.user.get_username())
    extension = Extension.objects.by_number(block.number).first() if block.number else None
    if extension:
        _note(request, extension, _("Unblocked %(address)s") % {"address": block.source})
    return _("%(address)s is not blocked any more.") % {"address": block.source}


def _forget(request: HttpRequest, pk: int) -> str:
    _need(request, "extensions.change_extension")
    extension = Extension.objects.filter(bindings__pk=pk).first()
    return forgotten_text(forget(_extensions_admin(), request, extension, only=pk) if extension else 0)


def _watch(request: HttpRequest, number: str) -> str:
    _need(request, "extensions.change_extension")
    until = timezone.now() + WATCH_TIME
    Watch.objects.update_or_create(
        number=watched_name(number), defaults={"until": until, "by": request.user.get_username()[:150]}
    )
    extension = Extension.objects.by_number(number).first()
    if extension:
        _note(request, extension, _("Watched this phone for 10 minutes"))
    return _("Every message of %(number)s is kept and shown here until %(time)s.") % {
        "number": number, "time": f"{timezone.localtime(until):%H:%M}",
    }


def _unwatch(request: HttpRequest, number: str) -> str:
    _need(request, "extensions.change_extension")
    Watch.objects.filter(number=watched_name(number)).delete()
    return _("%(number)s is not watched any more.") % {"number": number}


def watched_name(number: str) -> str:
    return number.lower()[:LONGEST_NUMBER]


def _note(request: HttpRequest, extension: Extension, message: object) -> None:
    _extensions_admin().log_change(request, extension, message)


def _extensions_admin() -> admin.ModelAdmin:
    return admin.site.get_model_admin(Extension)
