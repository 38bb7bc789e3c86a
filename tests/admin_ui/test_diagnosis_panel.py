"""The diagnosis on the page of an extension and of a number that is none: the bar, the verdict in words, its button."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from pbx.diagnosis.models import Block, Watch
from sipcore.protocol.headers import clean_text
from tests.admin_ui.cases import LIST, AdminCase, QuietCase, make_administrator
from tests.admin_ui.evidence_rows import (
    HOSTILE,
    make_attempt,
    make_block,
    make_old_extension,
    make_period,
    make_server_run,
    make_watched,
    register,
)
from tests.extensions.rows import make_binding

ACT = "/admin/diagnosis/act/"


def page_of(extension) -> str:
    return f"{LIST}{extension.pk}/change/"


def piece_of(extension) -> str:
    return reverse("admin:diagnosis_extension", args=[extension.pk])


def page_of_number(number: str) -> str:
    return reverse("admin:diagnosis_number", args=[number])


class DiagnosisCase(AdminCase):
    def setUp(self):
        super().setUp()
        for place in ("explain", "attention"):  # not what this machine lacks
            quiet = patch(f"pbx.diagnosis.{place}.server_verdicts", return_value=[])
            quiet.start()
            self.addCleanup(quiet.stop)
        make_server_run()

    def stages(self, address: str) -> list[str]:
        return [step.state for step in self.client.get(address).context["panel"].steps]

    def codes(self, address: str) -> list[str]:
        return [finding.verdict.code for finding in self.client.get(address).context["panel"].findings]


class PanelTests(DiagnosisCase):
    def test_the_ladder_of_what_is_explained_is_first_and_open_and_cured_ones_are_marked(self):
        extension = make_old_extension()
        make_attempt("1001", "wrong_password", extension, minutes_ago=9, source="192.168.1.50", call_id="wrong")
        make_attempt("1001", "malformed", extension, minutes_ago=3, phone="Zoiper", call_id="cured")
        make_binding(extension, refreshed_at=timezone.now() - timedelta(minutes=2), seconds_left=-1)
        panel = self.client.get(page_of(extension)).context["panel"]
        self.assertEqual(panel.findings[0].verdict.code, "wrong_password")
        first, second = panel.talks
        self.assertIn("Call-ID: wrong", first.ladder.arrows[0].text)
        self.assertEqual((first.is_open, first.is_cured), (True, False))
        self.assertEqual((second.is_open, second.is_cured), (False, True))
        self.assertContains(self.client.get(piece_of(extension)), "This phone has registered since", 1)

    def test_the_name_to_sign_in_with_is_no_better_known_than_the_number(self):
        make_attempt("1555", "unknown_extension")
        rows = self.client.get(page_of_number("1555")).context["panel"].card.rows[:2]
        self.assertEqual(
            [row.expected for row in rows], ["the number of an extension", "the same as the user name"]
        )
        make_old_extension("1556")
        rows = self.client.get(page_of_number("1555")).context["panel"].card.rows[:2]
        self.assertEqual([row.expected for row in rows], ["1556", "1556"])

    def test_after_all_is_cured_no_failure_is_open(self):
        extension = make_old_extension()
        make_attempt("1001", "malformed", extension, minutes_ago=3, phone="Zoiper")
        make_binding(extension)
        self.assertNotContains(self.client.get(piece_of(extension)), " open>")

    def test_a_wrong_password_stops_at_the_password_and_offers_the_password_button(self):
        extension = make_old_extension()
        make_attempt("1001", "wrong_password", extension)
        for address in (page_of(extension), piece_of(extension)):
            with self.subTest(address):
                response = self.client.get(address)
                self.assertContains(response, "Where did it stop?")
                self.assertContains(response, 'aria-current="step"', 1)
                self.assertContains(response, 'data-verdict="wrong_password"')
                self.assertContains(response, f'href="{LIST}{extension.pk}/password/"')
        self.assertEqual(self.stages(piece_of(extension)), ["passed"] * 4 + ["stopped"] + ["ahead"] * 2)

    def test_a_healthy_phone_has_come_all_the_way(self):
        extension = make_old_extension()
        make_binding(extension)
        response = self.client.get(page_of(extension))
        self.assertContains(response, "It came all the way")
        self.assertContains(response, 'data-verdict="registered"')
        self.assertNotContains(response, "stopped here")
        self.assertEqual(self.codes(piece_of(extension)), ["registered"])
        self.assertEqual(self.stages(piece_of(extension)), ["passed"] * 7)

    def test_a_silent_phone_stops_at_the_last_stage(self):
        extension = make_old_extension()
        make_binding(extension, unreachable_since=timezone.now() - timedelta(minutes=3))
        self.assertEqual(self.stages(piece_of(extension)), ["passed"] * 6 + ["stopped"])

    def test_the_piece_has_neither_form_nor_token_and_says_when_nothing_changed(self):
        extension = make_old_extension()
        make_attempt("1001", "wrong_password", extension)
        first = self.client.get(piece_of(extension))
        self.assertNotContains(first, "csrfmiddlewaretoken")
        again = self.client.get(piece_of(extension), headers={"if-none-match": first["ETag"]})
        self.assertEqual(again.status_code, 304)
        make_binding(extension)
        again = self.client.get(piece_of(extension), headers={"if-none-match": first["ETag"]})
        self.assertEqual(again.status_code, 200)

    def test_what_was_said_is_shown_and_each_message_can_be_opened(self):
        extension = make_old_extension()
        make_attempt("1001", "wrong_password", extension)
        response = self.client.get(page_of(extension))
        self.assertContains(response, "<pre", 4)
        self.assertContains(response, "403 Forbidden")
        self.assertContains(response, "CSeq: 2 REGISTER")

    def test_the_strip_says_in_words_when_it_was_online(self):
        extension = make_old_extension()
        make_period(extension, 20, 10)
        response = self.client.get(page_of(extension))
        self.assertContains(response, 'role="img" aria-label="The last 24 hours: online 10 h, offline 14 h."')

    def test_the_page_to_add_an_extension_has_no_diagnosis(self):
        self.assertNotContains(self.client.get(f"{LIST}add/"), "diagnosis-panel")

    def test_many_attempts_cost_as_many_queries_as_one(self):
        extension = make_old_extension()

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                self.client.get(piece_of(extension))
            return len(captured)

        make_attempt("1001", "wrong_password", extension)
        make_period(extension, 2, 1)
        self.client.get(piece_of(extension))
        with_one = queries()
        for place in range(30):
            make_attempt("1001", "wrong_password", extension, source=f"198.51.100.{place}")
            make_binding(extension, key=str(place), seconds_left=-60)
            make_period(extension, 9 + place / 10, 9 + place / 20)
            make_watched("1001", register("1001"), call_id=str(place))
        self.assertLessEqual(queries(), with_one + 2)
        self.assertLess(with_one, 40)


class NumberTests(DiagnosisCase):
    def test_a_number_that_is_no_extension_is_explained_and_can_be_added(self):
        make_attempt("1009", "unknown_extension")
        response = self.client.get(page_of_number("1009"))
        self.assertContains(response, 'data-verdict="unknown_extension"')
        self.assertContains(response, f'href="{LIST}add/?number=1009"')
        self.assertContains(self.client.get(f"{LIST}add/?number=1009"), 'name="number" value="1009"')

    def test_an_extension_leads_to_its_own_page(self):
        extension = make_old_extension("1001a")
        self.assertRedirects(self.client.get(page_of_number("1001A")), page_of(extension))

    def test_it_renews_itself_until_it_is_an_extension(self):
        address = page_of_number("1009")
        self.assertContains(self.client.get(address), f'data-live-panel="{address}"')
        make_binding(make_old_extension("1009"))
        piece = self.client.get(address, headers={"x-requested-with": "fetch"})
        self.assertContains(piece, 'data-verdict="registered"')

    def test_any_number_is_answered(self):
        for number in ("*43", "a b", "<script>", "x" * 500, "a/b", "%", "ю", "\U0001f4de", "1\x00", "?q", "#", "'; --"):
            with self.subTest(number[:20]):
                response = self.client.get(page_of_number(number))
                self.assertEqual(response.status_code, 200)
                self.assertNotContains(response, "<script>alert")


class HostileTextTests(DiagnosisCase):
    def test_text_from_the_network_is_only_text(self):
        clean = clean_text(HOSTILE, 128)  # as the engine writes it down
        extension = make_old_extension("1001", display_name=clean)
        make_attempt("1001", "wrong_password", extension, phone=HOSTILE, call_id=HOSTILE)
        make_attempt(HOSTILE, "unknown_extension", phone=HOSTILE, source="192.168.1.9")
        make_binding(extension, user_agent=clean, contact=clean)
        make_block("1001", user_agent=clean)
        make_watched("1001", register("1001", phone=HOSTILE.replace("\0", "")))
        make_attempt("", "malformed", phone=HOSTILE)
        nameless = "/admin/diagnosis/attempt/"
        for address in (page_of(extension), piece_of(extension), page_of_number(HOSTILE), "/admin/", nameless,
                        f"{nameless}{extension.attempts.model.objects.get(number='').pk}/change/"):
            with self.subTest(address):
                response = self.client.get(address)
                self.assertEqual(response.status_code, 200)
                for bad in ("<script>alert", "\x1b", "\u202e"):
                    self.assertNotIn(bad, response.text)
        self.assertIn("\U0001f4de", self.client.get(page_of(extension)).text)


class ButtonTests(DiagnosisCase):
    def press(self, act: str, **more):
        return self.client.post(ACT, {"act": act, "back": "/admin/", **more})

    def test_enable(self):
        extension = make_old_extension(enabled=False)
        make_attempt("1001", "disabled", extension)
        self.assertContains(self.client.get(page_of(extension)), f'value="enable:{extension.pk}"')
        response = self.press(f"enable:{extension.pk}", back=page_of(extension))
        self.assertRedirects(response, page_of(extension), fetch_redirect_response=False)
        extension.refresh_from_db()
        self.assertTrue(extension.enabled)
        self.assertIn("enabled", LogEntry.objects.get(object_id=str(extension.pk)).change_message.lower())

    def test_unblock_asks_the_guard_and_is_noted(self):
        extension = make_old_extension()
        make_attempt("1001", "wrong_password", extension)
        block = make_block("1001")
        self.assertContains(self.client.get(page_of(extension)), f'value="unblock:{block.pk}"')
        response = self.client.post(ACT, {"act": f"unblock:{block.pk}", "back": page_of(extension)}, follow=True)
        self.assertContains(response, "203.0.113.9 is not blocked any more.")
        self.assertFalse(Block.objects.filter(until__gt=timezone.now()).exists())
        self.assertContains(self.client.get(f"{LIST}{extension.pk}/history/"), "Unblocked 203.0.113.9")

    def test_forget_one_device(self):
        extension = make_old_extension()
        binding = make_binding(extension)
        make_binding(extension, key="other")
        self.press(f"forget:{binding.pk}")
        self.assertEqual([row.key for row in extension.bindings.all()], ["other"])
        self.assertContains(self.client.get(f"{LIST}{extension.pk}/history/"), "Forgot devices")

    def test_watching_begins_is_said_and_ends(self):
        extension = make_old_extension("1001A")
        self.assertContains(self.client.get(page_of(extension)), 'value="watch:1001A"')
        self.press("watch:1001A")
        watch = Watch.objects.get()
        self.assertEqual((watch.number, watch.by), ("1001a", "root"))
        self.assertAlmostEqual((watch.until - timezone.now()).total_seconds(), 600, delta=30)
        response = self.client.get(page_of(extension))
        self.assertContains(response, f"Watched until {timezone.localtime(watch.until):%H:%M:%S}")
        self.assertContains(response, "Stop watching")
        self.press("unwatch:1001A")
        self.assertFalse(Watch.objects.exists())

    def test_messages_of_a_watched_phone_appear(self):
        extension = make_old_extension()
        self.press("watch:1001")
        make_watched("1001", register("1001"))
        self.assertContains(self.client.get(piece_of(extension)), "REGISTER sip:pbx.test")

    def test_what_is_gone_or_nonsense_is_answered_calmly(self):
        for act in ("enable:999", "unblock:999", "forget:999", "enable:x", "enable:" + "9" * 40, "nix:1", "", ":",
                    "enable:٣", "unblock:\0"):
            with self.subTest(act):
                self.assertRedirects(self.press(act), "/admin/", fetch_redirect_response=False)

    def test_nobody_is_led_elsewhere(self):
        for back in ("https://evil.test/", "//evil.test", "javascript:alert(1)", "\\\\evil.test"):
            with self.subTest(back):
                self.assertEqual(self.press("nix:1", back=back)["Location"], "/admin/")


class PermissionTests(QuietCase):
    def setUp(self):
        super().setUp()
        self.extension = make_old_extension(enabled=False)
        make_binding(self.extension)
        make_attempt("1001", "disabled", self.extension)
        self.block = make_block("1001")

    def changes(self) -> list[str]:
        return [f"enable:{self.extension.pk}", f"unblock:{self.block.pk}", f"forget:{self.extension.bindings.get().pk}",
                "watch:1001", "unwatch:1001"]

    def assert_nothing_changed(self):
        self.extension.refresh_from_db()
        self.assertFalse(self.extension.enabled)
        self.assertTrue(Block.objects.filter(until__gt=timezone.now()).exists())
        self.assertEqual(self.extension.bindings.count(), 1)
        self.assertFalse(Watch.objects.exists())

    def test_strangers_are_sent_to_the_sign_in(self):
        for address in (piece_of(self.extension), page_of_number("1009"), "/admin/diagnosis/front/",
                        "/admin/diagnosis/bundle/", "/admin/diagnosis/attempt/"):
            with self.subTest(address):
                self.assertIn("/admin/login/", self.client.get(address)["Location"])
        for act in self.changes():
            self.assertIn("/admin/login/", self.client.post(ACT, {"act": act})["Location"])
        self.assert_nothing_changed()

    def test_an_administrator_of_other_things_sees_and_does_nothing(self):
        self.client.force_login(make_administrator("other"))
        for address in (piece_of(self.extension), page_of_number("1009"), "/admin/diagnosis/front/",
                        "/admin/diagnosis/attempt/"):
            with self.subTest(address):
                self.assertEqual(self.client.get(address).status_code, 403)
        for act in self.changes():
            self.assertEqual(self.client.post(ACT, {"act": act}).status_code, 403)
        self.assertEqual(self.client.post("/admin/diagnosis/bundle/").status_code, 403)
        self.assert_nothing_changed()

    def test_who_may_only_view_sees_why_but_has_no_buttons(self):
        self.client.force_login(make_administrator("reader", "view"))
        response = self.client.get(piece_of(self.extension))
        self.assertContains(response, 'data-verdict="disabled"')
        self.assertNotContains(response, "<button")
        for act in self.changes():
            with self.subTest(act):
                self.assertEqual(self.client.post(ACT, {"act": act}).status_code, 403)
        self.assert_nothing_changed()

    def test_to_unblock_needs_its_own_permission(self):
        user = make_administrator("editor", "view", "change")
        self.client.force_login(user)
        self.assertEqual(self.client.post(ACT, {"act": f"unblock:{self.block.pk}"}).status_code, 403)
        user.user_permissions.add(Permission.objects.get(codename="delete_block"))
        self.client.post(ACT, {"act": f"unblock:{self.block.pk}"})
        self.assertFalse(Block.objects.filter(until__gt=timezone.now()).exists())

    def test_changes_need_post_and_its_token(self):
        self.client.force_login(make_administrator("editor", "view", "change"))
        self.assertEqual(self.client.get(ACT, {"act": f"enable:{self.extension.pk}"}).status_code, 405)
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(make_administrator("strict", "view", "change"))
        self.assertEqual(strict.post(ACT, {"act": f"enable:{self.extension.pk}"}).status_code, 403)
        self.assertEqual(self.client.get("/admin/diagnosis/bundle/").status_code, 405)
        self.assert_nothing_changed()
