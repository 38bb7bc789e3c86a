"""Who may do what: identity, strangers, phones that move, texts, limits."""

from __future__ import annotations

import re
import zlib

from tests.calls_flow.case import FlowCase

FORGED = [
    ("P-Asserted-Identity", '"The Boss" <sip:9999@pbx.test>'),
    ("P-Preferred-Identity", "<sip:9999@pbx.test>"),
    ("Remote-Party-ID", "<sip:9999@pbx.test>;party=calling"),
    ("Diversion", "<sip:9999@pbx.test>;reason=busy"),
    ("Identity", '"abc";info=<https://192.0.2.66/cert>'),
    ("Privacy", "id"),
    ("History-Info", "<sip:9999@pbx.test>;index=1"),
    ("X-Secret", "9999"),
    ("Call-Info", "<http://192.0.2.66/9999>"),
]


class GuardFlows(FlowCase):
    def test_the_callers_identity_is_built_from_the_account(self) -> None:
        a, b = self.phones()
        self.world.set_name(a.number, 'Front "desk"')
        call = a.invite(b.number, headers=FORGED, from_=f'"The Boss" <{a.aor}>')
        invite = b.expect("INVITE")
        us = rf'"Front \\"desk\\"" <sip:{a.number}@{a.domain}>'
        self.assertRegex(invite.one("From"), rf"^{us};tag=\S+$")
        self.assertRegex(invite.one("P-Asserted-Identity"), rf"^{us}$")
        self.assertNotIn("9999", str(invite))
        self.assertNotIn("Boss", str(invite))
        self.assertEqual(f"<sip:{b.number}@{a.domain}>", invite.one("To"))
        self.assertNotIn("Authorization", str(invite))
        b.respond(invite, 486)
        b.expect("ACK")
        call.refused(486)

    def test_what_of_a_caller_reaches_the_called_phone(self) -> None:
        """How to ring by its name (RFC 7462), never an address that the phone would fetch; no character that a screen
        would obey."""
        a, b = self.phones()
        headers = [
            ("Alert-Info", "<http://192.0.2.66/ring.wav>;info=alert-autoanswer"),
            ("Alert-Info", "<file:///etc/passwd>"),
            ("Alert-Info", "<urn:alert:source:internal>, <http://192.0.2.66/>"),
            ("Alert-Info", "<urn:alert:source:internal>"),
            ("Subject", "lunch\u202e\x9b31m\x1b[2J"),
            ("Priority", "urgent"),
        ]
        call = a.invite(b.number, headers=headers)
        invite = b.expect("INVITE")
        self.assertEqual(["<urn:alert:source:internal>"], invite.all("Alert-Info"))
        self.assertEqual(["lunch\ufffd\ufffd31m\ufffd[2J"], invite.all("Subject"))
        self.assertEqual(["urgent"], invite.all("Priority"))
        b.respond(invite, 486)
        b.expect("ACK")
        call.refused(486)

    def test_another_ones_from_is_refused(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number, from_=f"<{b.aor}>")
        call.refused(403)
        b.quiet(0.2)

    def test_a_wrong_password_and_an_unknown_number_look_the_same(self) -> None:
        b = self.phone()
        answers = []
        for number in (self.world.new_number(), "55555"):
            stranger = self.phone(number, register=False, password="guess")
            answer = stranger.invite(b.number).refused(403)
            text = re.sub(r"(UDP |tag=|branch=|rport=|sip:|Call-ID:)[^;>\r]+", r"\1", str(answer))
            answers.append(re.sub(r"CSeq: \d+", "", text))
        self.assertEqual(*answers)
        b.quiet(0.2)

    def test_without_a_password_nothing_rings(self) -> None:
        b = self.phone()
        stranger = self.phone("1", register=False, password=None)
        for method in ("INVITE", "MESSAGE", "SUBSCRIBE", "REFER", "INFO", "NOTIFY", "PUBLISH"):
            with self.subTest(method=method):
                lines = [("Contact", stranger.contact)]
                answer = stranger.ask(method, f"sip:{b.number}@{b.domain}", lines, authenticate=False)
                self.assertEqual(401, answer.status)
                self.assertLess(len(answer.raw), 700)
        for method in ("BYE", "UPDATE", "PRACK"):
            answer = stranger.ask(method, f"sip:{b.number}@{b.domain}", [("Contact", stranger.contact)])
            self.assertEqual(481, answer.status)
        b.quiet(0.2)

    def test_a_stranger_cannot_end_or_change_a_call(self) -> None:
        """With the right Call-ID and both tags, from another address."""
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        stranger = self.phone(a.number, host="127.0.0.3", register=False, password=None)
        for method in ("BYE", "INVITE", "UPDATE", "REFER", "INFO", "MESSAGE", "OPTIONS"):
            with self.subTest(method=method):
                headers = [("Refer-To", "<sip:1@pbx.test>")] if method == "REFER" else []
                sent = stranger.request(ours, method, headers, stranger.sdp() if method == "INVITE" else b"", cseq=500)
                answer = stranger.final(sent)
                self.assertEqual(401, answer.status)
        a.quiet(0.2), b.quiet(0.2)
        self.hang_up(a, ours, b, theirs)

    def test_guessed_tags_are_no_dialog(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        for local, remote in (("x", ours.remote_tag), (ours.local_tag, "x")):
            lines = [
                ("From", f"<{a.aor}>;tag={local}"),
                ("To", f"<{b.aor}>;tag={remote}"),
                ("Call-ID", ours.call_id),
                ("CSeq", "700 BYE"),
            ]
            self.assertEqual(481, a.final(a.send("BYE", ours.target, lines)).status)
        b.quiet(0.2)
        self.hang_up(a, ours, b, theirs)

    def test_a_strangers_cancel_is_nothing(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        b.ring(invite)
        call.provisional(180)
        stranger = self.phone(a.number, host="127.0.0.3", register=False, password=None)
        self.assertEqual(481, call.cancel(stranger).status)
        b.quiet(0.2)
        b.respond(invite, 486)
        b.expect("ACK")
        call.refused(486)

    def test_a_strangers_ack_and_answers_are_nothing(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        stranger = self.phone(b.number, host="127.0.0.3", register=False, password=None)
        invite.source = b.server
        stranger.respond(invite, 200, "OK", [("Contact", stranger.contact)], stranger.sdp())
        stranger.respond(invite, 486)
        a.quiet(0.3)
        stranger.quiet(0.1)
        theirs = b.answer(invite, ack=False)
        ours = call.connected()
        b.expect("ACK")
        self.hang_up(a, ours, b, theirs)

    def test_a_strangers_ack_confirms_nothing(self) -> None:
        """With both tags right, from another address: it can be asked for no password, so it counts for nothing, and
        the description in it is not the caller's."""
        a, b = self.phones()
        call = a.invite(b.number, b"")
        theirs = b.answer(b.expect("INVITE"), ack=False)
        answer = call.final()
        stranger = self.phone(a.number, host="127.0.0.3", register=False, password=None)
        stranger.ack(call.dialog, answer.cseq, stranger.sdp())
        a.quiet(0.8)
        b.quiet(0.1)
        self.assertEqual(1, a.times_repeated("SIP/2.0 200"))
        a.ack(call.dialog, answer.cseq, a.sdp())
        b.expect("ACK")
        self.hang_up(a, call.dialog, b, theirs)

    def test_another_extension_cannot_take_over_a_leg(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        thief = self.phone(host="127.0.0.3", register=False)
        sent = thief.request(ours, "BYE", cseq=500)
        refusal = thief.final(sent)
        again = thief.with_credentials(sent, refusal, cseq=501)
        self.assertEqual(403, thief.final(again).status)
        b.quiet(0.2), a.quiet(0.1)
        self.hang_up(a, ours, b, theirs)

    def test_a_phone_that_moves_keeps_its_call(self) -> None:
        """From Wi-Fi to mobile data: its first request from there is challenged, then the leg follows."""
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        moved = self.phone(a.number, host="127.0.0.2", register=False)
        sent = moved.reinvite(ours, moved.sdp(version=2))
        refusal = moved.final(sent)
        self.assertEqual(401, refusal.status)
        moved.ack_failure(sent, refusal)
        ours.cseq += 1
        again = moved.with_credentials(sent, refusal, cseq=ours.cseq)
        b.answer(b.expect("INVITE"))
        answer = moved.final(again)
        self.assertEqual(200, answer.status)
        moved.ack(ours, answer.cseq)
        sent = b.request(theirs, "INFO", body=b"x", kind="text/plain")
        moved.respond(moved.expect("INFO"), 200)
        self.assertEqual(200, b.final(sent).status)
        b.bye(theirs)
        moved.take_bye(ours)
        a.quiet(0.2)
        self.ended(a, b, "normal", "ANSWERED", "callee")

    def test_a_port_that_changes_needs_no_password(self) -> None:
        """A NAT gives another port: the same address is enough (hardening, rule 8)."""
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        rebound = self.phone(a.number, register=False, password=None)
        self.assertEqual(200, rebound.final(rebound.request(ours, "OPTIONS")).status)
        b.bye(theirs)
        rebound.take_bye(ours)

    def test_requests_follow_the_registration(self) -> None:
        """The phone registers from a new address in mid-call: what we send goes there."""
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        moved = self.phone(b.number, host="127.0.0.2", register=False)
        moved._register_call, moved._cseq = b._register_call, 500
        moved.register(contact=b.contact)
        a.bye(ours)
        moved.take_bye(theirs)
        b.quiet(0.2)

    def test_a_text_goes_to_all_devices(self) -> None:
        a, (b, c) = self.phone(), self.devices(2)
        self.world.set_name(a.number, "Anna")
        sent = self.ask_text(a, b.number, "Salom")
        for phone, status in ((b, 415), (c, 200)):
            message = phone.expect("MESSAGE")
            self.assertEqual((b"Salom", "text/plain"), (message.body, message.one("Content-Type")))
            self.assertTrue(message.one("From").startswith(f'"Anna" <{a.aor}>;tag='))
            self.assertEqual(f'"Anna" <{a.aor}>', message.one("P-Asserted-Identity"))
            self.assertFalse(message.all("Contact"))  # RFC 3428 4
            phone.respond(message, status)
        self.assertEqual(200, a.final(sent).status)

    def test_no_screen_obeys_what_a_phone_says(self) -> None:
        """Texts, digits, and the words of an answer reach the other phone without control characters."""
        a, b = self.phones()
        text = "a\x00b\x1b[2Jc\u202ed\x9be\u2028f\r\n\tЎ📞"
        sent = self.ask_text(a, b.number, text)
        message = b.expect("MESSAGE")
        self.assertEqual("a?b?[2Jc?d?e?f\r\n\tЎ📞", message.body.decode())
        b.respond(message, 200)
        self.assertEqual(200, a.final(sent).status)
        ours, theirs = self.connect(a, b)
        for kind, body, wanted in (
            ("text/plain", b"x\xff\x1by\rz", b"x??y?z"),
            ("text/plain;charset=windows-1251", b"\xcf\x90\xe8\x00\x7f\r", b"\xcf\x90\xe8???"),
            ("application/dtmf-relay", b"Signal=5\r\nDuration=\x07\r\n", b"Signal=5\r\nDuration=?\r\n"),
            ("application/octet-stream", b"\x00\xff\x1b", b"\x00\xff\x1b"),
        ):
            sent = a.request(ours, "INFO", [("Content-Disposition", "x\u202ey\x85")], body, kind=kind)
            info = b.expect("INFO")
            self.assertEqual((wanted, kind), (info.body, info.one("Content-Type")))
            self.assertEqual("x\ufffdy\ufffd", info.one("Content-Disposition"))
            b.respond(info, 200)
            a.final(sent)
        self.hang_up(a, ours, b, theirs)
        named = a.sdp().replace(b"s=-", "s=Ў\x1b[2J\u202e\x9b\u2028".encode())
        call = a.invite(b.number, named)
        invite = b.expect("INVITE")
        self.assertRegex(invite.sdp, r"(?m)^s=Ў[?\ufffd]\[2J[?\ufffd]{3}\r$")
        b.respond(invite, 480, "gone\u202e\x9b2J")
        b.expect("ACK")
        answer = call.refused(480)
        self.assertEqual("gone\ufffd\ufffd2J", answer.reason)
        self.assertIn("gone\ufffd\ufffd2J", answer.one("Reason"))

    def test_a_text_comes_to_an_end(self) -> None:
        """Two phones that pass each text on to the other do so as often as Max-Forwards allows."""
        a, b = self.phones()
        for hops, told in (("5", "4"), ("1", "0")):
            sent = self.ask_text(a, b.number, hops, [("Max-Forwards", hops)])
            message = b.expect("MESSAGE")
            self.assertEqual(told, message.one("Max-Forwards"))
            b.respond(message, 200)
            self.assertEqual(200, a.final(sent).status)
        answer = a.ask("MESSAGE", f"sip:{b.number}@{b.domain}", [("Max-Forwards", "0")], b"x")
        self.assertEqual(483, answer.status)
        b.quiet(0.2)

    def test_a_text_that_nobody_takes(self) -> None:
        a, (b, c) = self.phone(), self.devices(2)
        sent = self.ask_text(a, b.number, "x")
        for phone in (b, c):
            phone.respond(phone.expect("MESSAGE"), 415)
        self.assertEqual(415, a.final(sent).status)

    def test_texts_to_nobody(self) -> None:
        a = self.phone()
        self.assertEqual(404, a.final(self.ask_text(a, "998877", "x")).status)
        self.assertEqual(480, a.final(self.ask_text(a, self.world.new_number(), "x")).status)
        self.assertEqual(513, a.final(self.ask_text(a, a.number, "x" * 1400)).status)

    def ask_text(self, phone, number: str, text: str, more=()):
        uri = f"sip:{number}@{phone.domain}"
        lines = [
            ("From", f"<{phone.aor}>;tag=m"),
            ("To", f"<{uri}>"),
            ("Call-ID", f"m-{phone.sent_by}-{number}-{zlib.crc32(text.encode())}"),
            ("CSeq", "1 MESSAGE"),
            *more,
        ]
        sent = phone.send("MESSAGE", uri, lines, text.encode(), kind="text/plain")
        return phone.with_credentials(sent, phone.final(sent), cseq=2)

    def test_a_refer_outside_of_a_call(self) -> None:
        a, b = self.phones()
        answer = a.ask("REFER", f"sip:{b.number}@{b.domain}", [("Contact", a.contact), ("Refer-To", f"<{a.aor}>")])
        self.assertIn(answer.status, (403, 405, 481))
        b.quiet(0.2)

    def test_a_foreign_domain(self) -> None:
        a = self.phone()
        a.invite("1", uri="sip:1@example.com", authenticate=False).refused(404)

    def test_options_outside_of_calls(self) -> None:
        stranger = self.phone("1", register=False, password=None)
        # Of a phone's length: a shorter one gets a shorter answer.
        lines = [("Contact", stranger.contact), ("User-Agent", "Z 5.6.4 v2.10.20.5"), ("Accept", "application/sdp")]
        answer = stranger.ask("OPTIONS", f"sip:{stranger.domain}", lines)
        self.assertEqual(200, answer.status)
        self.assertIn("INVITE", answer.one("Allow"))

    def test_an_invite_without_contact(self) -> None:
        a, b = self.phones()
        uri = f"sip:{b.number}@{b.domain}"
        lines = [("From", f"<{a.aor}>;tag=nc"), ("To", f"<{uri}>"), ("Call-ID", f"nc{a.number}"), ("CSeq", "1 INVITE")]
        sent = a.send("INVITE", uri, lines, a.sdp())
        refusal = a.final(sent)
        a.ack_failure(sent, refusal)
        if refusal.status == 401:
            sent = a.with_credentials(sent, refusal, cseq=2)
            refusal = a.final(sent)
            a.ack_failure(sent, refusal)
        self.assertEqual(400, refusal.status)
        b.quiet(0.2)

    def test_hanging_up_by_an_administrator(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        row = self.live(a, b, "ANSWERED")
        self.world.hang_up(row["uniqueid"])
        for phone, dialog in ((a, ours), (b, theirs)):
            phone.take_bye(dialog)
        self.ended(a, b, "hung_up_by_administrator", "ANSWERED", "administrator")

    def test_an_administrator_ends_what_rings(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        b.ring(invite)
        call.provisional(180)
        row = self.live(a, b, "NO ANSWER")
        self.world.hang_up(row["uniqueid"])
        cancel = b.expect("CANCEL")
        b.respond(cancel, 200), b.respond(invite, 487)
        b.expect("ACK")
        call.refused(480)
        self.ended(a, b, "hung_up_by_administrator", "NO ANSWER", "administrator")


class LimitFlows(FlowCase):
    """With at most 2 calls an extension, 3 that ring, 4 in all."""

    LIMITS = {"max_calls_per_extension": 2, "max_ringing": 3, "max_calls": 4}

    def test_calls_of_one_extension(self) -> None:
        a, b, c = self.phones(3)
        dialogs = [self.connect(a, phone) for phone in (b, c)]
        self.refused(a.invite("771"), 486, "Too Many Calls")
        self.ended(a, "771", "too_many_calls", "BUSY")
        other = self.phone()
        other.invite(a.number).refused(486)  # nor may it be called
        for phone, (ours, theirs) in zip((b, c), dialogs, strict=True):
            self.hang_up(a, ours, phone, theirs)
        self.hang_up(a, (d := self.connect(a, b))[0], b, d[1])

    def test_half_open_calls(self) -> None:
        phones = self.phones(8)
        calls = [(x, y, x.invite(y.number), y.expect("INVITE")) for x, y in zip(phones[:3], phones[3:6], strict=True)]
        refusal = phones[6].invite(phones[7].number).refused(503)
        self.assertGreater(int(refusal.one("Retry-After")), 0)
        phones[7].quiet(0.2)
        for _x, y, call, invite in calls:
            y.respond(invite, 486)
            y.expect("ACK")
            call.refused(486)
        d = self.connect(phones[6], phones[7])
        self.hang_up(phones[6], d[0], phones[7], d[1])

    def test_calls_in_all(self) -> None:
        pairs = [self.phones() for _ in range(5)]
        dialogs = [self.connect(x, y) for x, y in pairs[:4]]
        refusal = pairs[4][0].invite(pairs[4][1].number).refused(503)
        self.assertGreater(int(refusal.one("Retry-After")), 0)
        for (x, y), (ours, theirs) in zip(pairs, dialogs, strict=False):
            self.hang_up(x, ours, y, theirs)
        d = self.connect(*pairs[4])
        self.hang_up(pairs[4][0], d[0], pairs[4][1], d[1])
