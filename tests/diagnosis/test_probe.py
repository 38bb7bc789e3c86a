"""The test from outside: the link, who may see what by it, and what it says at each step."""

from __future__ import annotations

import re
from datetime import timedelta
from unittest import mock

from django.contrib.admin.models import LogEntry
from django.test import Client, TestCase, override_settings
from django.urls import reverse
from django.utils import timezone

from pbx.diagnosis import probe_views
from pbx.diagnosis.models import Attempt, Block, ProbeLink
from pbx.diagnosis.probe_links import KEPT, find_link, make_link
from pbx.diagnosis.verdict import Severity, Stage, Verdict
from pbx.system.models import SipProcess
from pbx.throttle import Throttle, network_of
from tests.admin_ui.cases import AdminCase, QuietCase, make_administrator
from tests.admin_ui.cases import page as extension_page
from tests.extensions.rows import make_binding, make_extension

OUTSIDE, ELSEWHERE = "203.0.113.9", "198.51.100.7"
PUBLIC = {"SIP_DOMAIN": "pbx.example.uz", "ALLOWED_HOSTS": ["*"]}


def never_counted():
    """The throttles of this process begin anew."""
    return mock.patch.multiple(probe_views, WRONG_TOKENS=Throttle(30, 60.0), LOOKS=Throttle(120, 60.0))


@override_settings(**PUBLIC)
class ProbeCase(QuietCase):
    def setUp(self):
        super().setUp()
        counters = never_counted()
        counters.start()
        self.addCleanup(counters.stop)
        # The server itself is well.
        server = mock.patch("pbx.diagnosis.probe.server_verdicts", return_value=[])
        self.server = server.start()
        self.addCleanup(server.stop)
        self.now = timezone.now()
        SipProcess.objects.create(
            node="here", pid=1, started_at=self.now - timedelta(days=2), beat_at=self.now + timedelta(hours=1),
            listening="udp 0.0.0.0:5060", version="1",
        )
        self.extension = make_extension("1001", display_name="Karim of the front desk")
        made = make_link(self.extension, "root")
        self.link, self.path = made.link, f"/p/{made.token}/"
        self.phone = Client()

    def get(self, path: str = "", address: str = OUTSIDE, **headers):
        return self.phone.get(f"{self.path}{path}", REMOTE_ADDR=address, headers=headers or None)

    def state(self, address: str = OUTSIDE, **headers) -> str:
        response = self.get("state/", address, **headers)
        self.assertEqual(response.status_code, 200)
        return response.content.decode()

    def tone(self, html: str) -> str:
        return re.search(r'class="state (\w+)"', html)[1]

    def failed(self, cause: str, source: str = OUTSIDE, **more):
        return Attempt.objects.create(
            extension=self.extension, number=self.extension.number, source=source, port=5070, transport="UDP",
            cause=cause, first_at=timezone.now(), last_at=timezone.now(), user_agent="Zoiper", **more,
        )

    def opened_ago(self, seconds: int) -> None:
        opened = timezone.now() - timedelta(seconds=seconds)
        ProbeLink.objects.update(opened_at=opened, opened_from=OUTSIDE)


