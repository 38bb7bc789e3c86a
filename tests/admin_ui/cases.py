"""What the tests of the admin pages share: an administrator who is signed in, and the addresses of the pages."""

from __future__ import annotations

import logging

from django.contrib.auth.models import Permission, User
from django.test import TestCase
from django.urls import reverse

LIST = "/admin/extensions/extension/"


def page(name: str, *args: object) -> str:
    return reverse(f"admin:extensions_extension_{name}", args=args)


def make_administrator(name: str, *permissions: str) -> User:
    """An administrator with these permissions on extensions ("view", "add", "change", "delete") and no others."""
    user = User.objects.create_user(name, password="a-Long-enough-1", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(
        content_type__app_label="extensions", codename__in=[f"{action}_extension" for action in permissions]
    ))
    return user


class QuietCase(TestCase):
    """Refusals are what many of these tests ask for: their log lines would bury a failure."""

    def setUp(self) -> None:
        super().setUp()
        for name in (
            "django.request", "django.security.csrf", "django.security.DisallowedHost", "pbx.provisioning", "pbx.web",
        ):
            logger = logging.getLogger(name)
            self.addCleanup(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL)


class AdminCase(QuietCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.admin = User.objects.create_superuser("root", "root@pbx.test", "a-Long-enough-1")

    def setUp(self) -> None:
        super().setUp()
        self.client.force_login(self.admin)

    def fields(self, extension, **changes) -> dict[str, object]:
        """What the form of ``extension`` sends when only ``changes`` are made; None leaves a field out."""
        data = {
            "number": extension.number, "display_name": extension.display_name, "max_devices": extension.max_devices,
            "ring_seconds": extension.ring_seconds,
            "language": extension.language, "enabled": "on" if extension.enabled else None, **changes,
        }
        return {name: value for name, value in data.items() if value is not None}
