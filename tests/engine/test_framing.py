"""Messages cut from a stream: the same whatever the pieces are, in linear time, and never past a lie."""

from __future__ import annotations

import time
from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st

from sipcore.protocol.errors import SipError
from sipcore.protocol.framing import MAX_HEAD, PING, StreamFramer, TlsHello
from sipcore.protocol.message import MAX_MESSAGE
from tests.protocol.corpus_files import CORPUS, rfc4475


def message(body: bytes = b"", length: str | None = None, name: str = "Content-Length", more: bytes = b"") -> bytes:
    said = str(len(body)) if length is None else length
    return b"OPTIONS sip:pbx.test SIP/2.0\r\n" + more + f"{name}: {said}\r\n\r\n".encode() + body


def head_of(size: int) -> bytes:
    """A message without a body whose head has this many bytes, the empty line included."""
    start, end = b"OPTIONS sip:pbx.test SIP/2.0\r\nX: ", b"\r\nl: 0\r\n\r\n"
    return start + b"x" * (size - len(start) - len(end)) + end


def cut(data: bytes, pieces: list[int] | None = None) -> tuple[list[bytes], SipError | None, bytes]:
    """What comes out when the stream arrives in pieces that end at these places."""
    framer, messages, before = StreamFramer(), [], 0
    for end in [*sorted(pieces or []), len(data)]:
        messages += framer.feed(data[before:end])
        before = end
    # How many pings came between two messages depends on how they came; that some came does not.
    messages = [m for i, m in enumerate(messages) if m != PING or i == 0 or messages[i - 1] != PING]
    return messages, framer.fault, framer.rest


class Cutting(TestCase):
    def test_several_messages_in_one_segment_come_out_in_order(self):
        sent = [message(b"one"), message(), message(b"three\r\n\r\nwith an empty line")]
        self.assertEqual(cut(b"".join(sent))[0], sent)

    def test_a_message_in_two_segments_comes_out_with_the_second(self):
        framer, whole = StreamFramer(), message(b"body")
        self.assertEqual(framer.feed(whole[:-1]), [])
        self.assertTrue(framer.begun)
        self.assertEqual(framer.feed(whole[-1:]), [whole])
        self.assertFalse(framer.begun)

    def test_the_length_is_found_in_any_form_that_the_parser_reads(self):
        for name in ("l", "L", "CONTENT-LENGTH  ", "content-length\t"):
            with self.subTest(name=name):
                sent = message(b"abc", name=name, more=b"Subject: l:\r\n 9\r\n")
                self.assertEqual(cut(sent + sent)[0], [sent, sent])
        folded = message(b"abc", length="\r\n   3  ")
        self.assertEqual(cut(folded + folded)[0], [folded, folded])

    def test_a_length_inside_a_folded_line_is_none(self):
        sent = message(b"", more=b"Subject: x\r\n Content-Length: 5\r\n")
        self.assertEqual(cut(sent + sent)[0], [sent, sent])

    def test_responses_are_cut_too(self):
        sent = b"SIP/2.0 200 OK\r\nl: 2\r\n\r\nok"
        self.assertEqual(cut(sent * 2)[0], [sent, sent])

    def test_the_largest_message_passes_and_one_byte_more_does_not(self):
        head = len(message(length="65000"))
        whole = message(b"x" * (MAX_MESSAGE - head))
        self.assertEqual(len(whole), MAX_MESSAGE)
        self.assertEqual(cut(whole)[0], [whole])
        messages, fault, _ = cut(message(b"x" * (MAX_MESSAGE - head + 1)))
        self.assertEqual((messages, fault.status), ([], 400))

    def test_the_largest_head_passes_and_one_byte_more_does_not(self):
        self.assertEqual(cut(head_of(MAX_HEAD))[0], [head_of(MAX_HEAD)])
        messages, fault, rest = cut(head_of(MAX_HEAD + 1))
        self.assertEqual((messages, fault.status, len(rest)), ([], 400, MAX_HEAD))

    def test_every_torture_message_with_a_right_length_is_cut_as_it_stands(self):
        # A second message inside, no empty line, no SIP, and three lies about the length.
        special = {"dblreq", "baddn", "test", "mcl01", "ncl", "clerr"}
        for path in sorted((CORPUS / "rfc4475").glob("*.dat")):
            if path.stem in special:
                continue
            with self.subTest(path.stem):
                data = path.read_bytes()
                messages, fault, _ = cut(data + b"\r\n\r\n" + data)
                if fault is not None:  # some have no Content-Length at all
                    self.assertIn(fault.reason, ("Missing Content-Length",))
                else:
                    self.assertEqual(messages, [data.lstrip(b"\r\n"), PING, data.lstrip(b"\r\n")])


