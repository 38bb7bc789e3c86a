"""Puts our admin site in the place of Django's."""

from django.contrib.admin.apps import AdminConfig


class PbxAdminConfig(AdminConfig):
    default_site = "pbx.admin_site.PbxAdminSite"
