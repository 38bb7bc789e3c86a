"""Phones that come over TCP: the same programs, told so in their account."""

from __future__ import annotations

import contextlib
import signal
import socket
from pathlib import Path

from tests.support import sipp
from tests.support.baresip import Baresip
from tests.support.cases import PASSWORD, OnPostgres, OnSqlite, PbxCase
from tests.support.linphone import Linphone
from tests.support.processes import free_port, wait_until

SCENARIOS = Path(__file__).parent / "scenarios"


class BaresipOverTcp(Baresip):
    def account(self, password: str) -> str:
        return super().account(password).replace("transport=udp", "transport=tcp")


class TcpTests(PbxCase):
    def baresip(self, number: str, password: str = PASSWORD) -> Baresip:
        phone = BaresipOverTcp(self.pbx.server, number, password, domain=self.pbx.domain)
        self.addCleanup(phone.stop)
        return phone

    def linphone(self, number: str) -> Linphone:
        phone = Linphone(self.pbx.server, number, PASSWORD, domain=self.pbx.domain, transport="tcp")
        self.addCleanup(phone.stop)
        return phone

    def test_baresip_registers(self):
        number = self.new_extension()
        phone = self.baresip(number)
        phone.wait_registered()
        self.assertEqual(phone.answers, [401, 200])
        (binding,) = self.pbx.bindings(number)
        self.assertEqual((binding["transport"], binding["local_port"]), ("TCP", self.pbx.port))
        self.assertTrue(binding["connection"])

    def test_baresip_with_a_wrong_password_is_refused(self):
        phone = self.baresip(self.new_extension(), "mistyped")
        self.assertIn("403", phone.wait_refused()["param"])

    def test_closing_baresip_ends_the_registration(self):
        number = self.new_extension()
        phone = self.baresip(number)
        phone.wait_registered()
        self.assertEqual(phone.quit(), 0)
        self.pbx.wait_for_bindings(number, 0)

    def test_a_phone_that_dies_is_not_registered_any_more(self):
        number = self.new_extension()
        phone = self.baresip(number)
        phone.wait_registered()
        phone.program.kill()
        self.pbx.wait_for_bindings(number, 0)
        self.assertEqual(len(self.pbx.all_bindings(number)), 1, "it is kept as last seen")

    def test_linphone_registers_and_signs_off(self):
        number = self.new_extension()
        phone = self.linphone(number)
        phone.wait_registered()
        (binding,) = self.pbx.bindings(number)
        self.assertEqual(binding["transport"], "TCP")
        phone.unregister()
        self.pbx.wait_for_bindings(number, 0)
        phone.wait_not_registered()

    def test_closing_linphone_ends_the_registration(self):
        number = self.new_extension()
        phone = self.linphone(number)
        phone.wait_registered()
        phone.quit()
        self.pbx.wait_for_bindings(number, 0)

    def test_a_phone_of_each_kind_on_one_extension_over_udp_and_tcp(self):
        number = self.new_extension()
        desk = Baresip(self.pbx.server, number, PASSWORD, domain=self.pbx.domain)
        self.addCleanup(desk.stop)
        pocket = self.linphone(number)
        desk.wait_registered()
        pocket.wait_registered()
        both = self.pbx.wait_for_bindings(number, 2)
        self.assertEqual({binding["transport"] for binding in both}, {"UDP", "TCP"})
        pocket.program.kill()
        (left,) = self.pbx.wait_for_bindings(number, 1)
        self.assertEqual(left["transport"], "UDP")

    def test_a_phone_set_to_tls_is_named_in_the_log(self):
        before = len(self.pbx.log_lines("cause=wrong_transport"))
        with socket.create_connection(self.pbx.server, 10) as phone:
            phone.sendall(bytes.fromhex("1603010200010001fc0303") + bytes(500))
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(phone.recv(100), b"")
        wait_until(
            lambda: len(self.pbx.log_lines(r"number= source=127\.0\.0\.1 cause=wrong_transport")) == before + 1,
            "the line that says so",
        )


class TcpOnSqlite(TcpTests, OnSqlite):
    pass


class TcpOnPostgres(TcpTests, OnPostgres):
    pass


class RestartTests(PbxCase):
    # Short registrations: baresip notices only at its next refresh that its connection has ended.
    settings = {"SIP_MIN_EXPIRES": "5"}

    def test_after_a_crash_a_phone_over_tcp_comes_back_and_is_registered_once(self):
        number = self.new_extension()
        phone = BaresipOverTcp(self.pbx.server, number, PASSWORD, domain=self.pbx.domain, expires=12)
        self.addCleanup(phone.stop)
        phone.wait_registered()
        (before,) = self.pbx.bindings(number)
        self.pbx.kill9()
        self.pbx.start()
        # Its connection is gone, so it cannot be called until it registers anew; it does so by itself.
        wait_until(
            lambda: [b["connection"] for b in self.pbx.bindings(number)] not in ([], [before["connection"]]),
            "the phone to register over a new connection", seconds=90,
        )
        self.assertEqual(len(self.pbx.bindings(number)), 1)
        self.pbx.signal(signal.SIGTERM)
        self.assertEqual(self.pbx.program.wait(), 0)


class RestartOnSqlite(RestartTests, OnSqlite):
    pass


class SippTests(PbxCase):
    def setUp(self) -> None:
        self.mine = {self.new_extension() for _ in range(50)}
        self.numbers = sipp.write_numbers((number, PASSWORD) for number in sorted(self.mine))
        self.local_port = free_port()

    def play(self, scenario: str, transport: str, **options) -> None:
        done = sipp.play(
            SCENARIOS / f"{scenario}.xml", self.pbx.server, self.numbers, len(self.mine), domain=self.pbx.domain,
            local_port=self.local_port, transport=transport, rate=500, **options,
        )
        self.assertEqual(done.returncode, 0, f"sipp: {done.stderr[-500:]}{sipp.errors(self.numbers)}")

    def registered(self) -> set[str]:
        return self.pbx.registered_numbers() & self.mine

    def test_all_on_one_connection_as_a_gateway_has(self):
        for cseq in (1, 10):
            self.play("register", "t1", expires=3600, first_cseq=cseq)
        self.play("unregister", "t1", expires=0, first_cseq=20)
        self.assertEqual(self.registered(), set())

    def test_each_on_its_own_and_all_gone_when_the_connections_are(self):
        self.play("register", "tn", expires=3600)
        self.assertEqual({n for n in self.mine if self.pbx.all_bindings(n)}, self.mine)
        wait_until(lambda: not self.registered(), "the registrations to end with their connections")


class SippOnSqlite(SippTests, OnSqlite):
    pass


class SippOnPostgres(SippTests, OnPostgres):
    pass


del TcpTests, RestartTests, SippTests  # the loader would take them for cases of their own