class PageTests(ProbeCase):
    def test_it_says_that_the_pages_are_reached_and_what_to_type(self):
        response = self.get()
        self.assertContains(response, f"It sees you as <strong>{OUTSIDE}</strong>", html=False)
        for text in ("1001", "pbx.example.uz", "5060", "UDP", "STUN"):
            self.assertContains(response, text)
        self.assertNotContains(response, "Karim")
        self.assertNotContains(response, "inner network")

    def test_no_secret_and_nothing_inline(self):
        text = self.get().content.decode()
        row = self.extension.credentials.first()
        for secret in (row.ha1, self.extension.password, self.link.token_hash, self.path.split("/")[2]):
            self.assertNotIn(secret, text)
        self.assertFalse(re.findall(r"<script(?![^>]*\bsrc=)", text))
        self.assertFalse(re.findall(r'\s(?:on\w+|style)="', text))
        self.assertNotIn("/admin/", text)

    def test_nothing_keeps_it_and_nothing_is_told_of_it(self):
        for response in (self.get(), self.get("state/"), self.phone.get("/p/wrong/"), self.get("?language=uz")):
            self.assertEqual(response["Cache-Control"], "no-store")
            self.assertEqual(response["Referrer-Policy"], "no-referrer")
            self.assertIn("noindex", response["X-Robots-Tag"])
            self.assertIn("default-src 'self'", response["Content-Security-Policy"])
        self.assertNotIn("Set-Cookie", self.get())

    def test_an_address_from_inside_is_no_test_from_outside(self):
        self.assertContains(self.get(address="192.168.1.20"), "switch Wi-Fi off")

    def test_the_language_is_the_browsers_or_the_chosen_one(self):
        self.assertContains(self.get(**{"accept-language": "ru"}), "Проверка снаружи")
        response = self.get("?language=uz", **{"accept-language": "ru"})
        self.assertEqual((response.status_code, response["Location"]), (302, self.path))
        self.assertContains(self.get(**{"accept-language": "ru"}), "Tashqaridan tekshirish")
        self.assertEqual(self.get("?language=xx").status_code, 200)

    def test_a_qr_code_for_linphone_is_named_only_where_the_administrator_made_one(self):
        self.assertNotContains(self.get(), "Linphone")
        self.extension.provisioning_links.create(
            token_hash="x" * 64, created_at=self.now, expires_at=self.now + timedelta(minutes=9)
        )
        self.assertContains(self.get(), "QR code for Linphone")

    def test_a_page_posts_nothing(self):
        self.assertEqual(self.phone.post(self.path).status_code, 405)


class LinkTests(ProbeCase):
    def test_the_token_is_long_and_stored_only_hashed(self):
        token = self.path.split("/")[2]
        self.assertGreaterEqual(len(token), 32)
        self.assertNotIn(token, str(ProbeLink.objects.values().get()))

    def test_it_ends_after_half_an_hour(self):
        self.assertEqual(self.link.expires_at - self.link.created_at, timedelta(minutes=30))
        ProbeLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        for path in ("", "state/"):
            self.assertContains(self.get(path), "has ended or never existed", status_code=410)

    def test_a_new_link_ends_the_one_before_and_old_rows_go(self):
        other = make_link(make_extension("1002"), "root", timezone.now() - KEPT - timedelta(hours=1))
        make_link(self.extension, "root")
        self.assertEqual(self.get().status_code, 410)
        self.assertIsNone(find_link(other.token))
        self.assertEqual(ProbeLink.objects.count(), 1)

    def test_a_preview_does_not_count_as_opened(self):
        self.get()
        self.phone.head(self.path, REMOTE_ADDR=ELSEWHERE)
        self.assertIsNone(ProbeLink.objects.get().opened_at)

    def test_who_opened_it_is_kept(self):
        self.state("192.168.1.20")
        first = ProbeLink.objects.get()
        self.assertEqual(first.opened_from, "192.168.1.20")
        self.state(OUTSIDE)
        again = ProbeLink.objects.get()
        self.assertEqual((again.opened_at, again.opened_from), (first.opened_at, OUTSIDE))

    def test_without_scripts_it_loads_itself_again(self):
        self.assertContains(self.get(), '<noscript><meta http-equiv="refresh" content="5; url=?again"></noscript>')
        self.get("?again")
        self.assertEqual(ProbeLink.objects.get().opened_from, OUTSIDE)

    def test_guessing_is_slowed_before_the_table_is_read(self):
        for _guess in range(30):
            self.assertEqual(self.phone.get("/p/wrong/", REMOTE_ADDR=ELSEWHERE).status_code, 410)
        with self.assertNumQueries(0):
            response = self.phone.get("/p/wrong/", REMOTE_ADDR=ELSEWHERE)
        self.assertContains(response, "Too many requests", status_code=429)
        self.assertEqual(response["Retry-After"], "60")
        self.assertEqual(self.get().status_code, 200)

    def test_one_link_cannot_be_asked_without_end(self):
        answers = [self.get("state/").status_code for _ask in range(121)]
        self.assertEqual((answers[119], answers[120]), (200, 429))

    def test_hostile_tokens(self):
        for token in ("%00", "x" * 5000, "%F0%9F%98%80", "..", "%3Cscript%3E", "%ED%A0%80"):
            with self.subTest(token[:20]):
                response = self.phone.get(f"/p/{token}/", REMOTE_ADDR=OUTSIDE)
                self.assertIn(response.status_code, (404, 410))
                self.assertNotContains(response, "<script>", status_code=response.status_code)


