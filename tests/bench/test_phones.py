"""The phones in C that measure everything else: do they behave, and do they believe no more than a phone would?"""

from __future__ import annotations

import re
import socket
import threading
import unittest
from collections.abc import Callable

from tests.bench.compiled import compiled
from tests.bench.phones import HOW, SOURCE, Phones
from tests.support.cases import OnSqlite, PbxCase
from tests.support.programs import in_ci

FIRST, COUNT = 30000, 200
CHALLENGE = b'Digest realm="odd.test", nonce="%d", algorithm=MD5, qop="auth"'


def need_compiler() -> None:
    if compiled(SOURCE) is None:
        if in_ci():
            raise AssertionError(HOW)
        raise unittest.SkipTest(HOW)


class PhonesRegisterTests(OnSqlite, PbxCase):
    def setUp(self) -> None:
        need_compiler()

    def test_all_register_refresh_and_leave(self):
        self.pbx.create_extensions({str(number): f"word-{number}" for number in range(FIRST, FIRST + COUNT)})
        everyone = set(range(FIRST, FIRST + COUNT))
        with Phones(
            server=self.pbx.server, domain=self.pbx.domain, first=FIRST, count=COUNT, password="word-{number}"
        ) as load:
            for phase, normal in (("register", {"200": COUNT, "challenge": COUNT}), ("refresh", {"200": COUNT})):
                report = load.run(phase)
                self.assertEqual(report.answers, normal)
                self.assertEqual(set(report.confirmed), everyone)
                self.assertEqual(self.pbx.registered_numbers(), set(map(str, everyone)))
                self.assertGreater(report.percentile(99), 0)
            self.assertEqual(len({row["remote_port"] for row in self.pbx.store.rows(
                "SELECT remote_port FROM extensions_binding")}), 64, "they do not come from many ports")
            self.assertEqual(load.run("unregister").answers, {"200": COUNT})
            self.assertEqual(self.pbx.registered_numbers(), set())
            # Faster than a few phones can: they take turns, and the same phone registers again.
            self.assertEqual(len(load.run("register", rate=1000, requests=COUNT + 50).confirmed), COUNT + 50)

    def test_a_wrong_password_is_a_failure(self):
        number = int(self.new_extension())
        with Phones(server=self.pbx.server, domain=self.pbx.domain, first=number, count=1, password="wrong") as load:
            report = load.run("register")
        self.assertEqual((report.confirmed, report.failures), ([], {"403": 1}))


