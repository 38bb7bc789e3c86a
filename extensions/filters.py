"""Filters at the side of the list of extensions."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from extensions.models import CredentialState


class OnlineFilter(admin.SimpleListFilter):
    title = _("online")
    parameter_name = "online"

    def lookups(self, request, model_admin):
        return [("yes", _("online now")), ("no", _("not online"))]

    def queryset(self, request, queryset):
        if self.value() == "yes":
            return queryset.online()
        return queryset.offline() if self.value() == "no" else queryset


class CredentialFilter(admin.SimpleListFilter):
    title = _("password")
    parameter_name = "password_state"

    def lookups(self, request, model_admin):
        return CredentialState.choices

    def queryset(self, request, queryset):
        if self.value() in CredentialState.values:
            return queryset.in_credential_state(CredentialState(self.value()))
        return queryset
