"""The second factor (TOTP, RFC 6238): enrol by scanning a QR code once, then a code of six digits at each sign-in."""

from __future__ import annotations

from base64 import b32encode

from django import forms
from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME, logout
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django_otp import login
from django_otp.plugins.otp_totp.models import TOTPDevice

from pbx.qr_code import qr_svg

PURPOSE = "admin"  # the name of the device rows made here


class CodeForm(forms.Form):
    code = forms.CharField(
        label=_("Code"), max_length=9,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "one-time-code", "autofocus": True}),
    )

    def clean_code(self) -> str:
        code = "".join(self.cleaned_data["code"].split())
        if not (code.isascii() and code.isdigit()):
            raise forms.ValidationError(_("The code is six digits, as the app on your telephone shows them."))
        return code


@sensitive_post_parameters("code")
@never_cache
@csrf_protect
def second_factor(request: HttpRequest, site) -> HttpResponse:
    """Asks who is signed in by password only for the code. Someone without a device enrols one here: at that moment
    the password alone is what they have proven, which is why enrolling is possible only once."""
    target = request.POST.get(REDIRECT_FIELD_NAME) or request.GET.get(REDIRECT_FIELD_NAME) or ""
    if not url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure()):
        target = reverse(f"{site.name}:index")
    if not settings.ADMIN_TOTP or not site.knows_password(request) or request.user.is_verified():
        return redirect(target)
    if "sign_out" in request.POST:
        logout(request)
        return redirect(f"{site.name}:index")
    form = CodeForm(request.POST or None)
    with transaction.atomic():
        enrolled = TOTPDevice.objects.devices_for_user(request.user, confirmed=True).first()
        device = enrolled or _device_to_enrol(request)
        if form.is_valid():
            allowed, _reason = device.verify_is_allowed()
            if allowed and device.verify_token(form.cleaned_data["code"]):
                if enrolled is None:
                    device.confirmed = True
                    device.save()
                login(request, device)
                return redirect(target)
            form.add_error("code", _("Too many wrong codes. Wait a moment, then type the newest code.") if not allowed
                           else _("This code is not right. Type the newest one; if it fails again, check the clock "
                                  "of your telephone."))
    context = {
        **site.each_context(request), "form": form, "title": _("Second step"), "target": target,
        "redirect_field": REDIRECT_FIELD_NAME, "enrol": enrolled is None,
    }
    if enrolled is None:
        context["qr"] = qr_svg(device.config_url)
        context["secret"] = b32encode(device.bin_key).decode()
    return TemplateResponse(request, "admin/second_factor.html", context)


def _device_to_enrol(request: HttpRequest) -> TOTPDevice:
    """The unconfirmed device whose QR code is shown, the same one until it is confirmed."""
    return TOTPDevice.objects.get_or_create(user=request.user, name=PURPOSE, confirmed=False)[0]