class KeepAlive(TestCase):
    def test_two_line_ends_are_a_ping_however_they_come(self):
        self.assertEqual(cut(PING, [1, 2, 3])[0], [PING])

    def test_one_line_end_is_none_and_does_not_hurt(self):
        sent = message()
        self.assertEqual(cut(sent + b"\r\n" + sent)[0], [sent, sent])

    def test_a_ping_between_two_messages(self):
        sent = message(b"x")
        self.assertEqual(cut(sent + PING + sent)[0], [sent, PING, sent])

    def test_what_is_left_of_a_ping_is_no_part_of_the_next(self):
        self.assertEqual(cut(b"\r\n" + message() + b"\r\n")[0], [message()])

    def test_thousands_at_once_are_answered_once(self):
        self.assertEqual(StreamFramer().feed(PING * 5000), [PING])


class Lies(TestCase):
    def refused(self, data: bytes, reason: str) -> None:
        messages, fault, rest = cut(data)
        self.assertEqual(messages, [])
        self.assertEqual((fault.status, fault.reason), (400, reason))
        self.assertTrue(data.startswith(rest) and rest.endswith(b"\r\n\r\n"), "the head is needed for the answer")

    def test_no_length(self):
        self.refused(b"OPTIONS sip:pbx.test SIP/2.0\r\nTo: x\r\n\r\n", "Missing Content-Length")

    def test_two_lengths_even_if_they_agree(self):
        self.refused(message(b"abc", more=b"l: 3\r\n"), "Doubled Content-Length")
        self.refused(rfc4475("mcl01"), "Doubled Content-Length")

    def test_a_length_that_is_no_number(self):
        for length in ("", "-1", "+3", "0x3", "3 3", "3;x", "٣"):
            with self.subTest(length):
                self.refused(message(b"abc", length=length), "Bad Content-Length")
        self.refused(rfc4475("ncl"), "Bad Content-Length")

    def test_a_length_beyond_all_bounds(self):
        for length in ("65535", "4294967296", "9" * 5000):
            with self.subTest(length[:20]):
                self.refused(message(b"abc", length=length), "Message Too Large")

    def test_a_length_larger_than_what_comes_is_told_when_nothing_more_comes(self):
        framer = StreamFramer()
        self.assertEqual(framer.feed(rfc4475("clerr")), [])
        framer.give_up()
        self.assertEqual(framer.fault.status, 400)
        self.assertTrue(rfc4475("clerr").startswith(framer.rest) and framer.rest)

    def test_a_length_smaller_than_the_body_ends_the_stream_behind_the_message(self):
        sent = message(b"v=0\r\no=- 1 1 IN IP4 x\r\n", length="5")
        messages, fault, _ = cut(sent)
        self.assertEqual(messages, [message(b"v=0\r\n")])
        self.assertEqual(fault.status, 0, "what follows is no request, so there is nobody to answer")

    def test_nothing_is_cut_after_a_fault(self):
        framer = StreamFramer()
        framer.feed(b"GET / HTTP/1.1\r\n")
        self.assertEqual(framer.feed(message()), [])
        self.assertFalse(framer.begun)


