"""The torture messages of RFC 4475, one test each: what must happen when this packet arrives on UDP."""

import unittest

from sipcore.protocol import events
from sipcore.protocol.digest import parse_authorization
from sipcore.protocol.errors import UnknownScheme
from sipcore.protocol.message import Request, Response, make_response, parse_message
from sipcore.protocol.sdp import parse_sdp
from sipcore.protocol.uri import same_uri

from .corpus_files import CORPUS, PHONE, Outcome, rfc4475


class TortureTest(unittest.TestCase):
    def accepted(self, name: str) -> Request:
        """The core gets it, as a valid request with the source written into its Via."""
        outcome = Outcome(rfc4475(name))
        self.assertEqual([type(event) for event in outcome.events], [events.RequestReceived])
        self.assertEqual(outcome.answers, [])
        request = outcome.events[0].request
        self.assertEqual(request.via.params["received"], PHONE[0])
        # what we answer is again a valid message, for the same transaction
        answer = parse_message(make_response(request, 200, to_tag="x").to_bytes())
        self.assertEqual((answer.via, answer.cseq, answer.call_id), (request.via, request.cseq, request.call_id))
        return request

    def refused(self, name: str, status: int) -> Request:
        """The core does not get it; the sender gets one answer, which says why in a phrase of ours."""
        outcome = Outcome(rfc4475(name))
        self.assertEqual([type(event) for event in outcome.events], [events.Malformed])
        self.assertEqual([answer.status for answer in outcome.answers], [status])
        self.assertEqual(outcome.answers[0].reason, outcome.events[0].error.reason)
        self.assertLessEqual(len(outcome.answers[0].to_bytes()), 1.5 * len(rfc4475(name)))
        return outcome.events[0].request

    def dropped(self, name: str) -> events.Event:
        """Nobody gets an answer."""
        outcome = Outcome(rfc4475(name))
        self.assertEqual(outcome.answers, [])
        self.assertEqual(len(outcome.events), 1)
        self.assertIsInstance(outcome.events[0], (events.Malformed, events.StrayResponse))
        return outcome.events[0]

    # 3.1.1 valid messages

    def test_wsinv_white_space_folding_and_short_forms(self):
        request = self.accepted("wsinv")
        self.assertEqual((request.method, request.cseq.number, request.max_forwards), ("INVITE", 9, 68))
        self.assertEqual((request.to.tag, request.from_.tag), ("1918181833n", "98asjd8"))
        self.assertEqual(request.from_.display_name, 'J Rosenberg \\"')
        self.assertEqual(request.via.sent_by, "192.0.2.2")
        self.assertEqual(len(request.getall("Via")), 2)
        self.assertEqual(request.get("NewFangledHeader"), "newfangled value continued newfangled value")
        self.assertEqual(request.get("subject"), "")
        [contact] = request.contacts
        self.assertEqual((contact.display_name, contact.q), ('Quoted string ""', 0.33))
        self.assertEqual(contact.params["newparam"], "newvalue")
        self.assertIn("secondparam", contact.params)
        self.assertEqual(len(request.body), 150)

    def test_intmeth_every_character_that_is_allowed(self):
        request = self.accepted("intmeth")
        self.assertEqual(request.method, "!interesting-Method0123456789_*+`.%indeed'~")
        self.assertEqual(request.request_uri.user, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")
        self.assertEqual(request.request_uri.password, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)")
        self.assertEqual(request.to.display_name, "BEL:\x07 NUL:\x00 DEL:\x7f")
        self.assertEqual(request.from_.tag, "_token~1'+`*%!-.")
        self.assertEqual(request.call_id, "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{")
        # no control character of a stranger ever leaves
        self.assertNotRegex(make_response(request, 200).to_bytes(), rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]")

    def test_esc01_escapes(self):
        request = self.accepted("esc01")
        self.assertEqual(request.request_uri.user, "sips%3Auser%40example.com")
        self.assertEqual(request.request_uri.host, "example.net")
        self.assertEqual(request.to.uri.canonical_user, "user")
        # each escape is undone once: %25%34%31 is "%41", and not "A"
        self.assertEqual(request.contacts[0].uri.canonical, "sip:caller@host5.example.net;lr;name=value%2541")

    def test_escnull_escaped_nul(self):
        request = self.accepted("escnull")
        self.assertEqual(request.to.uri.canonical_user, "null-%00-null")
        first, second = request.contacts
        self.assertFalse(same_uri(first.uri, second.uri))

    def test_esc02_percent_that_is_no_escape(self):
        request = self.accepted("esc02")
        self.assertEqual(request.method, "RE%47IST%45R")  # not REGISTER
        self.assertEqual(request.to.display_name, "%Z%45")
        self.assertEqual(len(request.contacts), 2)  # C%6Fntact is not Contact

    def test_lwsdisp_no_space_before_the_bracket(self):
        request = self.accepted("lwsdisp")
        self.assertEqual((request.from_.display_name, request.from_.tag), ("caller", "323"))

    def test_longreq_long_values(self):
        request = self.accepted("longreq")
        self.assertGreater(len(request.from_.tag), 100)
        self.assertGreater(len(request.call_id), 100)
        self.assertEqual(len(request.body), int(request.get("Content-Length")))

    def test_dblreq_second_request_in_the_packet_is_ignored(self):
        request = self.accepted("dblreq")
        self.assertEqual((request.method, request.body), ("REGISTER", b""))

    def test_semiuri_semicolons_in_the_user(self):
        uri = self.accepted("semiuri").request_uri
        self.assertEqual((uri.user, dict(uri.params)), ("user;par=u%40example.net", {}))

    def test_transports_unknown_transports_in_via(self):
        request = self.accepted("transports")
        self.assertEqual([line.split()[0] for line in request.getall("Via")][3], "SIP/2.0/UNKNOWN")

    def test_mpart01_multipart_is_left_alone(self):
        request = self.accepted("mpart01")
        self.assertEqual(len(request.body), 553)
        self.assertTrue(request.body.endswith(b"--7a9cbec02ceef655--\r\n"))

    def test_unreason_utf8_reason(self):
        event = self.dropped("unreason")  # nobody asked for it, but it can be read
        self.assertEqual(event.response.status, 200)
        self.assertTrue(event.response.reason.startswith("= 2**3 * 5**2 но сто девяносто девять"))

    def test_noreason_empty_reason(self):
        message = parse_message(rfc4475("noreason"))
        self.assertIsInstance(message, Response)
        self.assertEqual((message.status, message.reason), (100, ""))

    # 3.1.2 invalid messages

    def test_badinv01_separators_in_via_and_contact(self):
        self.refused("badinv01", 400)

    def test_clerr_content_length_larger_than_the_packet(self):
        self.refused("clerr", 400)

    def test_ncl_negative_content_length(self):
        self.refused("ncl", 400)

    def test_scalar02_numbers_too_large(self):
        self.refused("scalar02", 400)

    def test_scalarlg_numbers_too_large_in_a_response(self):
        self.dropped("scalarlg")

    def test_quotbal_quote_without_end(self):
        self.refused("quotbal", 400)

    def test_ltgtruri_brackets_around_the_request_uri(self):
        self.refused("ltgtruri", 400)

    def test_lwsruri_space_in_the_request_uri(self):
        self.refused("lwsruri", 400)

    def test_lwsstart_two_spaces_in_the_start_line(self):
        self.refused("lwsstart", 400)

    def test_trws_spaces_after_the_start_line(self):
        self.refused("trws", 400)

    def test_escruri_headers_in_the_request_uri(self):
        self.refused("escruri", 400)

    def test_baddate_zone_is_not_gmt(self):
        self.accepted("baddate")  # nobody reads the Date: RFC 4475 3.1.2.12 allows it

    def test_regbadct_headers_in_a_contact_without_brackets(self):
        self.refused("regbadct", 400)

    def test_badaspec_spaces_within_brackets(self):
        self.refused("badaspec", 400)

    def test_baddn_comma_in_an_unquoted_name(self):
        self.refused("baddn", 400)

    def test_badvers_version_7(self):
        self.refused("badvers", 505)

    def test_mismatch01_cseq_of_another_method(self):
        self.refused("mismatch01", 400)

    def test_mismatch02_cseq_of_another_method_and_method_unknown(self):
        self.refused("mismatch02", 400)

    def test_bigcode_status_too_large(self):
        self.dropped("bigcode")

    # 3.2 transaction layer

    def test_badbranch_nothing_after_the_magic_cookie(self):
        first = self.accepted("badbranch")
        # it counts as an RFC 2543 branch: another call with the same "branch" is another transaction
        other = Outcome(rfc4475("badbranch").replace(b"sadonfo", b"xadonfo")).events[0].request
        self.assertNotEqual(first.transaction_key, other.transaction_key)

    # 3.3 application layer

    def test_insuf_mandatory_headers_missing(self):
        event = self.dropped("insuf")  # no Call-ID, From, To: no answer can be formed
        self.assertEqual(event.error.status, 400)

    def test_unkscm_unknown_scheme(self):
        self.refused("unkscm", 416)

    def test_novelsc_known_scheme_that_is_not_sip(self):
        self.refused("novelsc", 416)

    def test_unksm2_unknown_schemes_in_headers_are_no_fault_of_syntax(self):
        request = self.accepted("unksm2")
        self.assertEqual([request.to.uri.scheme, request.from_.uri.scheme], ["isbn", "http"])
        self.assertEqual(str(request.contacts[0].uri), "name:John_Smith")

    def test_bext01_unknown_extensions_are_for_the_core(self):
        request = self.accepted("bext01")
        self.assertEqual(request.require, {"nothingsupportsthis", "nothingsupportsthiseither"})

    def test_invut_unknown_body_is_for_the_core(self):
        self.assertEqual(self.accepted("invut").get("c"), "application/unknownformat")

    def test_regaut01_unknown_authorization_scheme(self):
        request = self.accepted("regaut01")
        with self.assertRaises(UnknownScheme):
            parse_authorization(request.get("Authorization"))

    def test_multi01_single_headers_doubled(self):
        self.refused("multi01", 400)

    def test_mcl01_two_content_lengths(self):
        self.refused("mcl01", 400)

    def test_bcast_response_for_somebody_else(self):
        self.assertIsInstance(self.dropped("bcast"), events.StrayResponse)

    def test_zeromf_no_hops_left(self):
        self.refused("zeromf", 483)

    def test_cparam01_parameter_of_the_header(self):
        [contact] = self.accepted("cparam01").contacts
        self.assertEqual((dict(contact.uri.params), contact.params), ({}, {"unknownparam": None}))

    def test_cparam02_parameter_of_the_uri(self):
        [contact] = self.accepted("cparam02").contacts
        self.assertEqual((dict(contact.uri.params), contact.params), ({"unknownparam": None}, {}))

    def test_regescrt_escaped_route_in_a_contact(self):
        [contact] = self.accepted("regescrt").contacts
        self.assertEqual(dict(contact.uri.headers), {"Route": "%3Csip:sip.example.com%3E"})

    def test_sdp01_unacceptable_accept_is_for_the_core(self):
        request = self.accepted("sdp01")
        self.assertEqual(request.get("Accept"), "text/nobodyKnowsThis")
        self.assertEqual([media.kind for media in parse_sdp(request.body).media], ["audio", "video"])

    def test_inv2543_no_branch_no_tag_no_max_forwards(self):
        request = self.accepted("inv2543")
        self.assertEqual((request.via.branch, request.from_.tag, request.max_forwards), (None, None, None))
        self.assertTrue(request.body.startswith(b"v=0"))

    def test_test_dat_start_line_without_version(self):
        self.dropped("test")

    def test_no_message_is_left_out(self):
        tested = {name.split("_")[1] for name in dir(self) if name.startswith("test_")}
        self.assertEqual({path.stem for path in (CORPUS / "rfc4475").glob("*.dat")} - tested, set())
