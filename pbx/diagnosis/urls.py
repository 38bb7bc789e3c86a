"""The pages of the diagnosis outside the admin: the test from outside."""

from django.urls import path

from pbx.diagnosis import probe_views

app_name = "diagnosis"
urlpatterns = [
    path("p/<str:token>/", probe_views.page, name="probe"),
    path("p/<str:token>/state/", probe_views.state, name="probe_state"),
]
