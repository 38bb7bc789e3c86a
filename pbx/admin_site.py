"""The admin site: its index is about extensions first, and it asks for the second factor where that is on."""

from __future__ import annotations

from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

FIRST_APPS, LAST_APPS = ("extensions",), ("auth", "otp_totp")


class PbxAdminSite(AdminSite):
    site_title = _("PBX")
    site_header = _("PBX")
    index_title = _("Overview")
    site_url = None  # the root address leads here: a "View site" link would go in a circle

    def has_permission(self, request: HttpRequest) -> bool:
        return self.knows_password(request) and (not settings.ADMIN_TOTP or request.user.is_verified())

    def knows_password(self, request: HttpRequest) -> bool:
        """The first of the two factors: signed in as an administrator."""
        return request.user.is_active and request.user.is_staff

    def login(self, request: HttpRequest, extra_context=None):
        if settings.ADMIN_TOTP and self.knows_password(request) and not request.user.is_verified():
            target = request.GET.get(REDIRECT_FIELD_NAME, "")
            query = f"?{urlencode({REDIRECT_FIELD_NAME: target})}" if target else ""
            return redirect(f"{self._second_factor_url()}{query}")
        return super().login(request, extra_context)

    def _second_factor_url(self) -> str:
        return reverse(f"{self.name}:second_factor", current_app=self.name)

    def get_urls(self):
        from pbx.diagnosis.admin_urls import admin_urls
        from pbx.second_factor import second_factor

        return [
            path("second-factor/", second_factor, {"site": self}, name="second_factor"), *admin_urls(self),
            *super().get_urls(),
        ]

    def get_app_list(self, request: HttpRequest, app_label: str | None = None):
        apps = super().get_app_list(request, app_label)
        if not settings.ADMIN_TOTP:
            apps = [app for app in apps if app["app_label"] != "otp_totp"]
        for app in apps:
            if app["app_label"] == "otp_totp":
                app["name"] = _("Authenticator apps")
        # What concerns telephones first, who may administer last; in between as they are named.
        return sorted(apps, key=lambda app: (app["app_label"] in LAST_APPS) - (app["app_label"] in FIRST_APPS))

    def index(self, request: HttpRequest, extra_context=None):
        from extensions.overview import overview
        from pbx.diagnosis.attention import front_of

        counted = overview(request)
        return super().index(request, {
            "overview": counted, "front": front_of(request.user, counted=counted), **(extra_context or {}),
        })
