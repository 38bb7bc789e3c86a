"""What reaches the wrong worker: answers, requests, connections, lamps, and what happens when a worker dies."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
import time

from tests.support.caller import Caller, UdpWire
from tests.support.cases import PASSWORD
from tests.support.pbx import ROOT
from tests.support.processes import run_program, wait_until
from tests.support.tcp_wire import TcpWire
from tests.support.watcher import Watch
from tests.workers.case import WORKERS, WorkersCase

FIRST, SECOND = 0, 1


class HandoverTests(WorkersCase):
    def pair(self, caller: int, callee: int) -> tuple[Caller, Caller]:
        a, b = self.world.phone_at(caller), self.world.phone_at(callee)
        self.addCleanup(a.close)
        self.addCleanup(b.close)
        return a, b

    def test_phones_of_all_workers_call_each_other(self):
        for caller in range(WORKERS):
            for callee in range(WORKERS):
                with self.subTest(caller=caller, callee=callee):
                    a, b = self.pair(caller, callee)
                    ours, theirs = self.connect(a, b)
                    self.hang_up(b, theirs, a, ours)
                    self.ended(a, b, "normal", "ANSWERED")

    def test_a_bye_from_a_port_of_the_other_worker_ends_the_call(self):
        """Its router gave the phone another port in the midst of the call."""
        for caller in range(WORKERS):
            for elsewhere in range(WORKERS):
                with self.subTest(caller=caller, elsewhere=elsewhere):
                    a, b = self.pair(caller, 1 - caller)
                    ours, theirs = self.connect(a, b)
                    helper = self.world.phone_at(elsewhere)  # its socket belongs to that worker
                    self.addCleanup(helper.close)
                    a.wire, helper.wire = helper.wire, a.wire
                    a.bye(ours)
                    b.take_bye(theirs)
                    self.ended(a, b, "normal", "ANSWERED")

    def test_a_cancel_reaches_the_call_that_rings(self):
        for caller in range(WORKERS):
            with self.subTest(caller=caller):
                a, b = self.pair(caller, 1 - caller)
                call = a.invite(b.number)
                ringing = b.expect("INVITE")
                b.ring(ringing)
                call.provisional(180)
                self.assertEqual(200, call.cancel().status)
                call.refused(487)
                b.expect("CANCEL")

    def test_a_phone_that_comes_back_through_another_worker_is_pinged_by_that_one_alone(self):
        number = self.world.new_number()
        a = self.world.phone_at(SECOND, number)
        self.addCleanup(a.close)
        other = self.world.phone_at(FIRST)
        self.addCleanup(other.close)
        a.wire, other.wire = other.wire, a.wire  # its router gave it another port
        self.assertEqual(200, a.register(contact=f"<sip:{number}@{other.sent_by}>").status)
        [row] = self.pbx.bindings(number)
        self.assertEqual((FIRST, a.wire.address[1]), (row["worker"], row["remote_port"]))

    def test_a_nonce_of_another_worker_is_stale_and_no_failure(self):
        number = self.world.new_number()
        a = self.world.phone_at(SECOND, number)
        self.addCleanup(a.close)
        uri = f"sip:{a.domain}"
        headers = [("To", f"<{a.aor}>"), ("From", f"<{a.aor}>;tag=1"), ("Contact", a.contact), ("Expires", "600")]
        sent = a.send("REGISTER", uri, [*headers, ("Call-ID", secrets.token_hex(8)), ("CSeq", "1 REGISTER")])
        challenge = a.final(sent)
        other = self.world.phone_at(FIRST)
        self.addCleanup(other.close)
        a.wire, other.wire = other.wire, a.wire
        answer = a.final(a.with_credentials(sent, challenge, cseq=2))
        self.assertEqual(401, answer.status)
        self.assertIn("stale=true", answer.one("WWW-Authenticate").lower())
        self.assertEqual(200, a.final(a.with_credentials(sent, answer, cseq=3)).status)

    def test_texts_go_to_phones_of_the_other_worker(self):
        a, b = self.pair(SECOND, FIRST)
        for sender, receiver in ((a, b), (b, a)):
            uri = f"sip:{receiver.number}@{receiver.domain}"
            cseq = 1
            headers = [("From", f"<{sender.aor}>;tag=7"), ("To", f"<{uri}>"), ("Call-ID", secrets.token_hex(8))]
            sent = sender.send("MESSAGE", uri, [*headers, ("CSeq", f"{cseq} MESSAGE")], b"salom", kind="text/plain")
            sent = sender.with_credentials(sent, sender.final(sent), cseq=2)
            text = receiver.expect("MESSAGE")
            self.assertEqual(b"salom", text.body)
            receiver.respond(text, 200)
            self.assertEqual(200, sender.final(sent).status)

    def test_a_request_that_begins_with_line_ends_finds_its_way_too(self):
        """Some phones send a keep-alive in front of a message."""
        a, b = self.pair(SECOND, FIRST)
        wire = a.wire

        class Padded:
            address = wire.address

            def send(self, data, to):
                wire.send(b"\r\n\r\n" + data, to)

            def __getattr__(self, name):
                return getattr(wire, name)

        a.wire = Padded()  # type: ignore[assignment]
        ours, theirs = self.connect(a, b)
        self.hang_up(a, ours, b, theirs)

    def test_options_is_answered_by_whoever_is_asked(self):
        for worker in range(WORKERS):
            a = self.world.phone_at(worker)
            self.addCleanup(a.close)
            self.assertEqual(200, a.ask("OPTIONS", f"sip:{a.domain}", []).status)

    # Lamps

    def test_a_lamp_shows_calls_and_registrations_of_phones_of_the_other_worker(self):
        watcher, watched = self.pair(SECOND, SECOND)
        other = self.world.phone_at(FIRST)
        self.addCleanup(other.close)
        lamp = Watch(watcher, watched.number)
        presence = Watch(watcher, watched.number, "presence")
        lamp.news()
        presence.wait_open(True)
        ours, theirs = self.connect(other, watched)
        lamp.wait_lamp("confirmed")
        self.hang_up(other, ours, watched, theirs)
        lamp.wait_lamp("terminated")
        watched.register(expires=0)
        presence.wait_open(False)
        watched.register()
        presence.wait_open(True)

    # TCP

    def test_calls_over_connections_of_any_worker(self):
        for caller in range(WORKERS):
            for callee in range(WORKERS):
                with self.subTest(caller=caller, callee=callee):
                    a, b = (self.tcp_phone(worker) for worker in (caller, callee))
                    ours, theirs = self.connect(a, b)
                    self.hang_up(b, theirs, a, ours)
                    self.ended(a, b, "normal", "ANSWERED")

    def tcp_phone(self, worker: int) -> Caller:
        phone = self.world.phone_at(worker, wire=lambda: TcpWire(self.world.server))
        self.addCleanup(phone.close)
        return phone

    def test_a_connection_that_ends_takes_its_registration_and_what_rings_on_it(self):
        for worker in range(WORKERS):
            with self.subTest(worker=worker):
                a, b = self.world.phone_at(FIRST), self.tcp_phone(worker)
                self.addCleanup(a.close)
                call = a.invite(b.number)
                b.expect("INVITE")
                b.close()
                answer = call.final()  # at once, and not after Timer B
                self.assertGreaterEqual(answer.status, 400)
                a.ack_failure(call.sent, answer)
                self.pbx.wait_for_bindings(b.number, 0)

    # Administrators

    def test_an_administrator_hangs_up_a_call_of_phones_of_the_second_worker(self):
        a, b = self.pair(SECOND, SECOND)
        ours, theirs = self.connect(a, b)
        row = self.live(a, b, "ANSWERED")
        self.world.hang_up(row["uniqueid"])
        a.take_bye(ours)
        b.take_bye(theirs)
        self.ended(a, b, "hung_up_by_administrator", "ANSWERED", "administrator")

    def test_a_block_of_an_administrator_holds_in_all_workers(self):
        phones = [self.world.phone_at(worker) for worker in range(WORKERS)]
        for phone in phones:
            self.addCleanup(phone.close)
        for phone in phones:
            self.pbx.manage("bans", "--add", f"127.0.0.1/{phone.number}")
        for phone in phones:
            def silent(phone: Caller = phone) -> bool:
                sent = phone.send("REGISTER", f"sip:{phone.domain}", [
                    ("To", f"<{phone.aor}>"), ("From", f"<{phone.aor}>;tag={secrets.token_hex(4)}"),
                    ("Call-ID", secrets.token_hex(8)), ("CSeq", "1 REGISTER"), ("Contact", phone.contact),
                ])
                del sent
                return not phone.pump(0.3)

            wait_until(silent, f"{phone.number} is not answered any more")

    # What each one is

    def test_the_heartbeats_of_all_are_there_and_the_doctor_is_content(self):
        self.assertEqual(set(range(WORKERS)), set(self.world.pids()))
        done = run_program([sys.executable, "manage.py", "doctor"], env=self.pbx.env, cwd=ROOT, seconds=60)
        for line in ("SIP port", "SIP server", "Answer over UDP", "Answer over TCP", "Call to the test phone"):
            self.assertRegex(done.stdout, rf"(?m)^OK +{line}")

    def test_a_second_server_is_refused_and_named(self):
        done = run_program(self.pbx.command(), env=self.pbx.env, cwd=None, seconds=60)
        self.assertNotEqual(0, done.returncode)
        self.assertIn("running already", done.stderr)

    def test_nobody_else_gets_a_packet_of_our_port(self):
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as foreign, self.assertRaises(OSError):
                foreign.bind(self.pbx.server)


class ManyWorkersTests(WorkersCase):
    """Each test of these ends a worker."""

    def test_a_worker_that_dies_is_started_again_and_its_phones_go_on(self):
        number = self.world.new_number()
        a, b = self.world.phone_at(SECOND, number), self.world.phone_at(FIRST)
        self.addCleanup(a.close)
        self.addCleanup(b.close)
        ours, theirs = self.connect(b, a)
        pid = self.world.pids()[SECOND]
        os.kill(pid, signal.SIGKILL)
        # What is sent meanwhile waits in its socket: the phone is served by the worker of before, started anew.
        self.assertEqual(200, a.register().status)
        self.assertEqual(SECOND, self.world.worker_of(number, a.wire.address))
        self.assertNotEqual(pid, self.restarted(SECOND, pid))
        self.hang_up(b, ours, a, theirs)  # the call has not noticed
        self.ended(b, a, "normal", "ANSWERED")

    def test_calls_end_with_the_worker_that_has_them_and_new_ones_are_made(self):
        a, b = self.world.phone_at(SECOND), self.world.phone_at(FIRST)
        self.addCleanup(a.close)
        self.addCleanup(b.close)
        self.connect(a, b)
        self.live(a, b, "ANSWERED")
        pid = self.world.pids()[FIRST]
        os.kill(pid, signal.SIGKILL)
        self.restarted(FIRST, pid)
        self.ended(a, b, "pbx_crashed", "ANSWERED")
        wait_until(lambda: self.pbx.log.count("answers") >= 2, "the media relay is there again")
        c, d = self.world.phone_at(SECOND), self.world.phone_at(FIRST)
        self.addCleanup(c.close)
        self.addCleanup(d.close)
        ours, theirs = self.connect(c, d)
        self.hang_up(c, ours, d, theirs)

    def test_when_the_parent_is_killed_nobody_keeps_the_port(self):
        pids = self.world.pids()
        self.pbx.kill9()
        wait_until(lambda: not any(_lives(pid) for pid in pids.values()), "the workers have ended")
        self.pbx.start()
        phone = self.world.phone_at(SECOND)
        self.addCleanup(phone.close)

    def test_sigterm_ends_all_and_says_so_to_calls(self):
        a, b = self.world.phone_at(SECOND), self.world.phone_at(FIRST)
        self.addCleanup(a.close)
        self.addCleanup(b.close)
        ours, theirs = self.connect(a, b)
        pids = self.world.pids()
        self.pbx.signal(signal.SIGTERM)
        a.take_bye(ours)
        b.take_bye(theirs)
        self.assertEqual(0, self.pbx.terminate(6))
        self.assertFalse(any(_lives(pid) for pid in pids.values()))
        self.pbx.start()
        self.ended(a, b, "pbx_stopped", "ANSWERED")

    def test_after_the_calls_stopped_alone_and_came_back_their_end_is_waited_for_again(self):
        pid = self.world.pids()[FIRST]
        os.kill(pid, signal.SIGTERM)
        self.restarted(FIRST, pid)
        wait_until(lambda: self.pbx.log.count("answers") >= 2, "the media relay is there again")
        a = self.world.phone_at(FIRST)
        b = self.world.phone_at(SECOND, wire=lambda: TcpWire(self.world.server))
        self.addCleanup(a.close)
        self.addCleanup(b.close)
        ours, theirs = self.connect(a, b)
        self.pbx.signal(signal.SIGTERM)
        a.take_bye(ours)
        b.take_bye(theirs)  # by the connection that the second worker keeps until then
        self.assertEqual(0, self.pbx.terminate(6))
        self.pbx.start()
        self.ended(a, b, "pbx_stopped", "ANSWERED")

    def test_with_fewer_workers_nobody_is_forgotten(self):
        a = self.world.phone_at(SECOND)
        self.addCleanup(a.close)
        self.pbx.restart(SIP_WORKERS="1", SIP_KEEPALIVE_INTERVAL="5")
        self.addCleanup(lambda: self.pbx.restart(SIP_WORKERS="2", SIP_KEEPALIVE_INTERVAL="20"))
        pinged: list[str] = []
        a.on_ping = lambda ping: not pinged.append(ping.call_id)
        wait_until(lambda: a.pump(0.2) or pinged, "the only worker asks whether it is there", 20)
        self.assertEqual({FIRST}, set(self.world.pids()))


class SharedGuardTests(WorkersCase):
    calls = {**WorkersCase.calls, "GUARD_TRUSTED_NETS": "none", "GUARD_FAILURES": "3"}

    def test_who_guesses_with_another_worker_has_not_more_tries(self):
        number = self.world.new_number()
        time.sleep(2.5)  # a new password pardons its number; the guard looks once a second for that
        sockets = [self.world.phone_at(worker) for worker in range(WORKERS)]
        guessers = []
        for phone in sockets:
            self.addCleanup(phone.close)
            guessers.append(Caller(phone.wire, self.world.server, number, "wrong", phone.domain))
        uri = f"sip:{self.pbx.domain}"
        seen = []
        for guesser in (guessers[0], guessers[1], guessers[0], guessers[1]):
            headers = [("To", f"<{guesser.aor}>"), ("Contact", guesser.contact), ("Expires", "600")]
            seen.append(guesser.ask("REGISTER", uri, headers).status)
        self.assertEqual([403, 403, 403, 503], seen)


class ProxyTests(WorkersCase):
    calls = {**WorkersCase.calls, "SIP_TRUSTED_PROXIES": "127.0.0.1"}

    def test_phones_behind_one_proxy_are_shared_out_and_keep_their_worker(self):
        wire = UdpWire()
        self.addCleanup(wire.close)
        numbers = [self.world.new_number() for _ in range(20)]
        phones = [Caller(wire, self.world.server, number, PASSWORD, self.pbx.domain) for number in numbers]
        for _ in range(2):
            for phone in phones:
                phone.register()
        workers = [self.row(number)["worker"] for number in numbers]
        self.assertEqual({FIRST, SECOND}, set(workers))
        for phone in phones:
            phone.register()
        self.assertEqual(workers, [self.row(number)["worker"] for number in numbers])


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


