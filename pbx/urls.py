"""The admin, its root address, and the links that phones open."""

from importlib.util import find_spec

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("pbx.diagnosis.urls")),
]
if find_spec("extensions.urls"):
    urlpatterns.append(path("", include("extensions.urls")))
