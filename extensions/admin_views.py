"""The pages of one extension: its password, its account card, and the QR code for Linphone.

Each takes the ModelAdmin first: it knows who may do what. A page that shows a secret answers the POST that made it,
because the raw password is kept nowhere from where a second page could fetch it."""

from __future__ import annotations

import ipaddress
import secrets

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.request import split_domain_port
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from extensions import provisioning
from extensions.card import account_sheets, url_host
from extensions.forms import PasswordForm
from extensions.models import CredentialState, Extension
from extensions.passwords import password_warning
from extensions.presence import devices_of
from pbx.qr_code import qr_svg
from pbx.system.server_address import own_address

USED_FORMS = "used_password_forms"  # in the session: marks of password forms that were sent already
USED_FORMS_KEPT = 20


def extension_for(admin, request: HttpRequest, pk: int, *, change: bool) -> Extension:
    """The extension, if this administrator may see it, or change it. Raises PermissionDenied, Http404."""
    extension = admin.get_object(request, str(pk))
    allowed = admin.has_change_permission if change else admin.has_view_or_change_permission
    if not allowed(request, extension):
        raise PermissionDenied
    if extension is None:
        raise Http404
    return extension


def page(admin, request: HttpRequest, template: str, extension: Extension, **context) -> TemplateResponse:
    return TemplateResponse(request, f"admin/extensions/extension/{template}", {
        **admin.admin_site.each_context(request), "opts": admin.opts, "extension": extension,
        "can_change": admin.has_change_permission(request, extension), **context,
    })


def to_form(extension: Extension) -> HttpResponse:
    return redirect("admin:extensions_extension_change", extension.pk)


@sensitive_variables("form", "raw")
def password(admin, request: HttpRequest, pk: int) -> HttpResponse:
    """The Password button: type one twice, or generate; then the card, with the password shown this one time."""
    extension = extension_for(admin, request, pk, change=True)
    if request.method == "POST" and request.POST.get("once") in request.session.get(USED_FORMS, []):
        return redirect("admin:extensions_extension_card", pk)  # the page was loaded again: nothing is changed twice
    form = PasswordForm(extension, request.POST or None, initial={"once": secrets.token_urlsafe(12)})
    if form.is_valid():
        raw = form.raw_password
        extension.set_password(raw)
        extension.save(update_fields=["password"])
        admin.log_change(request, extension, [{"changed": {"fields": ["password"]}}])
        used = request.session.get(USED_FORMS, [])
        request.session[USED_FORMS] = [*used, form.cleaned_data["once"]][-USED_FORMS_KEPT:]
        return render_card(admin, request, extension, raw)
    return page(
        admin, request, "password.html", extension, form=form, state=extension.credential_state,
        states=CredentialState, online=[device for device in devices_of(extension) if device.online],
        title=_("Password of %(number)s") % {"number": extension.number},
    )


def card(admin, request: HttpRequest, pk: int) -> HttpResponse:
    """The account card without the password, which nobody can show a second time."""
    return render_card(admin, request, extension_for(admin, request, pk, change=False), None)


@sensitive_variables("raw")
def render_card(admin, request: HttpRequest, extension: Extension, raw: str | None, *, is_new=False) -> HttpResponse:
    old = [device for device in devices_of(extension) if device.old_password] if raw else []
    response = page(
        admin, request, "card.html", extension, sheets=account_sheets(extension, raw), password=raw,
        warning=password_warning(raw) if raw else "", old_devices=old, state=extension.credential_state,
        states=CredentialState, is_new=is_new, out_of_reach=out_of_phones_reach(request),
        title=_("Account card of %(number)s") % {"number": extension.number},
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def phone_link(admin, request: HttpRequest, pk: int) -> HttpResponse:
    """The QR code for Linphone: made by POST, shown by the answer to it, because only a hash of it is stored."""
    extension = extension_for(admin, request, pk, change=True)
    refusal = _refusal(request, extension)
    title = _("QR code for %(number)s") % {"number": extension.number}
    if request.method != "POST" or refusal:
        return page(admin, request, "phone_link.html", extension, title=title, refusal=refusal)
    link, token = provisioning.make_link(extension)
    admin.log_change(request, extension, _("Made a one-time link for Linphone."))
    path = reverse("extensions:phone_link", args=[token])
    # By WEB_PUBLIC_URL where it is safe: the administrator may be at the end of a tunnel, where no phone is.
    url = f"{settings.WEB_PUBLIC_URL}{path}" if _has_safe_public_address() else request.build_absolute_uri(path)
    response = page(
        admin, request, "phone_link.html", extension, title=title, link=link, url=url, qr=qr_svg(url),
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def phone_link_state(admin, request: HttpRequest, pk: int, link: int) -> HttpResponse:
    """What became of the link, for the page that shows its QR code."""
    extension = extension_for(admin, request, pk, change=True)
    found = extension.provisioning_links.filter(pk=link).first()
    now = timezone.now()
    state = found.state(now) if found else "expired"
    left = max(0, int((found.expires_at - now).total_seconds())) if found else 0
    return JsonResponse({"state": state, "seconds_left": left, "used_from": found.used_from if found else ""})


def _refusal(request: HttpRequest, extension: Extension) -> str:
    """Why no link can be made, with what to do about it; empty when it can."""
    if not extension.enabled:
        return _("This extension is disabled. Enable it first.")
    if extension.credential_state != CredentialState.READY:
        return _("This extension has no password that fits. Press Password first.")
    if unreachable := out_of_phones_reach(request):
        return unreachable
    if not provisioning.is_safe_way(request):
        return _(
            "This page came over an unprotected connection, on which a stranger could read the link. Open the admin "
            "by https://, or from inside your own network by the private address of this server. If a proxy in front "
            "of the PBX speaks https already, set WEB_HTTPS=yes in .env."
        )
    return ""


def out_of_phones_reach(request: HttpRequest) -> str:
    """Why a phone could not follow a link with the address that this browser uses, and the remedy; else empty. The
    link has the browser's address, because nothing else is known to lead here: WEB_HOST may stand behind a proxy."""
    host = split_domain_port(request.get_host())[0]
    if _has_safe_public_address():
        return ""
    if host != "localhost" and not host.endswith(".localhost") and not _is_loopback(host):
        return ""
    own = own_address()
    example = own if provisioning.is_private_address(own) and not _is_loopback(own) else "192.168.1.10"
    return _(
        "You opened the admin as %(host)s, an address that only this computer understands: no phone can follow a QR "
        "code with it. Put an HTTPS proxy in front (docs/deploy.md) and write its address into .env, for example "
        "WEB_PUBLIC_URL=https://pbx.example.com. In a private network that you trust, you can do without: write the "
        "address of this server there into .env, such as WEB_HOST=%(address)s, start the PBX again and open %(url)s. "
        "Administrators' passwords then cross that network unencrypted. Without a QR code, type the account card into "
        "the phone."
    ) % {"host": host, "address": example, "url": f"http://{url_host(example)}:{settings.WEB_PORT}/"}


def _has_safe_public_address() -> bool:
    return settings.WEB_PUBLIC_URL.startswith("https://")


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback or address.is_unspecified
