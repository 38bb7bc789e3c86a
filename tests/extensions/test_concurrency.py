"""A phone registers at the very moment at which its extension is disabled or deleted (PostgreSQL; SQLite has one
writer at a time)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from django.db import connection, transaction
from django.test import TransactionTestCase, override_settings, skipUnlessDBFeature

from extensions.models import Binding, Extension
from tests.extensions.rows import make_binding, make_extension

DEADLINE = 20.0  # seconds


@override_settings(SIP_REALM="pbx.example")
@skipUnlessDBFeature("has_select_for_update_skip_locked")
class RegistrationRaceTests(TransactionTestCase):
    def while_registering(self, change: Callable[[], None]) -> None:
        """Run ``change`` in another connection while this one has a registration written and not yet committed."""
        failures: list[BaseException] = []

        def run() -> None:
            try:
                change()
            except BaseException as error:
                failures.append(error)
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        with transaction.atomic():
            # As the engine does: lock what is enabled, then write.
            extension = Extension.objects.select_for_update(no_key=True).get(enabled=True)
            make_binding(extension)
            thread.start()
            self.wait_until_blocked()
        thread.join(DEADLINE)
        self.assertFalse(thread.is_alive())
        self.assertEqual(failures, [])

    def wait_until_blocked(self) -> None:
        deadline = time.monotonic() + DEADLINE
        with connection.cursor() as cursor:
            while time.monotonic() < deadline:
                cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                if cursor.fetchone()[0]:
                    return
                time.sleep(0.02)
        self.fail("the other connection never waited")

    def test_disable_ends_the_registration_that_was_being_written(self):
        def disable() -> None:
            extension = Extension.objects.get()
            extension.enabled = False
            extension.save()

        make_extension()
        self.while_registering(disable)
        self.assertFalse(Binding.objects.exists())
        self.assertFalse(Extension.objects.get().enabled)

    def test_delete_takes_the_registration_that_was_being_written(self):
        for delete in (lambda: Extension.objects.get().delete(), lambda: Extension.objects.all().delete()):
            make_extension()
            self.while_registering(delete)
            self.assertFalse(Binding.objects.exists())
            self.assertFalse(Extension.objects.exists())