class OddAnswersTests(unittest.TestCase):
    """Against a server that answers as no server should."""

    def setUp(self) -> None:
        need_compiler()

    def play(self, answer: Callable[[bytes, int], list[bytes]], seconds: float = 20.0):
        """``answer`` gives status line and further headers, or whole datagrams, for a request and its place in the
        order."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            server.settimeout(0.05)
            ended = threading.Event()

            def serve() -> None:
                count = 0
                while not ended.is_set():
                    try:
                        request, phone = server.recvfrom(65535)
                    except TimeoutError:
                        continue
                    for one in answer(request, count):
                        server.sendto(_whole(request, one), phone)
                    count += 1

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                with Phones(
                    server=server.getsockname(), domain="odd.test", first=100, count=1, password="word", sockets=1
                ) as load:
                    return load.run("register", seconds)
            finally:
                ended.set()
                thread.join()

    def test_an_ordinary_server(self):
        report = self.play(lambda request, count: [_ordinary(request)])
        self.assertEqual(report.answers, {"challenge": 1, "200": 1})

    def test_a_request_without_an_answer_is_repeated_and_a_double_answer_counts_once(self):
        report = self.play(lambda request, count: [] if not count else [_ordinary(request)] * 3)
        self.assertEqual(report.answers, {"challenge": 1, "200": 1})
        self.assertEqual(report.retransmissions, 1)
        self.assertGreaterEqual(report.percentile(50), 0.5)

    def test_a_200_without_the_own_contact_is_none(self):
        report = self.play(
            lambda request, count: [b"200 OK\r\nContact: <sip:100@127.0.0.1:1>"] if count else [_ordinary(request)]
        )
        self.assertEqual((report.confirmed, report.failures), ([], {"200 without the Contact": 1}))

    def test_stale_nonces_are_changed_but_not_for_ever(self):
        report = self.play(lambda request, count: [
            b"401 Unauthorized\r\nWWW-Authenticate: %s, stale=true" % (CHALLENGE % count)
            if count < 2 else _ordinary(request)
        ])
        self.assertEqual(report.answers, {"challenge": 2, "200": 1})
        report = self.play(lambda request, count: [
            b"401 Unauthorized\r\nwww-authenticate : %s, stale=TRUE" % (CHALLENGE % count)
        ])
        self.assertEqual(report.failures, {"stale for ever": 1})

    def test_a_second_refusal_ends_it(self):
        report = self.play(lambda request, count: [
            b"401 Unauthorized\r\nWWW-Authenticate: %s" % (CHALLENGE % count)
        ])
        self.assertEqual(report.failures, {"401": 1})

    def test_the_first_challenge_that_can_be_answered_is_taken(self):
        def answer(request: bytes, count: int) -> list[bytes]:
            if b"Authorization: " in request:
                return [_ordinary(request)] if b'nonce="2"' in request else [b"403 Forbidden"]
            ours = CHALLENGE % 2
            return [b"401 Unauthorized\r\nWWW-Authenticate: %s\r\nWWW-Authenticate: Basic realm=\"x\"\r\n"
                    b"WWW-Authenticate: %s" % (ours.replace(b"MD5", b"SHA-256").replace(b'"2"', b'"1"'), ours)]

        self.assertEqual(self.play(answer).answers, {"challenge": 1, "200": 1})

    def test_retry_after_is_obeyed(self):
        report = self.play(lambda request, count: [
            b"503 Service Unavailable\r\nRetry-After: 0;duration=3" if not count else _ordinary(request)
        ])
        self.assertEqual(report.answers, {"503": 1, "challenge": 1, "200": 1})

    def test_answers_of_no_sense_are_survived(self):
        odd = [
            b"", b"SIP/2.0 ", b"\0" * 4000, b"SIP/2.0 200 OK\r\nVia: ;branch=z9hG4bK.999999999999.1\r\n\r\n",
            b"SIP/2.0 200 OK\r\nVia: ;branch=z9hG4bK.-1.1\r\n\r\n", b"SIP/2.0 999 OK\r\nVia: ;branch=z9hG4bK.0.1\r\n",
            b"SIP/2.0 99999999999999 OK\r\nVia: ;branch=z9hG4bK.0.1\r\n", b"x" * 60000,
        ]
        report = self.play(lambda request, count: [*odd, _ordinary(request)])
        self.assertEqual(report.answers, {"challenge": 1, "200": 1})
        for challenge in (b"Digest", b'Digest realm="x', b'Digest realm="x", nonce="' + b"n" * 3000 + b'"', b""):
            with self.subTest(challenge[:30]):
                report = self.play(lambda request, count, challenge=challenge: [
                    b"401 Unauthorized\r\nWWW-Authenticate: " + challenge
                ])
                self.assertEqual(report.failures, {"401 without a usable challenge": 1})

    def test_what_is_unfinished_at_the_end_is_told(self):
        report = self.play(lambda request, count: [], seconds=0.2)
        self.assertEqual(report.failures, {"unfinished": 1})


def _ordinary(request: bytes) -> bytes:
    if b"\r\nAuthorization: Digest " not in request:
        return b"401 Unauthorized\r\nWWW-Authenticate: " + CHALLENGE % 7
    contact = re.search(rb"\r\n(Contact: [^\r]*)", request)
    assert contact is not None
    return b"200 OK\r\n" + contact[1] + b";expires=3600"


def _whole(request: bytes, answer: bytes) -> bytes:
    if not re.match(rb"\d{3} ", answer):
        return answer
    via = re.search(rb"\r\n(Via: [^\r]*)", request)
    assert via is not None
    status, _, more = answer.partition(b"\r\n")
    return b"SIP/2.0 %s\r\n%s\r\n%s%sContent-Length: 0\r\n\r\n" % (status, via[1], more, b"\r\n" * bool(more))
