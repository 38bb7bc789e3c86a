"""The pages of the diagnosis below ``/admin/diagnosis/``, beside those of its tables; ``PbxAdminSite`` includes
them."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.urls import URLPattern, path

from pbx.diagnosis import pages, probe_admin


def admin_urls(site: AdminSite) -> list[URLPattern]:
    def page(route: str, view, name: str) -> URLPattern:
        return path(f"diagnosis/{route}", site.admin_view(view), name=f"diagnosis_{name}")

    return [
        page("extension/<int:pk>/", pages.extension_panel, "extension"),
        page("number/<path:number>/", pages.number, "number"),
        page("front/", pages.front, "front"),
        page("act/", pages.act, "act"),
        page("bundle/", pages.bundle, "bundle"),
        page("probe/<int:pk>/", probe_admin.probe_new, "probe_new"),
        page("probe/<int:pk>/state/", probe_admin.probe_state, "probe_state"),
    ]
