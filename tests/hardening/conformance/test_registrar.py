"""The registrar: RFC 3261 section 10 and what belongs to it, with bindings read back as any phone can."""

from __future__ import annotations

from tests.hardening.conformance.case import ConformanceCase, for_each
from tests.hardening.conformance.peer import Peer, parameter


class Registrar(ConformanceCase):
    def address(self, peer: Peer, user: str) -> str:
        return f"sip:{user}@{peer.host}:{peer.port}"

    def asked(self, peer: Peer) -> dict[str, int]:
        """The bindings of now."""
        return peer.prove(but={"Contact": None}).bindings

    def test_10_3_8_the_answer_lists_all_bindings(self) -> None:
        """A 200 lists every binding that there is now, each with its seconds."""
        peer = self.owner()
        peer.prove(but={"Contact": f"<{self.address(peer, 'a')}>;expires=100"})
        got = peer.prove(but={"Contact": f"<{self.address(peer, 'b')}>;expires=200"}).bindings
        self.assertEqual({self.address(peer, "a"), self.address(peer, "b")}, set(got))
        self.assertTrue(0 < got[self.address(peer, "a")] <= 100 < got[self.address(peer, "b")] <= 200, got)

    def test_10_2_3_a_question_without_contact(self) -> None:
        """A REGISTER without Contact changes nothing and lists what there is."""
        peer = self.owner()
        self.assertEqual({}, self.asked(peer))
        peer.prove()
        self.assertEqual(1, len(self.asked(peer)))

    def test_10_3_7_a_refresh_makes_no_second_binding(self) -> None:
        """The same address again is the same binding, with new seconds."""
        peer = self.owner()
        peer.prove(but={"Expires": "100"})
        [seconds] = peer.prove(but={"Expires": "1000"}).bindings.values()
        self.assertGreater(seconds, 100)

    @for_each(case="sip:a@PHONE.example", percent="sip:%61@phone.example", scheme="SIP:a@phone.example")
    def test_19_1_4_equal_addresses_are_one_binding(self, second: str) -> None:
        """Contacts are compared as URIs: the host without regard to case, escapes resolved."""
        peer = self.owner()
        peer.prove(but={"Contact": "<sip:a@phone.example>", "Call-ID": "one" + peer.call_id})
        got = peer.prove(but={"Contact": f"<{second}>", "Call-ID": "two" + peer.call_id})
        self.assertEqual(1, len(got.bindings), got)

    @for_each(
        user="sip:A@phone.example", port="sip:a@phone.example:5060", transport="sip:a@phone.example;transport=tcp"
    )
    def test_19_1_4_other_addresses_are_other_bindings(self, second: str) -> None:
        """The user is compared with regard to case; a port or transport that is there differs from none."""
        peer = self.owner()
        peer.prove(but={"Contact": "<sip:a@phone.example>", "Call-ID": "one" + peer.call_id})
        got = peer.prove(but={"Contact": f"<{second}>", "Call-ID": "two" + peer.call_id})
        self.assertEqual(2, len(got.bindings), got)

    def test_10_2_2_one_binding_is_removed_by_its_own_expires(self) -> None:
        """``expires=0`` ends that one binding, the other stays."""
        peer = self.owner()
        a, b = self.address(peer, "a"), self.address(peer, "b")
        peer.prove(but={"Contact": f"<{a}>, <{b}>"})
        self.assertEqual({b}, set(peer.prove(but={"Contact": f"<{a}>;expires=0"}).bindings))

    def test_10_2_2_one_binding_is_removed_by_the_header(self) -> None:
        """``Expires: 0`` does the same for all Contacts that say nothing themselves."""
        peer = self.owner()
        peer.prove()
        self.assertEqual({}, peer.prove(but={"Expires": "0"}).bindings)

    def test_10_2_2_what_is_not_there_may_be_removed(self) -> None:
        """Ending a binding that does not exist succeeds."""
        got = self.owner().prove(but={"Expires": "0"})
        self.assertEqual((200, {}), (got.status, got.bindings))

    def test_10_2_1_1_the_contact_goes_before_the_header(self) -> None:
        """A Contact's own expires counts, not the Expires header."""
        peer = self.owner()
        got = peer.prove(but={"Contact": f"{peer.contact};expires=120", "Expires": "3000"})
        self.assertTrue(0 < max(got.bindings.values()) <= 120)

    def test_10_2_1_1_the_header_counts_for_each_contact(self) -> None:
        """What has no expires of its own gets that of the header."""
        peer = self.owner()
        a, b = self.address(peer, "a"), self.address(peer, "b")
        got = peer.prove(but={"Contact": f"<{a}>, <{b}>;expires=300", "Expires": "150"}).bindings
        self.assertTrue(got[a] <= 150 < got[b] <= 300, got)

    @for_each(none=None, letters="soon", negative="-5", fraction="1.5", empty="")
    def test_10_2_1_1_no_readable_expires_means_the_default(self, value: str | None) -> None:
        """Nothing, or nothing readable, is as if nothing was said (20.19); the seconds granted are told."""
        [seconds] = self.owner().prove(but={"Expires": value}).bindings.values()
        self.assertTrue(600 <= seconds <= 3600, seconds)

    @for_each(large="100000", greatest="4294967295", huge="9" * 100)
    def test_10_3_7_the_registrar_may_shorten(self, value: str) -> None:
        """More than the registrar allows is shortened, and it says so; no number is too large to be read."""
        got = self.owner().prove(but={"Expires": value})
        self.assertEqual(200, got.status)
        self.assertTrue(60 <= max(got.bindings.values()) <= 3600, got)

    @for_each(one="1", almost="59")
    def test_10_3_7_too_brief_is_423(self, value: str) -> None:
        """Below the least: 423 with Min-Expires, and nothing is changed."""
        peer = self.owner()
        got = peer.prove(but={"Expires": value})
        self.assertEqual(423, got.status)
        self.assertEqual(60, int(got.one("min-expires")))
        self.assertEqual({}, self.asked(peer))

    def test_10_3_7_min_expires_itself_is_granted(self) -> None:
        """What a 423 names is then accepted, and is not shortened below it."""
        [seconds] = self.owner().prove(but={"Expires": "60"}).bindings.values()
        self.assertEqual(60, seconds)

    def test_10_3_6_the_star_removes_all(self) -> None:
        """``Contact: *`` with ``Expires: 0`` ends all bindings."""
        peer = self.owner()
        peer.prove(but={"Contact": f"<{self.address(peer, 'a')}>, <{self.address(peer, 'b')}>"})
        got = peer.prove(but={"Contact": "*", "Expires": "0"})
        self.assertEqual((200, {}), (got.status, got.bindings))

    @for_each(
        without_expires={"Contact": "*"}, other_expires={"Contact": "*", "Expires": "60"},
        beside_another={"Contact": "*, <sip:a@phone.example>", "Expires": "0"},
    )
    def test_10_3_6_the_star_in_another_way_is_400(self, but: dict[str, str]) -> None:
        """With another Expires, or beside a Contact, it is invalid: 400, and nothing is changed."""
        peer = self.owner()
        peer.prove()
        self.assertEqual(400, peer.prove(but=but).status)
        self.assertEqual(1, len(self.asked(peer)))

    @for_each(same=0, older=-3)
    def test_10_3_7_an_older_cseq_of_the_same_call_is_refused(self, step: int) -> None:
        """Within one Call-ID, CSeq must rise: a request that was overtaken changes nothing."""
        peer = self.owner()
        peer.prove(but={"CSeq": "100 REGISTER", "Expires": "100"})
        late = peer.prove(but={"CSeq": f"{100 + step} REGISTER", "Expires": "0"})
        self.assertTrue(400 <= late.status < 600, late)
        self.assertEqual(1, len(self.asked(peer)))

    def test_10_3_7_another_call_id_updates(self) -> None:
        """A phone that was restarted begins with another Call-ID and a low CSeq."""
        peer = self.owner()
        peer.prove(but={"CSeq": "100 REGISTER", "Expires": "100"})
        got = peer.prove(but={"CSeq": "1 REGISTER", "Call-ID": "other" + peer.call_id, "Expires": "1000"})
        self.assertEqual(200, got.status)
        self.assertGreater(max(got.bindings.values()), 100)

    def test_10_3_7_all_or_nothing(self) -> None:
        """When one Contact of several is refused, none of them is stored."""
        peer = self.owner()
        got = peer.prove(but={"Contact": f"<{self.address(peer, 'a')}>, <{self.address(peer, 'b')}>;expires=5"})
        self.assertEqual(423, got.status)
        self.assertEqual({}, self.asked(peer))

    def test_10_3_5_numbers_are_told_apart(self) -> None:
        """Bindings belong to the address of record in To, and to no other."""
        one, two = self.owner(), self.owner()
        one.prove()
        self.assertEqual({}, self.asked(two))

    def test_10_3_5_parameters_of_the_to_do_not_matter(self) -> None:
        """The URI in To is made canonical: parameters are removed, escapes resolved, the host in any case."""
        peer = self.owner()
        peer.prove()
        escaped = f"%3{peer.number[0]}{peer.number[1:]}"
        to = f"<sip:{escaped}@{peer.domain.upper()};user=phone>"
        self.assertEqual(1, len(peer.prove(but={"To": to, "Contact": None}).bindings))

    @for_each(other="sip:3001@pbx.test", elsewhere="sip:{number}@elsewhere.test", tel="tel:+998711234567")
    def test_10_3_3_nobody_registers_for_another(self, to: str) -> None:
        """Who is authenticated may change his own address of record alone."""
        peer = self.owner()
        got = peer.prove(but={"To": f"<{to.format(number=peer.number)}>"})
        self.assertIn(got.status, (403, 404))

    def test_10_3_the_request_uri_has_no_user(self) -> None:
        """The Request-URI names the domain of the registrar; a user part there (older phones) does no harm."""
        peer = self.owner()
        self.assertEqual(200, peer.prove(uri=f"sip:{peer.number}@{peer.domain}").status)

    def test_10_3_8_the_time_of_day_is_told(self) -> None:
        """Date, so that phones can set their clocks."""
        date = self.owner().prove().one("date")
        self.assertRegex(date, r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$")

    @for_each(half="0.5", most="1", least="0", three="0.333")
    def test_20_10_q_is_kept(self, q: str) -> None:
        """The preference that a phone gives its address comes back."""
        peer = self.owner()
        got = peer.prove(but={"Contact": f"{peer.contact};q={q}"})
        self.assertEqual(float(q), float(parameter(got.one("contact").rpartition(">")[2], "q")))

    def test_10_3_a_contact_without_brackets(self) -> None:
        """Its parameters are those of the header, not of the URI (20.10)."""
        peer = self.owner()
        got = peer.prove(but={"Contact": f"sip:{peer.number}@{peer.host}:{peer.port};expires=90"})
        self.assertEqual({f"sip:{peer.number}@{peer.host}:{peer.port}"}, set(got.bindings))
        self.assertLessEqual(max(got.bindings.values()), 90)

    @for_each(
        mailto="mailto:a@b.test", multicast="sip:a@224.0.1.75", nobody="sip:a@0.0.0.0", all="sip:a@255.255.255.255",
    )
    def test_10_2_1_a_contact_that_no_phone_can_have(self, uri: str) -> None:
        """Nobody could be called there: 400, and nothing is stored."""
        peer = self.owner()
        self.assertEqual(400, peer.prove(but={"Contact": f"<{uri}>"}).status)
        self.assertEqual({}, self.asked(peer))

    def test_rfc5393_the_server_is_nobodys_contact(self) -> None:
        """A call would chase its own tail."""
        peer = self.owner()
        host, port = self.pbx.server
        self.assertEqual(400, peer.prove(but={"Contact": f"<sip:x@{host}:{port}>"}).status)

    def test_10_3_the_same_request_again(self) -> None:
        """A repetition gets the very same answer and is no second request (17.2.2)."""
        peer = self.owner()
        peer.prove()
        data = peer.proven()
        first = peer.ask(data)
        self.assertEqual((200, first.raw), (first.status, peer.ask(data).raw))

    def test_10_2_a_register_makes_no_dialog(self) -> None:
        """Record-Route means nothing in it, and the 200 has none."""
        got = self.owner().prove(add=[("Record-Route", "<sip:192.0.2.1;lr>")])
        self.assertEqual((200, []), (got.status, got.all("record-route")))

    def test_rfc3327_5_3_path_is_kept_and_told(self) -> None:
        """A Path that the phone supports is copied into the 200."""
        add = [("Path", "<sip:192.0.2.1;lr>"), ("Supported", "path")]
        self.assertEqual(["<sip:192.0.2.1;lr>"], self.owner().prove(add=add).all("path"))

    @for_each(open="<sip:a@b", close="sip:a@b>;expires=90", port="<sip:a@b:99999>", host="<sip:a@>", words="a b c")
    def test_10_3_a_malformed_contact_is_400(self, contact: str) -> None:
        """It is refused, and not guessed at."""
        peer = self.owner()
        self.assertEqual(400, peer.prove(but={"Contact": contact}).status)
        self.assertEqual({}, self.asked(peer))
