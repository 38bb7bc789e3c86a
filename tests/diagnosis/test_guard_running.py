"""The guard in a real ``runsip``: an office with an old password in one phone, guessers, forgers, restarts, repairs.

Every source is a loopback address of its own, and loopback is not trusted here."""

from __future__ import annotations

import json
import time

from tests.support.caller import Caller, UdpWire
from tests.support.cases import PASSWORD, OnPostgres, OnSqlite
from tests.support.media_engines import rtp_ports
from tests.support.phone import NoAnswer, Phone, authorization, read_challenge
from tests.support.processes import wait_until

SOON = 1.5
"""Seconds without an answer that count as silence: a phone has sent three times by then."""


class GuardTests:
    settings = {"GUARD_TRUSTED_NETS": "none"}
    sources = iter(range(2, 250))

    @classmethod
    def setUpClass(cls) -> None:
        first, last = rtp_ports()
        cls.settings = {**GuardTests.settings, "RTP_PORTS": f"{first}-{last}"}
        super().setUpClass()

    def new_source(self) -> str:
        return f"127.0.7.{next(GuardTests.sources)}"

    def phone(self, number: str, source: str, password: str = PASSWORD, patience: float = 10.0) -> Phone:
        phone = Phone(self.pbx.server, number, password, self.pbx.domain, local_host=source, patience=patience)
        self.addCleanup(phone.close)
        return phone

    def guess(self, source: str, numbers, password: str = "guess") -> list[int]:
        """What a guesser is told, number by number; 0 for silence."""
        found = []
        for number in numbers:
            try:
                found.append(self.phone(str(number), source, password, patience=SOON).register().status)
            except NoAnswer:
                found.append(0)
        return found

    def is_silent(self, number: str, source: str) -> bool:
        """Whether a phone with the right password gets no answer; it registers nothing."""
        try:
            self.phone(number, source, patience=SOON).query()
        except NoAnswer:
            return True
        return False

    def bans(self) -> list[dict]:
        return json.loads(self.pbx.manage("bans", "--json"))

    def ban(self, source: str) -> dict:
        return next((ban for ban in self.bans() if ban["address"] == source), {})

    def wait_for_ban(self, source: str) -> dict:
        return wait_until(lambda: self.ban(source), f"a block of {source}")

    def attempts(self, source: str) -> dict[str, int]:
        rows = self.pbx.store.rows("SELECT cause, count FROM diagnosis_attempt WHERE source = %s", source)
        return {row["cause"]: row["count"] for row in rows}

    # an office

    def test_an_old_password_is_slowed_and_the_office_goes_on(self):
        office = self.new_source()
        good = [self.phone(self.new_extension(), office) for _ in range(3)]
        for phone in good:
            self.assertEqual(phone.register().status, 200)
        old = self.phone(self.new_extension(), office, "the-old-one")
        statuses = [old.register().status for _ in range(12)]
        self.assertEqual(statuses, [403] * 10 + [503] * 2)
        self.assertIn(old.answers[-1].one("Retry-After"), ("4", "5"))
        for phone in good:
            self.assertEqual(phone.register().status, 200)
        self.assertEqual(self.ban(office), {})
        wait_until(lambda: self.attempts(office).get("rate_limited"), "the tries that were not looked at")
        why = json.loads(self.why(old.number))
        self.assertEqual([verdict["code"] for verdict in why["verdicts"]][:2], ["rate_limited", "wrong_password"])

        self.pbx.set_password(old.number, "the-new-one")  # the administrator's repair works at once
        old.password = "the-new-one"
        wait_until(lambda: old.register().status == 200, "a registration with the new password", 4.0)

    def why(self, number: str) -> str:
        """Its exit code is 1 when nobody is registered, which is what is asked about here."""
        try:
            return self.pbx.manage("why", number, "--json")
        except AssertionError as failed:
            text = str(failed)
            return text[text.index("{") : text.rindex("}") + 1]

    def test_two_phones_of_one_number_behind_one_router(self):
        office, number = self.new_source(), self.new_extension()
        good, old = self.phone(number, office), self.phone(number, office, "the-old-one")
        self.assertEqual(good.register().status, 200)
        self.assertEqual([old.register().status for _ in range(11)], [403] * 10 + [503])
        wait_until(lambda: good.register().status == 200, "the good phone is not slowed", 3.0)
        self.assertEqual(old.register().status, 403)  # that cleared the number: it is its own phone's failure

    def test_hammering_blocks_one_number_and_its_registered_phone_goes_on(self):
        office, number = self.new_source(), self.new_extension()
        good, old = self.phone(number, office), self.phone(number, office, "the-old-one", SOON)
        other = self.phone(self.new_extension(), office)
        self.assertEqual([good.register().status, other.register().status], [200, 200])
        statuses = [old.register().status for _ in range(99)]
        self.assertEqual(set(statuses), {403, 503})
        with self.assertRaises(NoAnswer):
            while True:
                old.register()
        self.assertEqual(self.wait_for_ban(office)["number"], number)
        self.assertEqual([good.register().status, other.register().status], [200, 200])
        self.assertEqual(good.unregister().status, 200)

    # a guesser

    def test_guessing_many_numbers_is_blocked_and_not_answered(self):
        bad = self.new_source()
        self.assertEqual(self.guess(bad, range(7001, 7007)), [403] * 6)
        ban = self.wait_for_ban(bad)
        self.assertEqual((ban["number"], ban["reason"], ban["by"]), ("", "guessing", ""))
        self.assertEqual(ban["numbers"], [str(number) for number in range(7001, 7007)])
        number = self.new_extension()
        self.assertTrue(self.is_silent(number, bad))
        silent = self.phone(number, bad, patience=SOON)
        with self.assertRaises(NoAnswer):
            silent.options()
        silent.socket.sendto(b"REGISTER nonsense\r\n\r\n", self.pbx.server)
        self.assertTrue(self.is_silent(number, bad))
        self.assertRegex(self.pbx.log, rf"\[SIP\] Blocked {bad} until .*: guessed at many numbers \(7001, ")

        wait_until(lambda: self.ban(bad)["tries"] >= 3, "the tries since are counted")
        self.assertEqual(self.ban(bad)["numbers"][-1], number)
        wait_until(lambda: self.attempts(bad).get("blocked"), "the tries since are evidence")
        self.assertEqual(json.loads(self.why(number))["verdicts"][0]["code"], "blocked")

        self.assertEqual(self.phone(number, self.new_source()).register().status, 200)  # elsewhere all is well

    def test_it_survives_a_restart_and_ends_when_lifted(self):
        bad, number = self.new_source(), self.new_extension()
        self.guess(bad, range(7101, 7107))
        self.wait_for_ban(bad)
        self.pbx.restart()
        self.assertTrue(self.is_silent(number, bad))
        self.assertIn("not blocked any more", self.pbx.manage("bans", "--lift", bad))
        self.assertEqual(self.ban(bad), {})
        wait_until(lambda: not self.is_silent(number, bad), "an answer")
        self.assertEqual(self.phone(number, bad).register().status, 200)

    def test_guessing_in_an_office_does_not_lock_out_the_office(self):
        office = self.new_source()
        good = [self.phone(self.new_extension(), office) for _ in range(2)]
        for phone in good:
            self.assertEqual(phone.register().status, 200)
        self.guess(office, range(7201, 7207))
        ban = self.wait_for_ban(office)
        self.assertEqual(ban["not_blocked"], sorted(phone.number for phone in good))
        stranger = self.new_extension()
        self.assertTrue(self.is_silent(stranger, office))
        for phone in good:
            self.assertEqual(phone.register().status, 200)
        self.pbx.restart()
        for phone in good:
            self.assertEqual(phone.register().status, 200)
        self.assertTrue(self.is_silent(stranger, office))

        self.pbx.set_password(stranger, PASSWORD)  # a repair of that number lets it pass, and only that
        wait_until(lambda: not self.is_silent(stranger, office), "the repaired number passes")
        self.assertEqual(self.phone(stranger, office).register().status, 200)

    def caller(self, source: str, number: str, password: str = PASSWORD) -> Caller:
        phone = Caller(UdpWire(source), self.pbx.server, number, password, self.pbx.domain)
        self.addCleanup(phone.close)
        return phone

    def test_calls_go_on_in_an_office_where_somebody_guesses(self):
        office = self.new_source()
        alice, bob = (self.caller(office, self.new_extension()) for _ in range(2))
        alice.register(), bob.register()
        call = alice.invite(bob.number)
        theirs = bob.answer(bob.expect("INVITE"), ack=False)
        ours = call.connected()
        bob.expect("ACK")
        self.guess(office, range(7401, 7407))
        self.wait_for_ban(office)
        alice.bye(ours)  # what began before goes on to its end
        bob.take_bye(theirs)
        call = bob.invite(alice.number)  # and new calls begin
        theirs = alice.answer(alice.expect("INVITE"), ack=False)
        ours = call.connected()
        alice.expect("ACK")
        alice.bye(theirs)
        bob.take_bye(ours)
        stranger = self.caller(office, self.new_extension())
        stranger.send("OPTIONS", f"sip:{self.pbx.domain}", [
            ("From", f"<{stranger.aor}>;tag=1"), ("To", f"<{stranger.aor}>"), ("Call-ID", office),
            ("CSeq", "1 OPTIONS"),
        ])
        stranger.quiet(SOON)

    def test_a_wrong_password_on_calls_is_slowed_too(self):
        office = self.new_source()
        bad = self.caller(office, self.new_extension(), "guess")
        time.sleep(2.5)  # a new password pardons its number; the guard looks once a second for that
        statuses = []
        for _ in range(11):
            call = bad.invite("1001")
            statuses.append(call.final().status)
            bad.ack_failure(call.sent, call.answer)
        self.assertEqual(statuses, [403] * 10 + [503])

    def test_a_forged_source_blocks_nobody(self):
        liar, victim = self.new_source(), self.new_source()
        for number in range(7301, 7320):
            asking = self.phone(str(number), liar, "guess")
            asking.challenge = read_challenge(asking.ask("REGISTER", []).one("WWW-Authenticate"))
            forged = self.phone(str(number), victim, "guess")  # as if from the victim, who would never see the nonce
            forged.challenge, forged.nc = asking.challenge, 7
            forged.socket.sendto(forged.request("REGISTER", [self.credentials(forged)]), self.pbx.server)
        number = self.new_extension()
        self.assertEqual(self.phone(number, victim).register().status, 200)
        self.assertEqual(self.ban(victim), {})
        self.assertEqual(self.ban(liar), {})

    @staticmethod
    def credentials(phone: Phone) -> str:
        return "Authorization: " + authorization(
            phone.challenge, username=phone.number, password=phone.password, method="REGISTER",
            uri=f"sip:{phone.domain}", nc=phone.nc,
        )

    # by hand

    def test_an_administrator_blocks_one_number_from_one_address(self):
        office = self.new_source()
        one, other = self.phone(self.new_extension(), office), self.phone(self.new_extension(), office)
        self.assertEqual([one.register().status, other.register().status], [200, 200])
        self.pbx.manage("bans", "--add", f"{office}/{one.number}", "--hours", "1")
        wait_until(lambda: self.is_silent(one.number, office), "silence")
        self.assertEqual(other.register().status, 200)
        why = json.loads(self.pbx.manage("why", one.number, "--json"))
        self.assertEqual([verdict["code"] for verdict in why["verdicts"]][:2], ["blocked", "registered"])
        self.pbx.manage("bans", "--lift", f"{office}/{one.number}")
        wait_until(lambda: not self.is_silent(one.number, office), "an answer")


class GuardOnSqlite(GuardTests, OnSqlite):
    pass


class GuardOnPostgres(GuardTests, OnPostgres):
    pass
