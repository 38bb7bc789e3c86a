"""Registrations on the admin pages: the live cells and panel, and "Forget this device"."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from extensions.admin_views import extension_for, page, to_form
from extensions.cells import last_seen_cell, online_cell
from extensions.models import Extension
from extensions.presence import add_presence, devices_of, host_and_port

MOST_ROWS = 200  # of one page of the list


def live(admin, request: HttpRequest) -> HttpResponse:
    """The live cells of the rows on the page: ``?ids=1,2,3`` gives {"rows": {"1": {"online": html, "seen": html}}}."""
    if not admin.has_view_or_change_permission(request):
        raise PermissionDenied
    wanted = [int(part) for part in request.GET.get("ids", "").split(",")[:MOST_ROWS]
              if part.isascii() and part.isdigit() and len(part) < 19]
    rows = add_presence(admin.get_queryset(request).filter(pk__in=wanted))
    return JsonResponse({"rows": {
        str(extension.pk): {"online": online_cell(extension), "seen": last_seen_cell(extension)}
        for extension in rows
    }})


def devices(admin, request: HttpRequest, pk: int) -> HttpResponse:
    """The panel of registrations, as a piece of the page."""
    extension = extension_for(admin, request, pk, change=False)
    return TemplateResponse(request, "admin/extensions/extension/_devices.html", {
        "extension": extension, "devices": devices_of(extension),
        "can_change": admin.has_change_permission(request, extension),
    })


def forget_one(admin, request: HttpRequest, pk: int, binding: int) -> HttpResponse:
    extension = extension_for(admin, request, pk, change=True)
    found = [device for device in devices_of(extension) if device.id == binding]
    if request.method == "POST":
        _done(admin, request, extension, only=binding)
        return to_form(extension)
    if not found:
        raise Http404
    return page(admin, request, "forget.html", extension, devices=found, one=True, title=_("Forget this device?"))


def forget_all(admin, request: HttpRequest, pk: int) -> HttpResponse:
    extension = extension_for(admin, request, pk, change=True)
    if request.method == "POST":
        _done(admin, request, extension)
        return to_form(extension)
    return page(
        admin, request, "forget.html", extension, devices=devices_of(extension), title=_("Forget all devices?")
    )


def _done(admin, request: HttpRequest, extension: Extension, only: int | None = None) -> None:
    messages.success(request, forgotten_text(forget(admin, request, extension, only)))


def forget(admin, request: HttpRequest, extension: Extension, only: int | None = None) -> int:
    """Delete the registrations of the extension, or one of them, and note it in the history. Returns how many."""
    bindings = extension.bindings.all() if only is None else extension.bindings.filter(pk=only)
    addresses = [host_and_port(*row) for row in bindings.values_list("remote_host", "remote_port")]
    count, _tables = bindings.delete()
    if count:
        admin.log_change(request, extension, _("Forgot devices: %(addresses)s") % {"addresses": ", ".join(addresses)})
    return count


def forgotten_text(count: int) -> str:
    if not count:
        return _("There was no device to forget.")
    return ngettext("%(count)d device is forgotten.", "%(count)d devices are forgotten.", count) % {"count": count}
