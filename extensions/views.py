"""The one page without a sign-in: a phone fetches its settings by a one-time link."""

from __future__ import annotations

import logging

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from extensions import provisioning
from pbx.client_address import client_address
from pbx.content_security import sealed

log = logging.getLogger("pbx.provisioning")


@require_safe
def phone_link(request: HttpRequest, token: str) -> HttpResponse:
    """Gives the settings to Linphone, once. A browser, a messenger's preview or a HEAD gets an explanation and uses
    nothing up; nobody is told whether a dead link ever existed."""
    if not provisioning.is_safe_way(request):
        provisioning.burn_link(token)
        return _sentence(request, 403, _(
            "This link came over an unprotected connection and has been ended. Open the admin by https://, or inside "
            "the office network by the server's private address, and make a new QR code there."
        ))
    link = provisioning.find_link(token)
    if link is None:
        return _sentence(request, 410, _(
            "This link has been used or has expired. Ask your administrator for a new QR code."
        ))
    if request.method == "HEAD" or not is_linphone(request):
        return _sentence(request, 200, _(
            "This link is for the Linphone app. Open Linphone, choose “Scan a QR code” and scan the code; a browser "
            "cannot use it, and has not used it up."
        ))
    credentials = provisioning.usable_credentials(link.extension, link)
    if not credentials:
        return _sentence(request, 410, _(
            "The extension was changed after this link was made. Ask your administrator for a new QR code."
        ))
    address = client_address(request)
    if not provisioning.use_link(link, address):
        return _sentence(request, 410, _(
            "This link has been used or has expired. Ask your administrator for a new QR code."
        ))
    log.info("Provisioning link of extension %s used from %s", link.extension.number, address)
    return sealed(HttpResponse(
        provisioning.document(link.extension, credentials), content_type="application/xml; charset=utf-8"
    ))


def is_linphone(request: HttpRequest) -> bool:
    """Newer ones say so in a header of their own. Linphone 5.1 calls itself "Unknown" as long as it has no settings;
    previews and browsers have names."""
    if "X-Linphone-Provisioning" in request.headers:
        return True
    agent = request.headers.get("User-Agent", "").casefold()
    return agent == "unknown" or "linphone" in agent or "belle-sip" in agent


def _sentence(request: HttpRequest, status: int, text: str) -> HttpResponse:
    return sealed(TemplateResponse(request, "provisioning/sentence.html", {"sentence": text}, status=status))
