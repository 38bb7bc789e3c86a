"""What the list of extensions shows, in one query however long it is."""

from __future__ import annotations

from datetime import timedelta

from django.test import TestCase, override_settings
from django.utils import timezone

from extensions.models import Binding, CredentialState, DigestCredential, Extension
from extensions.presence import add_password_age
from tests.extensions.rows import make_binding, make_extension


@override_settings(SIP_REALM="pbx.example")
class PresenceTests(TestCase):
    def shown(self, **options) -> dict[str, tuple]:
        return {
            extension.number: (extension.devices_online, extension.last_seen, extension.credential_state)
            for extension in Extension.objects.with_presence(**options)
        }

    def test_online_devices_last_seen_and_state(self):
        now = timezone.now()
        two, ended, never = make_extension("1001"), make_extension("1002"), make_extension("1003", password=None)
        make_binding(two, key="a", refreshed_at=now - timedelta(minutes=9))
        make_binding(two, key="b", refreshed_at=now - timedelta(minutes=2))
        make_binding(two, key="c", refreshed_at=now - timedelta(days=2), seconds_left=-60)
        make_binding(ended, refreshed_at=now - timedelta(days=1), seconds_left=-60)
        ready, missing = CredentialState.READY, CredentialState.MISSING
        self.assertEqual(self.shown(), {
            "1001": (2, now - timedelta(minutes=2), ready),
            "1002": (0, now - timedelta(days=1), ready),
            never.number: (0, None, missing),
        })

    def test_state_is_the_same_in_the_list_and_on_the_row(self):
        make_extension("ready")
        make_extension("missing", password=None)
        renamed = make_extension("before")
        renamed.number = "renamed"
        renamed.save()
        make_extension("md5").credentials.filter(algorithm="SHA-256").delete()
        make_extension("half").credentials.filter(algorithm="MD5").update(realm="other.example")
        make_extension("sha").credentials.filter(algorithm="MD5").delete()
        seen = set()
        for realm in ("pbx.example", "other.example"):
            for offered in (["MD5"], ["SHA-256", "MD5"], ["SHA-256"]):
                with override_settings(SIP_REALM=realm, SIP_DIGEST_ALGORITHMS=offered):
                    for listed in Extension.objects.with_presence():
                        with self.subTest(number=listed.number, realm=realm, offered=offered):
                            state = Extension.objects.get(pk=listed.pk).credential_state
                            self.assertEqual(listed.stored_credential_state, state)
                            seen.add(state)
        self.assertEqual(seen, set(CredentialState))

    def test_one_query_for_the_whole_list(self):
        for number in range(1001, 1021):
            make_binding(make_extension(str(number)))
        with self.assertNumQueries(1):
            self.assertEqual(len(self.shown()), 20)

    def test_filtering_and_ordering(self):
        make_binding(make_extension("1001"))
        make_extension("1002", password=None)
        listed = Extension.objects.with_presence()
        self.assertEqual([e.number for e in listed.filter(devices_online__gt=0)], ["1001"])
        self.assertEqual([e.number for e in listed.filter(stored_credential_state="missing")], ["1002"])
        self.assertEqual([e.number for e in listed.order_by("-devices_online", "-last_seen")], ["1001", "1002"])

    def test_a_save_on_a_listed_row_shows_its_new_state(self):
        make_extension(password=None)
        listed = Extension.objects.with_presence().get()
        self.assertEqual(listed.credential_state, CredentialState.MISSING)
        listed.set_password("test123456")
        listed.save()
        self.assertEqual(listed.credential_state, CredentialState.READY)

    def test_online_ends_at_expires_at(self):
        binding = make_binding(make_extension(), seconds_left=100)
        self.assertTrue(Binding.objects.online(binding.expires_at - timedelta(microseconds=1)).exists())
        self.assertFalse(Binding.objects.online(binding.expires_at).exists())
        self.assertTrue(Binding.objects.ended(binding.expires_at).exists())
        self.assertEqual(self.shown(now=binding.expires_at)["1001"][0], 0)


@override_settings(SIP_REALM="pbx.example")
class OldPasswordTests(TestCase):
    def old(self) -> list[str]:
        """As the column says, and as rows that were read without it are told."""
        rows = Binding.objects.order_by("pk")
        old = [binding.key for binding in rows.with_password_age() if binding.has_old_password]
        self.assertEqual([binding.key for binding in add_password_age(rows) if binding.has_old_password], old)
        return old

    def setUp(self):
        self.extension = make_extension()
        hour_ago = timezone.now() - timedelta(hours=1)
        DigestCredential.objects.update(changed_at=hour_ago)
        make_binding(self.extension, key="phone", refreshed_at=hour_ago + timedelta(minutes=1))
        make_binding(self.extension, key="ended", refreshed_at=hour_ago - timedelta(minutes=1), seconds_left=-60)

    def test_changed_password_marks_registered_phones_until_they_refresh(self):
        self.assertEqual(self.old(), [])
        self.extension.set_password("another-123")
        self.extension.save()
        self.assertEqual(self.old(), ["phone"])
        Binding.objects.filter(key="phone").update(refreshed_at=timezone.now())
        self.assertEqual(self.old(), [])

    def test_repair_after_a_change_of_the_realm_marks_nobody(self):
        with override_settings(SIP_REALM="other.example"):
            self.extension.set_password("test123456")
            self.extension.save()
        self.assertEqual(self.old(), [])

    def test_an_added_algorithm_marks_nobody(self):
        self.extension.credentials.filter(algorithm="SHA-256").delete()
        self.extension.set_password("test123456")
        self.extension.save()
        self.assertEqual(self.extension.credentials.count(), 2)
        self.assertEqual(self.old(), [])
