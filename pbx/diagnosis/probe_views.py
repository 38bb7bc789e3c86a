"""The public pages of the test from outside: ``/p/TOKEN/`` and what renews it. They show no password, no other
address than that of the reader, and nothing at all without the token."""

from __future__ import annotations

import hashlib

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from extensions.card import account_sheets
from extensions.models import ProvisioningLink
from pbx.client_address import client_address
from pbx.content_security import sealed
from pbx.diagnosis import probe_links
from pbx.diagnosis.models import ProbeLink
from pbx.diagnosis.networks import is_private
from pbx.diagnosis.probe import ProbeState, state_of
from pbx.throttle import Throttle, network_of

WRONG_TOKENS = Throttle(30, 60.0)
"""Of one network: after so many no table is looked into any more."""

LOOKS = Throttle(120, 60.0)
"""Of one link: the page itself asks 30 times a minute."""


@require_safe
def page(request: HttpRequest, token: str) -> HttpResponse:
    """Opened on the phone. A messenger's preview opens it too, so that it counts as opened only once its script, or a
    browser without scripts for the second time, asks how things stand."""
    if (language := request.GET.get("language")) in dict(settings.LANGUAGES):
        return _in_language(request, language)
    link, refusal = _find(request, token)
    if link is None:
        return refusal
    again = "again" in request.GET
    if again:
        probe_links.note_opened(link, client_address(request))
    address = client_address(request)
    return sealed(TemplateResponse(request, "probe/page.html", {
        "link": link, "number": link.extension.number, "address": address, "inside": is_private(address),
        "fields": _account(link), "has_qr_code": _has_qr_code(link), "state": state_of(link, address),
        "languages": settings.LANGUAGES, "again": again,
    }))


@require_safe
def state(request: HttpRequest, token: str) -> HttpResponse:
    """The part of the page that changes."""
    link, refusal = _find(request, token, quiet=True)
    if link is None:
        return refusal
    address = client_address(request)
    probe_links.note_opened(link, address)
    found: ProbeState = state_of(link, address)
    return sealed(TemplateResponse(request, "probe/_state.html", {"state": found}))


def _find(request: HttpRequest, token: str, *, quiet: bool = False) -> tuple[ProbeLink | None, HttpResponse]:
    stranger = network_of(client_address(request))
    mark = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
    if WRONG_TOKENS.is_over(stranger) or LOOKS.is_over(mark):
        response = _sentence(request, 429, _("Too many requests. Wait a minute and open the link again."))
        response.headers["Retry-After"] = "60"
        return None, response
    LOOKS.count(mark)
    link = probe_links.find_link(token) if len(token) <= 64 else None
    if link is None:
        WRONG_TOKENS.count(stranger)
        return None, _sentence(request, 410, _(
            "This link has ended or never existed. Ask your administrator for a new one."
        ))
    return link, HttpResponse()


def _sentence(request: HttpRequest, status: int, text: str) -> HttpResponse:
    return sealed(TemplateResponse(request, "probe/sentence.html", {"sentence": text}, status=status))


def _in_language(request: HttpRequest, language: str) -> HttpResponse:
    """By GET, unlike in the admin: this page tells no site where it came from, and a form that says nothing of its
    origin is refused."""
    response = HttpResponseRedirect(request.path)
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME, language, max_age=settings.LANGUAGE_COOKIE_AGE, secure=settings.WEB_HTTPS,
        samesite="Lax",
    )
    return sealed(response)


def _account(link: ProbeLink) -> list[tuple[str, str]]:
    """Labels and values of the account card. The password is nowhere to be had."""
    fields = account_sheets(link.extension)[0].fields
    return [
        (field.label, _("you have it from your administrator") if field.secret else field.value or field.note)
        for field in fields
    ]


def _has_qr_code(link: ProbeLink) -> bool:
    newest = link.extension.provisioning_links.order_by("-created_at").first()
    return newest is not None and newest.state() == ProvisioningLink.State.WAITING
