"""Who may: RFC 3261 section 22 and RFC 7616, as far as it is about requests one by one."""

from __future__ import annotations

import re

from tests.hardening.conformance.case import ConformanceCase, for_each
from tests.hardening.conformance.peer import Peer

GUARDED = {
    "register": "REGISTER", "invite": "INVITE", "message": "MESSAGE", "subscribe": "SUBSCRIBE", "refer": "REFER",
    "info": "INFO", "notify": "NOTIFY", "publish": "PUBLISH",
}  # fmt: skip


class Elsewhere(Peer):
    """Another machine."""

    address = "127.0.0.2"


class Digest(ConformanceCase):
    @for_each(**GUARDED)
    def test_22_1_who_shows_nothing_is_challenged(self, method: str) -> None:
        """401 with a Digest challenge, for every method that does anything."""
        peer = self.stranger()
        got = peer.ask(peer.request(method, f"sip:3001@{peer.domain}"))
        self.assertEqual(401, got.status)
        self.assertTrue(got.one("www-authenticate").startswith("Digest "), got)

    @for_each(ack="ACK", cancel="CANCEL")
    def test_22_1_never_challenged(self, method: str) -> None:
        """Nobody could answer a challenge to an ACK or a CANCEL."""
        peer = self.stranger()
        for got in peer.answers(peer.request(method, f"sip:3001@{peer.domain}")):
            self.assertEqual(481, got.status)

    def test_rfc7616_3_3_the_form_of_a_challenge(self) -> None:
        """realm, nonce and qop are quoted, algorithm and stale are not."""
        peer = self.stranger()
        value = peer.ask(peer.request("REGISTER")).one("www-authenticate")
        self.assertRegex(value, r'\brealm="[^"]+"')
        self.assertRegex(value, r'\bnonce="[^"]+"')
        self.assertRegex(value, r'\bqop="auth"')
        self.assertNotRegex(value, r'\b(algorithm|stale)="')

    def test_22_1_the_realm_is_the_same_for_all(self) -> None:
        """It says nothing about who asks, nor whether his number exists."""
        one, two = self.peer("3001"), self.peer("9999")
        realms = {peer.ask(peer.request("REGISTER")).challenge["realm"] for peer in (one, two)}
        self.assertEqual(1, len(realms))

    def test_rfc7616_3_3_nonces_differ(self) -> None:
        """Each request gets a nonce of its own."""
        peer = self.stranger()
        nonces = {peer.ask(peer.request("REGISTER")).challenge["nonce"] for _ in range(5)}
        self.assertEqual(5, len(nonces))

    def test_8_2_7_the_same_request_gets_the_same_challenge(self) -> None:
        """A server that keeps nothing must answer a repetition the same way."""
        peer = self.stranger()
        data = peer.request("REGISTER")
        nonces = {peer.ask(data).challenge["nonce"] for _ in range(2)}
        self.assertEqual(1, len(nonces))

    def test_22_2_credentials_for_another_realm_do_not_count(self) -> None:
        """They are somebody else's business: a challenge, as if there were none."""
        peer = self.owner()
        peer.prove()
        self.assertEqual(401, peer.prove(realm='"elsewhere.test"').status)

    def test_22_3_credentials_for_several_realms(self) -> None:
        """Those for our realm are found among others."""
        peer = self.owner()
        other = 'Digest username="x", realm="elsewhere", nonce="n", uri="sip:x", response="' + "0" * 32 + '"'
        self.assertEqual(200, peer.prove(add=[("Authorization", other)]).status)

    def test_22_4_basic_is_not_accepted(self) -> None:
        """Basic authentication must not be used in SIP."""
        peer = self.owner()
        got = peer.ask(peer.request("REGISTER", add=[("Authorization", "Basic MzAwMTpzM2NyZXQ=")]))
        self.assertEqual(401, got.status)

    @for_each(
        response={"response": '"' + "0" * 32 + '"'}, short={"response": '"00"'}, username={"username": '"3001"'},
        uri={"uri": '"sip:elsewhere.test"'}, no_qop={"qop": "-", "nc": "-", "cnonce": "-"},
        auth_int={"qop": "auth-int"},
        sha1={"algorithm": "SHA-1"}, session={"algorithm": "MD5-sess"}, empty_cnonce={"cnonce": '""'},
    )  # fmt: skip
    def test_rfc7616_3_4_wrong_credentials(self, but: dict[str, str]) -> None:
        """A wrong digest, another user, another URI, a qop or algorithm that was not offered: refused for good."""
        peer = self.owner()
        peer.prove(but={"Contact": None})
        self.assertIn(peer.prove(**but).status, (400, 403))
        self.assertEqual({}, peer.prove(but={"Contact": None}).bindings)

    @for_each(
        no_response={"response": "-"}, no_nonce={"nonce": "-"}, no_uri={"uri": "-"}, no_username={"username": "-"},
        no_nc={"nc": "-"}, no_cnonce={"cnonce": "-"}, nc_no_hex={"nc": "0000000g"}, nc_short={"nc": "1"},
        nc_long={"nc": "000000001"},
    )  # fmt: skip
    def test_rfc7616_3_4_incomplete_credentials_are_400(self, but: dict[str, str]) -> None:
        """What is required is required (7616 3.4.3, 3.4.6)."""
        peer = self.owner()
        peer.prove(but={"Contact": None})
        self.assertEqual(400, peer.prove(**but).status)

    def test_rfc7616_3_4_a_doubled_parameter_is_400(self) -> None:
        """Two values of one parameter are ambiguous."""
        peer = self.owner()
        peer.prove(but={"Contact": None})
        data = re.sub(rb"Authorization: Digest ", b'Authorization: Digest username="3001", ', peer.proven())
        self.assertEqual(400, peer.ask(data).status)

    def test_rfc7616_3_4_parameters_in_any_order_and_case(self) -> None:
        """Names are compared without regard to case, and stand in any order with any white space."""
        peer = self.owner()
        peer.prove(but={"Contact": None})
        found = re.search(rb"Authorization: Digest ([^\r]*)", data := peer.proven())
        assert found
        parts = [name.upper() + b" = " + value for name, _, value in (p.partition(b"=") for p in found[1].split(b", "))]
        self.assertEqual(200, peer.ask(data.replace(found[1], b" ,\t".join(parts[::-1]))).status)

    @for_each(upper="md5", quoted='"MD5"')
    def test_rfc7616_3_4_the_spelling_of_md5(self, algorithm: str) -> None:
        """In any case, and quoted by those who read RFC 2069."""
        self.assertEqual(200, self.owner().prove(algorithm=algorithm).status)

    def test_rfc7616_3_3_without_algorithm_it_is_md5(self) -> None:
        """Left out, it is MD5."""
        self.assertEqual(200, self.owner().prove(algorithm="-").status)

    def test_rfc7616_3_4_the_response_in_upper_case(self) -> None:
        """Hexadecimal digits in capitals are the same digest."""
        peer = self.owner()
        peer.prove(but={"Contact": None})
        data = re.sub(rb'response="([0-9a-f]+)"', lambda m: b'response="' + m[1].upper() + b'"', peer.proven())
        self.assertEqual(200, peer.ask(data).status)

    def test_rfc7616_3_3_a_nonce_of_somebody_elses_is_stale(self) -> None:
        """A nonce that we never gave, with right credentials otherwise: 401, stale=true and a new nonce."""
        peer = self.owner()
        peer.prove(but={"Contact": None})
        got = peer.prove(nonce=f'"{"A" * 40}"')
        self.assertEqual((401, "true"), (got.status, got.challenge["stale"]))

    def test_rfc7616_3_4_5_a_nonce_count_rises(self) -> None:
        """The same count of one nonce a second time is a replay: 401, stale=true, and nothing is changed."""
        peer = self.owner()
        peer.prove()
        self.assertEqual(200, peer.prove(nc="00000005").status)
        got = peer.prove(nc="00000005", but={"Expires": "0"})
        self.assertEqual((401, "true"), (got.status, got.challenge["stale"]))
        self.assertNotEqual(got.challenge["nonce"], peer.challenge["nonce"])

    def test_rfc7616_3_4_5_counts_may_be_left_out(self) -> None:
        """A count that jumps is no fault: packets are lost."""
        peer = self.owner()
        peer.prove()
        self.assertEqual(200, peer.prove(nc="0000ff00").status)

    def test_rfc7616_5_a_nonce_belongs_to_its_source(self) -> None:
        """Elsewhere it is good for nothing (127.0.0.2 here)."""
        peer = self.owner()
        peer.prove()
        other = self.peer(peer.number, kind=Elsewhere)
        other.challenge, other.count = peer.challenge, 50
        got = other.prove()
        self.assertEqual((401, "true"), (got.status, got.challenge["stale"]))

    def test_22_4_credentials_of_another_method_are_worth_nothing(self) -> None:
        """The method is part of the digest."""
        peer = self.owner()
        peer.prove(but={"Contact": None})
        value = peer.authorization("OPTIONS", f"sip:{peer.domain}")
        self.assertEqual(403, peer.ask(peer.request("REGISTER", add=[("Authorization", value)])).status)

    def test_22_4_known_and_unknown_numbers_look_alike(self) -> None:
        """A wrong password and a number that does not exist get the same bytes (AST-2009-008)."""
        answers = []
        for number in (self.new_number(), "9999"):
            peer = self.peer(number, "wrong")
            got = peer.prove()
            lines = [(name, value) for name, value in got.headers if name not in ("via", "call-id", "from", "to")]
            answers.append((got.start, lines, got.body))
        self.assertEqual(*answers)

    def test_22_2_the_cseq_of_the_second_try(self) -> None:
        """It is one higher, under the same Call-ID: both belong together, and it succeeds."""
        peer = self.owner()
        refusal = peer.ask(peer.request("REGISTER"))
        peer.learn(refusal)
        got = peer.ask(peer.proven())
        self.assertEqual((200, "2 REGISTER"), (got.status, got.one("cseq")))
