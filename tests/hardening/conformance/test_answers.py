"""What a user agent server answers: RFC 3261 sections 8.2, 11 and 21."""

from __future__ import annotations

import re

from tests.hardening.conformance.case import ConformanceCase, for_each
from tests.hardening.conformance.peer import has_parameter

OUT_OF_DIALOG = {
    "register": "REGISTER", "invite": "INVITE", "message": "MESSAGE", "subscribe": "SUBSCRIBE", "refer": "REFER",
    "info": "INFO", "notify": "NOTIFY", "publish": "PUBLISH",
}  # fmt: skip

TALKATIVE = [
    ("Accept", "application/sdp, application/dtmf-relay"),
    ("Allow", "INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE"),
    ("Supported", "replaces, norefersub, extended-refer, timer, outbound, path"),
    ("User-Agent", "Zoiper rv2.10.20.5"),
]
"""What phones say of themselves. Who says less is answered with less: nobody gets back much more than he sent."""


class Answers(ConformanceCase):
    @for_each(options="OPTIONS", bye="BYE", cancel="CANCEL", unknown="DANCE", **OUT_OF_DIALOG)
    def test_8_2_6_2_what_an_answer_copies(self, method: str) -> None:
        """From, Call-ID and CSeq are the request's, the Via are all of its own in their order, and To gets a tag."""
        peer = self.stranger()
        data = peer.request(method, f"sip:3001@{peer.domain}", add=[("Via", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKx")])
        got = peer.ask(data)
        for name in ("From", "Call-ID", "CSeq"):
            self.assertIn(f"\r\n{name}: {got.one(name.lower())}\r\n".encode(), data)
        self.assertEqual("SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKx", got.all("via")[-1])
        self.assertEqual(2, len(got.all("via")))
        self.assertRegex(got.one("to"), r"^<[^>]*>;tag=\S+$")

    @for_each(options="OPTIONS", **OUT_OF_DIALOG)
    def test_8_2_6_2_to_tag_is_the_same_for_the_same_request(self, method: str) -> None:
        """Whoever asks again gets the same tag; who asks something else gets another one."""
        peer = self.stranger()
        data = peer.request(method, f"sip:3001@{peer.domain}")
        first, again = peer.ask(data).to_tag, peer.ask(data).to_tag
        self.assertEqual(first, again)
        self.assertNotEqual(first, peer.ask(peer.request(method, f"sip:3001@{peer.domain}")).to_tag)

    def test_8_2_6_2_a_tag_that_is_there_stays(self) -> None:
        """A To that has a tag comes back as it was."""
        peer = self.stranger()
        got = peer.ask(peer.request("BYE", but={"To": f"<sip:3001@{peer.domain}>;tag=theirs"}))
        self.assertEqual((481, "theirs"), (got.status, got.to_tag))

    def test_19_3_a_tag_has_32_bits_and_more(self) -> None:
        """Tags are unique and cannot be guessed."""
        peer = self.stranger()
        tags = [peer.ask(peer.request("OPTIONS")).to_tag for _ in range(8)]
        self.assertEqual(8, len(set(tags)))
        self.assertTrue(all(len(tag) >= 8 for tag in tags))

    @for_each(unknown="DANCE", letters="aBc", long="A" * 60)
    def test_21_5_2_a_method_nobody_knows(self, method: str) -> None:
        """It is answered with 405 or 501, and Allow says which ones there are."""
        peer = self.stranger()
        got = peer.ask(peer.request(method, add=TALKATIVE))
        self.assertIn(got.status, (405, 501))
        self.assertLessEqual({"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER"}, got.words("allow"))

    @for_each(refer="REFER", info="INFO", notify="NOTIFY", publish="PUBLISH")
    def test_8_2_1_a_method_that_is_not_for_here(self, method: str) -> None:
        """A method that is known but not served outside of a dialog is answered with 405 and Allow."""
        peer = self.owner()
        got = peer.prove(method, f"sip:3001@{peer.domain}")
        self.assertEqual(405, got.status)
        self.assertIn("INVITE", got.words("allow"))

    @for_each(
        register=("REGISTER", "nobodyKnowsThisScheme:pbx.test"), invite=("INVITE", "http://pbx.test/"),
        options=("OPTIONS", "soap.beep://192.0.2.103:3002"), message=("MESSAGE", "mailto:a@pbx.test"),
    )
    def test_8_2_2_1_a_scheme_nobody_knows(self, asked: tuple[str, str]) -> None:
        """It is answered with 416."""
        method, uri = asked
        peer = self.stranger()
        to = f"<{peer.aor}>"
        self.assertEqual(416, peer.ask(peer.request(method, uri, but={"To": to})).status)

    @for_each(options="OPTIONS", register="REGISTER", invite="INVITE", message="MESSAGE", subscribe="SUBSCRIBE")
    def test_8_2_2_1_another_domain_is_not_served(self, method: str) -> None:
        """The server answers for its own domain alone, and forwards nothing: 404."""
        peer = self.stranger()
        self.assertEqual(404, peer.ask(peer.request(method, "sip:3001@elsewhere.test")).status)

    @for_each(register="REGISTER", invite="INVITE", message="MESSAGE", subscribe="SUBSCRIBE")
    def test_8_2_2_3_an_extension_that_is_required(self, method: str) -> None:
        """Require with what is not supported: 420, and Unsupported lists exactly these."""
        peer = self.owner()
        uri = "" if method == "REGISTER" else f"sip:3001@{peer.domain}"
        require = [("Require", "nothingSupportsThis, nothing2"), ("Require", "nothing3")]
        got = peer.prove(method, uri, add=[*require, ("Event", "dialog")])
        self.assertEqual(420, got.status)
        names = {name.lower() for name in got.words("unsupported")}
        self.assertEqual({"nothingsupportsthis", "nothing2", "nothing3"}, names)

    def test_8_2_2_3_an_extension_that_an_options_requires(self) -> None:
        """OPTIONS is no exception: 420 and Unsupported."""
        peer = self.stranger()
        got = peer.ask(peer.request("OPTIONS", add=[("Require", "foo")]))
        self.assertEqual((420, {"foo"}), (got.status, got.words("unsupported")))

    def test_8_2_2_3_require_is_ignored_in_cancel(self) -> None:
        """In CANCEL and ACK it means nothing."""
        peer = self.stranger()
        self.assertEqual(481, peer.ask(peer.request("CANCEL", add=[("Require", "foo")])).status)
        self.assertEqual([], peer.answers(peer.request("ACK", add=[("Require", "foo")])))

    def test_8_2_2_3_proxy_require_is_for_proxies(self) -> None:
        """A user agent server ignores it."""
        self.assertEqual(200, self.owner().prove(add=[("Proxy-Require", "foo")]).status)

    def test_8_2_3_a_body_of_a_kind_nobody_knows(self) -> None:
        """It is answered with 415, and Accept says which kinds there are."""
        peer = self.owner()
        got = peer.prove("INVITE", f"sip:3001@{peer.domain}", add=[("Content-Type", "text/x-what")], body=b"what")
        self.assertEqual((415, {"application/sdp"}), (got.status, got.words("accept")))

    def test_8_2_3_a_body_in_an_encoding_nobody_knows(self) -> None:
        """It is answered with 415, and Accept-Encoding says which encodings there are."""
        peer = self.owner()
        add = [("Content-Type", "application/sdp"), ("Content-Encoding", "gzip")]
        got = peer.prove("INVITE", f"sip:3001@{peer.domain}", add=add, body=b"\x1f\x8b\x08")
        self.assertEqual(415, got.status)
        self.assertTrue(got.all("accept-encoding"), got)

    @for_each(bye="BYE", cancel="CANCEL", prack="PRACK", update="UPDATE")
    def test_15_1_2_of_a_dialog_that_is_not_there(self, method: str) -> None:
        """What belongs to no dialog and no transaction is answered with 481, and is never challenged."""
        peer = self.stranger()
        self.assertEqual(481, peer.ask(peer.request(method, f"sip:3001@{peer.domain}")).status)

    @for_each(
        bye="BYE", invite="INVITE", info="INFO", refer="REFER", update="UPDATE", options="OPTIONS",
        message="MESSAGE", subscribe="SUBSCRIBE", notify="NOTIFY",
    )
    def test_12_2_2_a_tag_of_a_dialog_that_is_not_there(self, method: str) -> None:
        """A request with a To-tag that belongs to no dialog is answered with 481."""
        peer = self.stranger()
        got = peer.ask(peer.request(method, f"sip:3001@{peer.domain}", {"To": f"<sip:3001@{peer.domain}>;tag=x"}))
        self.assertEqual(481, got.status)

    @for_each(without_a_tag="", with_a_tag=";tag=x")
    def test_17_1_1_3_an_ack_is_never_answered(self, tag: str) -> None:
        """Not even one that belongs to nothing, or is malformed."""
        peer = self.stranger()
        to = f"<sip:3001@{peer.domain}>{tag}"
        bad = peer.request("ACK", "http://x", {"To": to})
        self.assertEqual([], peer.answers(peer.request("ACK", but={"To": to}), bad))

    def test_11_2_an_options_is_answered(self) -> None:
        """200, with Allow and Accept; Supported only where something is."""
        peer = self.stranger()
        got = peer.ask(peer.request("OPTIONS", add=TALKATIVE))
        self.assertEqual(200, got.status)
        self.assertLessEqual({"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"}, got.words("allow"))
        self.assertIn("application/sdp", got.words("accept"))

    def test_11_2_an_options_tells_nothing_about_numbers(self) -> None:
        """The answer is the same for a number that exists and one that does not."""
        peer = self.stranger()
        there, gone = (peer.ask(peer.request("OPTIONS", f"sip:{n}@{peer.domain}")) for n in ("3001", "9999"))
        self.assertEqual((there.start, there.all("allow")), (gone.start, gone.all("allow")))

    def test_20_35_no_version_is_told(self) -> None:
        """Server and User-Agent would tell an attacker which holes to try."""
        peer = self.stranger()
        for data in (peer.request("OPTIONS"), peer.request("REGISTER"), peer.request("DANCE")):
            got = peer.ask(data)
            self.assertNotRegex("".join(got.all("server") + got.all("user-agent")), r"\d")

    @for_each(options="OPTIONS", register="REGISTER", bye="BYE")
    def test_18_4_content_length_is_right(self, method: str) -> None:
        """Every answer says how long its body is."""
        peer = self.stranger()
        got = peer.ask(peer.request(method))
        self.assertEqual(len(got.body), int(got.one("content-length")))

    def test_8_1_3_3_answers_to_nothing_are_dropped(self) -> None:
        """A response that belongs to no request of ours is neither answered nor sent on by its second Via."""
        peer, other = self.stranger(), self.stranger()
        via = f"SIP/2.0/UDP {other.host}:{other.port};branch=z9hG4bKother"
        for status in ("180 Ringing", "200 OK", "503 No"):
            data = peer.request("INVITE", add=[("Via", via)])
            self.assertEqual([], peer.answers(re.sub(rb"^INVITE \S+ SIP/2.0", f"SIP/2.0 {status}".encode(), data)))
        self.assertEqual([], other.answers())

    def test_8_2_2_2_one_request_by_two_ways(self) -> None:
        """The same From-tag, Call-ID and CSeq under another branch is a merged request: 482."""
        caller, called = self.phones()
        call = caller.invite(called.number)
        called.expect("INVITE")
        again = caller.send("INVITE", call.sent.uri, call.sent.headers, call.sent.body)
        # the credentials were used: a challenge is as good as a 482, a second call is not
        self.assertIn(caller.final(again).status, (401, 482))
        called.quiet(0.2)
        call.cancel()

    def test_6_a_via_of_ours_is_a_loop(self) -> None:
        """A request that bears a branch of our own has come back: 482."""
        caller, called = self.phones()
        call = caller.invite(called.number)
        via = called.expect("INVITE").all("Via")[0]
        stranger = self.stranger()
        got = stranger.ask(stranger.request("INVITE", f"sip:{called.number}@{stranger.domain}", add=[("Via", via)]))
        self.assertEqual(482, got.status)
        call.cancel()

    def test_rfc3581_4_received_and_rport_are_filled_in(self) -> None:
        """With rport, the answer's top Via has the source's address and port."""
        peer = self.stranger()
        via = peer.ask(peer.request("OPTIONS")).all("via")[0]
        self.assertIn(f";rport={peer.port}", via)
        self.assertIn(f";received={peer.host}", via)

    def test_rfc3581_4_the_answer_goes_to_the_source_port(self) -> None:
        """With rport the sent-by does not matter."""
        peer = self.stranger()
        via = "SIP/2.0/UDP 192.0.2.9:9;rport;branch=z9hG4bKsource"
        self.assertEqual(200, peer.ask(peer.request("OPTIONS", but={"Via": via})).status)

    def test_rfc3581_4_rport_of_the_senders_own_is_overwritten(self) -> None:
        """What the sender wrote into rport and received is not believed."""
        peer = self.stranger()
        via = f"SIP/2.0/UDP 192.0.2.9;received=192.0.2.8;rport=9;branch=z9hG4bKforged{peer.port}"
        top = peer.ask(peer.request("OPTIONS", but={"Via": via})).all("via")[0]
        self.assertNotIn("192.0.2.8", top)
        self.assertIn(f"received={peer.host}", top)

    def test_18_2_1_received_where_the_sent_by_is_another(self) -> None:
        """A sent-by that is not the source's address gets received, also without rport."""
        peer = self.stranger()
        via = f"SIP/2.0/UDP phone.invalid:{peer.port};branch=z9hG4bKname{peer.port}"
        top = peer.ask(peer.request("OPTIONS", but={"Via": via})).all("via")[0]
        self.assertIn(f";received={peer.host}", top)
        self.assertFalse(has_parameter(top, "rport"))

    def test_18_2_2_maddr_is_not_followed(self) -> None:
        """An answer goes to where the request came from, never to a third party."""
        peer, victim = self.stranger(), self.stranger()
        via = f"SIP/2.0/UDP {peer.host}:{victim.port};maddr=127.0.0.9;rport;branch=z9hG4bKmaddr{peer.port}"
        self.assertEqual(200, peer.ask(peer.request("OPTIONS", but={"Via": via})).status)
        self.assertEqual([], victim.answers())

    def test_18_2_2_without_rport_the_port_is_that_of_the_sent_by(self) -> None:
        """Who does not ask for rport gets the answer on the port that its Via names."""
        sender, listener = self.stranger(), self.stranger()
        via = f"SIP/2.0/UDP {listener.host}:{listener.port};branch=z9hG4bKport{sender.port}"
        sender.send(sender.request("OPTIONS", but={"Via": via}))
        self.assertEqual(200, listener.final(seconds=2).status)
