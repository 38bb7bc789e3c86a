"""Administrators in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, SetUnusablePasswordMixin
from django.contrib.auth.models import User
from django.db.models.signals import pre_delete
from django.dispatch import receiver
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from django_otp.plugins.otp_totp.admin import TOTPDeviceAdmin
from django_otp.plugins.otp_totp.models import TOTPDevice

from extensions.audit import TERMINAL, keep_entries_of


class UserPasswordForm(AdminPasswordChangeForm):
    """Django puts this help together at import, in the language of that moment, which is English."""

    usable_password_help_text = format_lazy(
        '{}<ul id="id_unusable_warning" class="messagelist"><li class="warning">{}</li></ul>',
        SetUnusablePasswordMixin.usable_password_help_text,
        _("If disabled, the current password for this user will be lost."),
    )


admin.site.unregister([User, TOTPDevice])


@admin.register(TOTPDevice)
class PbxTOTPDeviceAdmin(TOTPDeviceAdmin):
    def lookup_allowed(self, lookup, value, request=None):
        # ?key__startswith= would tell the secret, a character a question.
        return lookup.partition("__")[0] != "key" and super().lookup_allowed(lookup, value, request)


@admin.register(User)
class PbxUserAdmin(UserAdmin):
    change_password_form = UserPasswordForm

    def get_queryset(self, request):
        return super().get_queryset(request).exclude(username=TERMINAL)

    def get_deleted_objects(self, objs, request):
        """What they did is no object that goes with them: ``keep_what_they_did``."""
        _lines, counts, lacking, protected = super().get_deleted_objects(objs, request)
        entries = LogEntry._meta
        counts = {name: count for name, count in counts.items() if name != entries.verbose_name_plural}
        return [str(user) for user in objs], counts, lacking - {entries.verbose_name}, protected


@receiver(pre_delete, sender=User)
def keep_what_they_did(instance: User, **_more: object) -> None:
    if instance.get_username() != TERMINAL:
        keep_entries_of(instance)
