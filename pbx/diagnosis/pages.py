"""The pages of the diagnosis: the panel of an extension, the page of a number that is none, the front page's part,
what the buttons do, and the support bundle. Which administrator may see them is who may see extensions."""

from __future__ import annotations

from django.contrib import admin, messages
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import conditional_page, require_POST

from extensions.models import Extension
from pbx.calls.admin import asks_for_a_piece
from pbx.diagnosis.attention import front_of, may_see
from pbx.diagnosis.panel import panel_of
from pbx.diagnosis.repairs import LONGEST_NUMBER
from pbx.diagnosis.repairs import act as do_act
from pbx.diagnosis.visible import visible
from sipcore.protocol.headers import clean_text


def need_sight(request: HttpRequest) -> None:
    if not may_see(request.user):
        raise PermissionDenied


@conditional_page  # what is rendered here and now: a page in which nothing changed costs its reader nothing
def extension_panel(request: HttpRequest, pk: int) -> HttpResponse:
    """The panel of an extension, as a piece of its page."""
    need_sight(request)
    extension = Extension.objects.defer("password").filter(pk=pk).first()
    if extension is None:
        raise Http404
    panel = panel_of(extension.number, extension, request.user)
    return render(request, "admin/diagnosis/_panel.html", panel_context(request, panel))


@conditional_page
def number(request: HttpRequest, number: str) -> HttpResponse:
    """The same for a number that is no extension."""
    need_sight(request)
    number = clean_text(number, LONGEST_NUMBER)  # as it is where it was written down
    extension = Extension.objects.by_number(number).first()
    if extension is not None and not asks_for_a_piece(request):
        return redirect("admin:extensions_extension_change", extension.pk)
    context = panel_context(request, panel_of(number, extension, request.user))
    if asks_for_a_piece(request):
        return render(request, "admin/diagnosis/_panel.html", context)
    return TemplateResponse(request, "admin/diagnosis/number.html", {
        **admin.site.each_context(request), **context,
        "title": _("Number %(number)s") % {"number": visible(number)},
    })


@conditional_page
def front(request: HttpRequest) -> HttpResponse:
    """The part of the front page that renews itself."""
    need_sight(request)
    return render(request, "admin/diagnosis/_front.html", {"front": front_of(request.user)})


def panel_context(request: HttpRequest, panel) -> dict[str, object]:
    return {
        "panel": panel, "now": timezone.now(),
        "can_watch": request.user.has_perm("extensions.change_extension"),
    }


@require_POST
def act(request: HttpRequest) -> HttpResponse:
    """A button: ``act`` is ``verb:row``. Back to the page that it was on."""
    need_sight(request)
    verb, _colon, row = request.POST.get("act", "").partition(":")
    try:
        messages.success(request, do_act(request, verb, clean_text(row, LONGEST_NUMBER)))
    except ObjectDoesNotExist:
        messages.warning(request, _("There is nothing left to do: what the button was about is gone."))
    back = request.POST.get("back", "")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure()):
        return redirect("admin:index")
    return redirect(back)


@require_POST
def bundle(request: HttpRequest) -> HttpResponse:
    """The support bundle: settings, verdicts and ladders of everybody, masked."""
    if not request.user.is_superuser:
        raise PermissionDenied
    from pbx.diagnosis.bundle import make_bundle

    response = HttpResponse(make_bundle(), content_type="application/zip")
    name = f"pbx-support-{timezone.localtime():%Y-%m-%d-%H%M}.zip"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response
