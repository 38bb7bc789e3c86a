"""Addresses outside the admin: the one-time links that phones fetch."""

from django.urls import path

from extensions import views

app_name = "extensions"
urlpatterns = [path("phone/<str:token>/", views.phone_link, name="phone_link")]