class StateTests(ProbeCase):
    def test_at_first_it_waits_and_later_says_what_to_look_at(self):
        html = self.state()
        self.assertEqual(self.tone(html), "waiting")
        self.assertIn("Waiting for the phone of 1001", html)
        self.opened_ago(60)
        html = self.state()
        self.assertEqual(self.tone(html), "warning")
        self.assertIn("Nothing has arrived", html)
        self.assertIn("5060", html)

    def test_a_wrong_password_is_said_with_its_remedy(self):
        self.failed("wrong_password")
        html = self.state()
        self.assertEqual(self.tone(html), "error")
        self.assertIn("password", html)
        self.assertEqual(re.findall(r'<li class="(\w+)"', html), ["done", "done", "done", "failed", "ahead", "ahead"])

    def test_it_turns_green_when_the_phone_is_registered(self):
        self.state()
        make_binding(self.extension, remote_host=OUTSIDE)
        html = self.state()
        self.assertEqual(self.tone(html), "good")
        self.assertIn("data-done", html)
        self.assertIn(f"same address as this page: {OUTSIDE}", html)
        self.assertEqual(re.findall(r'<li class="(\w+)"', html), ["done"] * 6)

    def test_a_failure_before_is_forgotten_then(self):
        self.failed("wrong_password")
        make_binding(self.extension, remote_host=OUTSIDE, refreshed_at=timezone.now() + timedelta(seconds=1))
        self.assertEqual(self.tone(self.state()), "good")

    def test_another_network_is_said_without_its_address(self):
        self.state()
        make_binding(self.extension, remote_host=ELSEWHERE)
        html = self.state()
        self.assertEqual(self.tone(html), "good")
        self.assertIn("another network", html)
        self.assertNotIn(ELSEWHERE, html)

    def test_a_phone_that_was_there_before_is_not_taken_for_this_one(self):
        self.opened_ago(5)
        make_binding(self.extension, remote_host=ELSEWHERE, refreshed_at=self.now - timedelta(hours=1))
        self.extension.bindings.update(refreshed_at=timezone.now())
        html = self.state()
        self.assertEqual(self.tone(html), "waiting")
        self.assertIn("Another phone", html)
        self.assertNotIn(ELSEWHERE, html)

    def test_failures_of_strangers_from_before_are_not_shown(self):
        self.opened_ago(5)
        row = self.failed("wrong_password", ELSEWHERE)
        Attempt.objects.filter(pk=row.pk).update(last_at=self.now - timedelta(hours=1))
        html = self.state()
        self.assertEqual(self.tone(html), "waiting")
        self.assertNotIn(ELSEWHERE, html)

    def test_an_address_of_somebody_else_is_never_shown(self):
        self.opened_ago(5)
        for cause in ("wrong_password", "malformed", "wrong_domain", "reply_lost", "challenge_unanswered", "nonce_loop",
                      "alg_tampering", "unknown_extension", "wrong_transport", "expires_too_short"):
            with self.subTest(cause):
                Attempt.objects.all().delete()
                self.failed(cause, ELSEWHERE, sources=[f"{ELSEWHERE}:5070", "2001:db8::77"], asked={
                    "contact": f"<sip:1001@{ELSEWHERE}:5070>", "via": f"SIP/2.0/UDP {ELSEWHERE}:5070",
                })
                html = self.state()
                self.assertNotIn(ELSEWHERE, html)
                self.assertNotIn("2001:db8::77", html)

    def test_a_phone_with_the_old_password_is_told_before_it_fails(self):
        make_binding(self.extension, remote_host=OUTSIDE)
        self.extension.set_password("another-Password-9")
        self.extension.save()
        html = self.state()
        self.assertEqual(self.tone(html), "warning")
        self.assertIn("old password", html)

    def test_a_blocked_address_says_so_to_its_phone_only(self):
        for source, tone in ((ELSEWHERE, "waiting"), (OUTSIDE, "error")):
            Block.objects.create(
                source=source, number="1001", reason=Block.Reason.WRONG_PASSWORD, since=self.now, failures=9,
                until=self.now + timedelta(minutes=30), numbers=["1001"],
            )
            self.assertEqual(self.tone(self.state()), tone, source)

    def test_who_blocked_and_whom_else_is_not_told(self):
        self.failed("blocked")
        for reason in (Block.Reason.ADMINISTRATOR, Block.Reason.GUESSING):
            Block.objects.update_or_create(
                source=OUTSIDE, number="", defaults={
                    "reason": reason, "by": "farrukh.admin", "since": self.now, "failures": 9,
                    "until": self.now + timedelta(minutes=30), "numbers": ["1001", "1777"],
                },
            )
            html = self.state()
            self.assertEqual(self.tone(html), "error")
            self.assertNotIn("farrukh", html)
            self.assertNotIn("1777", html)

    def test_a_blocked_network_of_ipv6_says_so_too(self):
        Block.objects.create(
            source="2001:db8:1:2::/64", number="1001", reason=Block.Reason.WRONG_PASSWORD, since=self.now, failures=9,
            until=self.now + timedelta(minutes=30), numbers=["1001"],
        )
        self.assertEqual(self.tone(self.state("2001:db8:1:2::77")), "error")

    def test_a_disabled_extension_says_so(self):
        self.extension.enabled = False
        self.extension.save()
        html = self.state()
        self.assertIn("disabled", html)
        self.assertIn(self.tone(html), ("error", "warning"))

    @override_settings(SIP_DOMAIN="192.168.1.10")
    def test_a_server_address_that_nobody_outside_finds(self):
        html = self.state()
        self.assertEqual(self.tone(html), "error")
        self.assertIn("192.168.1.10", html)
        self.assertIn("SIP_DOMAIN", html)

    def test_a_fault_of_the_server_is_told_without_its_inside(self):
        self.server.return_value = [Verdict(
            "port_taken", Severity.ERROR, "Port 5060 is taken by evilprogram.", "", "kill 4711",
            stopped_at=Stage.OUR_PORT,
        )]
        state = self.state()
        self.assertIn("takes no registrations at this moment", state)
        self.assertNotIn("evilprogram", state)
        self.assertNotIn("4711", state)

    def test_names_from_the_network_stay_text(self):
        self.failed("wrong_password")
        Attempt.objects.update(user_agent="<img src=x onerror=alert(1)>\x1b[31m")
        self.assertNotIn("<img", self.state())