class Strangers(TestCase):
    def test_tls_is_known_by_its_first_two_bytes(self):
        self.assertIsInstance(cut(bytes.fromhex("160301020001"))[1], TlsHello)
        self.assertIsInstance(cut(bytes.fromhex("1603010200"), [1])[1], TlsHello)

    def test_other_protocols_are_known_by_their_first_line_and_get_no_answer(self):
        for data in (
            b"GET / HTTP/1.1\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"\0\0\0\0",
            b"\x80\x2e\x01\x00", b"{}", b"\x16\x00", b"helo\r\n", b"x" * MAX_HEAD,
        ):
            with self.subTest(data[:20]):
                messages, fault, rest = cut(data)
                self.assertEqual((messages, fault.status, rest), ([], 0, b""))


STREAMS = st.lists(
    st.one_of(
        st.binary(max_size=60).map(message),
        st.sampled_from([
            b"\r\n", PING, b"\r", b"\n", rfc4475("wsinv"), rfc4475("dblreq"), rfc4475("ncl"), rfc4475("mcl01"),
            b"\x16\x03\x01", b"\x16", b"GET / HTTP/1.1\r\n", b"A b SIP/2.0\r\n\r\n", message(length="70000"),
            b"Subject: x\r\n l: 4\r\n", head_of(MAX_HEAD + 1), head_of(MAX_HEAD),
        ]),
        st.binary(max_size=8),
    ),
    max_size=6,
).map(b"".join)


class AnySplit(TestCase):
    @settings(max_examples=400, deadline=None)
    @given(STREAMS, st.data())
    def test_the_pieces_do_not_matter(self, stream, data):
        places = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
        whole, fault, rest = cut(stream)
        messages, fault_in_pieces, rest_in_pieces = cut(stream, places)
        self.assertEqual(messages, whole)
        self.assertEqual(str(fault_in_pieces), str(fault))
        self.assertEqual(rest_in_pieces, rest)

    @settings(max_examples=100, deadline=None)
    @given(STREAMS)
    def test_byte_by_byte(self, stream):
        stream = stream[:3000]
        self.assertEqual(str(cut(stream, list(range(len(stream))))), str(cut(stream)))


class WorstCases(TestCase):
    """Double the bytes, double the time: a quadratic one would take four times as long."""

    def assert_linear(self, make, step: int) -> None:
        def seconds(size: int) -> float:
            data, best = make(size), 1e9
            for _ in range(3):
                framer, start = StreamFramer(), time.process_time()
                for place in range(0, len(data), step):
                    framer.feed(data[place : place + step])
                best = min(best, time.process_time() - start)
            return best

        small, large = seconds(8000), seconds(32000)
        self.assertLess(large, 4 * small * 2.5 + 0.005, f"{small:.4f} s for 8 kB, {large:.4f} s for 32 kB")

    def test_byte_by_byte(self):
        self.assert_linear(lambda size: message(b"x" * size), 1)
        self.assert_linear(lambda size: b"A b SIP/2.0\r\n" + b"a: b\r\n" * (size // 6), 1)
        self.assert_linear(lambda size: b"A" * size, 1)
        self.assert_linear(lambda size: b"\r\n" * (size // 2), 1)
        self.assert_linear(lambda size: message() * (size // 60), 1)

    def test_all_at_once(self):
        self.assert_linear(lambda size: message() * (size // 60), 10**6)
        self.assert_linear(lambda size: b"\r\n" * (size // 2), 10**6)
        self.assert_linear(lambda size: b"A b SIP/2.0\r\n" + b"\r\nl" + b" " * size + b"\r\n\r\n", 10**6)
        self.assert_linear(lambda size: b"A b SIP/2.0" + b"\r\nl  " * (size // 5) + b"\r\n\r\n", 10**6)
        self.assert_linear(lambda size: b"A b SIP/2.0" + b"\r\n\t" * (size // 3) + b"\r\n\r\n", 10**6)

    def test_a_message_of_64_kb_in_single_bytes_takes_no_longer_than_a_phone_waits(self):
        data, framer = message(b"x" * 65_000), StreamFramer()
        start = time.process_time()
        for place in range(len(data)):
            framer.feed(data[place : place + 1])
        self.assertLess(time.process_time() - start, 2.0)
