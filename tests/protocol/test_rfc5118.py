"""The IPv6 messages of RFC 5118, one test each."""

import unittest

from sipcore.protocol import events
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Request
from sipcore.protocol.sdp import Connection, parse_sdp
from sipcore.protocol.uri import parse_uri, same_uri

from .corpus_files import CORPUS, Outcome, rfc5118

PHONE = "2001:db8::9:255"
FLOW = Flow("UDP", ("2001:db8::10", 5060), (PHONE, 6050))


class IPv6Test(unittest.TestCase):
    def accepted(self, name: str) -> Request:
        outcome = Outcome(rfc5118(name), FLOW)
        self.assertEqual([type(event) for event in outcome.events], [events.RequestReceived])
        request = outcome.events[0].request
        self.assertEqual(request.via.params["received"], PHONE)
        return request

    def test_ipv6_good(self):
        request = self.accepted("ipv6-good")
        self.assertEqual((request.request_uri.host, request.request_uri.port), ("2001:db8::10", None))
        self.assertEqual(str(request.request_uri), "sip:[2001:db8::10]")
        self.assertEqual(request.via.sent_by, "[2001:db8::9:1]")

    def test_ipv6_bad_no_brackets(self):
        outcome = Outcome(rfc5118("ipv6-bad"), FLOW)
        self.assertEqual([answer.status for answer in outcome.answers], [400])

    def test_port_ambiguous_is_part_of_the_address(self):
        uri = self.accepted("port-ambiguous").request_uri
        self.assertEqual((uri.host, uri.port), ("2001:db8::10:5070", None))

    def test_port_unambiguous(self):
        uri = self.accepted("port-unambiguous").request_uri
        self.assertEqual((uri.host, uri.port), ("2001:db8::10", 5070))

    def test_via_received_param_with_delim(self):
        """A sender's own `received` is replaced, however it is written."""
        request = self.accepted("via-received-param-with-delim")
        self.assertIn(f"received={PHONE}", request.get("Via"))
        self.assertEqual(request.get("Via").count("received"), 1)

    def test_via_received_param_no_delim(self):
        request = self.accepted("via-received-param-no-delim")
        self.assertEqual(request.get("Via").count("received"), 1)

    def test_ipv6_in_sdp(self):
        sdp = parse_sdp(self.accepted("ipv6-in-sdp").body)
        self.assertEqual(sdp.connection_of(sdp.media[0]), Connection("IP6", "2001:db8::20"))

    def test_mult_ip_in_header(self):
        request = self.accepted("mult-ip-in-header")
        self.assertEqual(len(request.getall("Via")), 3)
        self.assertIn("received=192.0.2.200", request.getall("Via")[2])  # only the top one is ours to write

    def test_mult_ip_in_sdp(self):
        sdp = parse_sdp(self.accepted("mult-ip-in-sdp").body)
        self.assertEqual(
            [sdp.connection_of(media) for media in sdp.media],
            [Connection("IP4", "192.0.2.1"), Connection("IP6", "2001:db8::1")],
        )

    def test_ipv4_mapped_ipv6(self):
        request = self.accepted("ipv4-mapped-ipv6")
        self.assertEqual((request.via.host, request.via.port), ("::ffff:192.0.2.10", 19823))
        self.assertEqual(request.contacts[0].uri.host, "::ffff:192.0.2.2")
        self.assertEqual(parse_sdp(request.body).connection, Connection("IP6", "::ffff:192.0.2.2"))

    def test_ipv6_correct_abnf_2_colons(self):
        self.assertEqual(self.accepted("ipv6-correct-abnf-2-colons").request_uri.host, "2001:db8::192.0.2.1")

    def test_ipv6_bug_abnf_3_colons_is_read_as_two(self):
        uri = self.accepted("ipv6-bug-abnf-3-colons").request_uri
        self.assertTrue(same_uri(uri, parse_uri("sip:user@[2001:db8::192.0.2.1]")))
        self.assertNotIn(":::", str(uri))

    def test_no_message_is_left_out(self):
        tested = " ".join(name for name in dir(self) if name.startswith("test_"))
        for path in (CORPUS / "rfc5118").iterdir():
            self.assertIn(path.name.replace("-", "_"), tested)