class AdminTests(AdminCase):
    def setUp(self):
        super().setUp()
        self.extension = make_extension("1001")
        self.address = reverse("admin:diagnosis_probe_new", args=[self.extension.pk])

    def press(self, host: str = "pbx.example.com", **settings):
        given = {"ALLOWED_HOSTS": ["*"], "SIP_DOMAIN": "pbx.example.uz", **settings}
        with override_settings(**given), mock.patch("pbx.link_address.resolves_to_private", return_value=False):
            return self.client.post(self.address, headers={"host": host})

    def test_looking_makes_no_link_and_pressing_makes_one(self):
        self.assertContains(self.client.get(self.address), "no link at the moment")
        self.assertFalse(ProbeLink.objects.exists())
        response = self.press()
        self.assertContains(response, 'class="qr"')
        self.assertTrue(response.context["url"].startswith("http://pbx.example.com/p/"))
        self.assertIn("no-store", response["Cache-Control"])
        self.assertEqual(ProbeLink.objects.get().by, "root")
        token = response.context["url"].split("/")[-2]
        self.assertNotIn(token, "".join(LogEntry.objects.values_list("change_message", flat=True)))
        self.assertNotContains(self.client.get(self.address), token)

    def test_the_link_begins_where_a_phone_can_follow_it(self):
        for host, settings, start in (
            ("127.0.0.1:8000", {"WEB_PUBLIC_URL": "https://pbx.example.com"}, "https://pbx.example.com/p/"),
            ("192.168.1.5:8000", {}, "http://192.168.1.5:8000/p/"),
            ("192.168.1.5:8000", {"WEB_HOST": "0.0.0.0", "EXTERNAL_IP": "203.0.113.5"}, "http://203.0.113.5:8000/p/"),
            ("127.0.0.1:8000", {"WEB_HOST": "0.0.0.0", "EXTERNAL_IP": "2001:db8::5"}, "http://[2001:db8::5]:8000/p/"),
            ("203.0.113.5:8000", {}, "http://203.0.113.5:8000/p/"),
        ):
            with self.subTest((host, settings)):
                self.assertTrue(self.press(host, **settings).context["url"].startswith(start))
        self.assertContains(self.press("192.168.1.5:8000"), "only phones in the network of this server")

    def test_at_the_end_of_a_tunnel_it_says_what_is_missing(self):
        for host in ("127.0.0.1:8000", "localhost:8000", "[::1]:8000"):
            with self.subTest(host):
                response = self.press(host)
                self.assertContains(response, "WEB_PUBLIC_URL=")
                self.assertNotContains(response, 'class="qr"')
        self.assertFalse(ProbeLink.objects.exists())

    def test_it_says_who_opened_it_and_what_the_phone_does(self):
        token = self.press().context["url"].split("/")[-2]
        state = reverse("admin:diagnosis_probe_state", args=[self.extension.pk])
        self.assertContains(self.client.get(state), "Nobody has opened it yet")
        with override_settings(ALLOWED_HOSTS=["*"], SIP_DOMAIN="pbx.example.uz"), never_counted():
            Client().get(f"/p/{token}/state/", REMOTE_ADDR=OUTSIDE)
        self.assertContains(self.client.get(state), f"last from {OUTSIDE}")
        make_binding(self.extension, remote_host=OUTSIDE)
        with mock.patch("pbx.diagnosis.probe.server_verdicts", return_value=[]):
            self.assertContains(self.client.get(state), "pbx-note-good")

    def test_revoking_ends_it_at_once(self):
        token = self.press().context["url"].split("/")[-2]
        response = self.client.post(self.address, {"revoke": "1"}, follow=True)
        self.assertContains(response, "The link has ended")
        with never_counted():
            self.assertEqual(Client().get(f"/p/{token}/", REMOTE_ADDR=OUTSIDE).status_code, 410)

    def test_only_who_may_change_the_extension(self):
        for permissions, status in ((("view",), 403), (("view", "change"), 200)):
            with self.subTest(permissions):
                self.client.force_login(make_administrator("-".join(permissions), *permissions))
                self.assertEqual(self.client.get(self.address).status_code, status)
                self.assertEqual(self.client.get(f"{self.address}state/").status_code, status)
        self.client.logout()
        self.assertEqual(self.client.get(self.address).status_code, 302)

    def test_a_deleted_extension_takes_its_link_along(self):
        self.press()
        self.client.post(f"/admin/extensions/extension/{self.extension.pk}/delete/", {"post": "yes"})
        self.assertFalse(ProbeLink.objects.exists())

    @override_settings(WEB_PUBLIC_URL="https://pbx.example.com")
    def test_the_qr_code_for_linphone_begins_there_too(self):
        response = self.client.post(extension_page("phone_link", self.extension.pk), headers={"host": "127.0.0.1"})
        self.assertTrue(response.context["url"].startswith("https://pbx.example.com/phone/"))


class ThrottleTests(TestCase):
    def test_windows_end_and_memory_is_bounded(self):
        throttle = Throttle(2, 10.0, keys=3)
        for now in (0.0, 1.0):
            self.assertFalse(throttle.is_over("a", now))
            throttle.count("a", now)
        self.assertTrue(throttle.is_over("a", 9.0))
        self.assertFalse(throttle.is_over("a", 10.0))
        for name in "bcde":
            throttle.count(name, 1.0)
        self.assertLessEqual(len(throttle._windows), 3)

    def test_an_ipv6_stranger_has_a_whole_network(self):
        self.assertEqual(network_of("2001:db8::1"), network_of("2001:db8::ffff:1"))
        self.assertNotEqual(network_of("203.0.113.1"), network_of("203.0.113.2"))
        self.assertEqual(network_of("rubbish"), "")
