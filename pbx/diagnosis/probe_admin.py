"""The administrator's side of the test from outside: makes the link, shows its QR code once, says who opened it."""

from __future__ import annotations

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from extensions.models import Extension
from pbx.diagnosis import probe_links
from pbx.diagnosis.networks import is_private
from pbx.diagnosis.probe import state_of
from pbx.link_address import Reach, link_address
from pbx.qr_code import qr_svg


def probe_new(request: HttpRequest, pk: int) -> HttpResponse:
    """Made by POST, shown by the answer to it, because only a hash of the link is stored."""
    extension, extensions = _extension(request, pk)
    address = link_address(request)
    context = {
        **admin.site.each_context(request), "opts": extensions.opts, "extension": extension,
        "title": _("Test from outside: %(number)s") % {"number": extension.number},
        "reach": address.reach.value, "origin": address.origin,
    }
    if request.method == "POST" and "revoke" in request.POST:
        if probe_links.revoke(extension):
            extensions.log_change(request, extension, _("Ended the link of the test from outside."))
            messages.success(request, _("The link has ended."))
        return redirect("admin:diagnosis_probe_new", pk)
    if request.method == "POST" and address.reach is not Reach.NOWHERE:
        made = probe_links.make_link(extension, request.user.get_username())
        extensions.log_change(request, extension, _("Made a link for the test from outside."))
        url = f"{address.origin}{reverse('diagnosis:probe', args=[made.token])}"
        context |= {"url": url, "qr": qr_svg(url)}
    response = TemplateResponse(request, "admin/diagnosis/probe.html", context | _seen(extension))
    response.headers["Cache-Control"] = "no-store"
    return response


def probe_state(request: HttpRequest, pk: int) -> HttpResponse:
    """What became of the link, for the page that shows it."""
    extension, _extensions = _extension(request, pk)
    return TemplateResponse(request, "admin/diagnosis/_probe_state.html", {"extension": extension, **_seen(extension)})


def _seen(extension: Extension) -> dict[str, object]:
    link = probe_links.link_of(extension)
    if link is None:
        return {"link": None}
    is_good = link.expires_at > timezone.now()
    opened = is_good and link.opened_at is not None
    return {
        "link": link, "is_good": is_good, "inside": is_private(link.opened_from),
        "state": state_of(link, link.opened_from) if opened else None,
    }


def _extension(request: HttpRequest, pk: int) -> tuple[Extension, admin.ModelAdmin]:
    """:raises PermissionDenied: without the permission to change it.
    :raises Http404: when there is none."""
    extensions = admin.site.get_model_admin(Extension)
    extension = extensions.get_object(request, str(pk))
    if not extensions.has_change_permission(request, extension):
        raise PermissionDenied
    if extension is None:
        raise Http404
    return extension, extensions
