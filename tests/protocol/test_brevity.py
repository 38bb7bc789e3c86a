"""Answers to strangers over UDP, measured against their requests."""

from __future__ import annotations

import unittest

from sipcore.protocol import events
from sipcore.protocol.digest import challenge, parse_challenge
from sipcore.protocol.endpoint import Endpoint
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Response, make_response, parse_message
from tests.protocol.corpus_files import FLOW, PHONE, SERVER

NONCE = "n" * 40
TAG = "0123456789abcdef"


def request(more: str = "") -> bytes:
    return (
        "MESSAGE sip:pbx.test SIP/2.0\r\nv:SIP/2.0/UDP a;branch=z9hG4bK1\r\n"
        f"f:<sip:1@pbx.test>;tag=1\r\nt:<sip:1@pbx.test>\r\ni:1\r\nCSeq:1 MESSAGE\r\n{more}\r\n"
    ).encode()


def padded(size: int) -> bytes:
    return request(f"X:{'x' * (size - len(request()) - 4)}\r\n")


class BrevityTest(unittest.TestCase):
    def ask(self, data: bytes, status: int = 401, algorithms: tuple[str, ...] = ("MD5",), flow: Flow = FLOW) -> bytes:
        """What is sent, b"" for nothing."""
        endpoint = Endpoint(tag=lambda text: TAG, branch_prefix="t")
        endpoint.receive_datagram(data, flow, 0.0)
        event = endpoint.next_event()
        assert isinstance(event, events.RequestReceived)
        headers = [("WWW-Authenticate", challenge("pbx.test", NONCE, algorithm)) for algorithm in algorithms]
        headers.append(("Allow", "INVITE, ACK, BYE, CANCEL"))
        endpoint.reply_statelessly(event.request, make_response(event.request, status, headers=headers), flow)
        sent = [each for each, _ in endpoint.datagrams_to_send()]
        if not sent:
            self.assertIsInstance(endpoint.next_event(), events.LeftUnanswered)
        return sent[0] if sent else b""

    def test_no_length_of_request_gets_more_than_one_and_a_half_times_as_much(self):
        for size in range(len(request()) + 5, 600):
            answer = self.ask(padded(size))
            self.assertLessEqual(len(answer), 1.5 * size)
            self.assertTrue(answer or size < 210, f"{size} bytes are no answer worth")

    def test_with_two_challenges_it_is_twice_as_much(self):
        for size in range(len(request()) + 5, 600):
            answer = self.ask(padded(size), algorithms=("SHA-256", "MD5"))
            self.assertLessEqual(len(answer), 2 * size)
            self.assertTrue(answer or size < 220, f"{size} bytes are no answer worth")

    def test_an_answer_in_every_form_says_the_same(self):
        forms = set()
        for size in range(150, 600):
            sent = self.ask(padded(size))
            if not sent:
                continue
            answer = parse_message(sent)
            assert isinstance(answer, Response)
            self.assertEqual((answer.status, answer.call_id, answer.cseq), (401, "1", (1, "MESSAGE")))
            self.assertEqual(answer.via.params["received"], PHONE[0])
            self.assertTrue(TAG.startswith(answer.to.tag or "none") and len(answer.to.tag or "") >= 8)
            asked = parse_challenge(answer.get("WWW-Authenticate") or "")
            self.assertEqual(asked.pop("algorithm", "MD5"), "MD5")
            self.assertEqual(asked, {"realm": "pbx.test", "nonce": NONCE, "qop": "auth"})
            forms.add((bool(answer.get("Allow")), len(answer.to.tag or ""), bool(answer.get("Content-Length"))))
        self.assertEqual(len(forms), 3)

    def test_what_the_status_demands_is_not_left_out(self):
        for size in range(len(request()) + 5, 300):
            answer = self.ask(padded(size), 405, ())
            self.assertEqual(bool(answer), b"Allow" in answer)
        self.assertNotIn(b"Allow", self.ask(request(), 501, ()))

    def test_a_tag_of_the_sender_stays_whole(self):
        data = request().replace(b"t:<sip:1@pbx.test>", b"t:<sip:1@pbx.test>;tag=" + b"a" * 20)
        self.assertIn(b"a" * 20, self.ask(data, 481, ()))

    def test_a_stream_has_proven_where_it_comes_from(self):
        flow = Flow("TCP", SERVER, PHONE, "1")
        self.assertIn(b"algorithm=MD5", self.ask(request().replace(b"UDP", b"TCP"), flow=flow))
