"""Puts our admin site in the place of Django's."""

import sys

from django.contrib.admin.apps import AdminConfig, SimpleAdminConfig


class PbxAdminConfig(AdminConfig):
    default_site = "pbx.admin_site.PbxAdminSite"

    def ready(self):
        # runsip shows no pages, and phones wait for its start: the pages of all apps are a sixth of it.
        if sys.argv[1:2] == ["runsip"]:
            SimpleAdminConfig.ready(self)
        else:
            super().ready()
