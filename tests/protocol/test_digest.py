"""Digest: every published vector, what is refused, and the nonces that need no memory."""

import base64
import unittest
from dataclasses import fields

from sipcore.protocol import digest
from sipcore.protocol.digest import (
    Credentials,
    Nonces,
    NonceState,
    challenge,
    expected_response,
    make_ha1,
    parse_authorization,
    parse_challenge,
    response_matches,
)
from sipcore.protocol.errors import SipError, UnknownScheme

from .corpus_files import digest_vectors

ZEROS = "0" * 32
GOOD = (
    f'Digest username="1001", realm="pbx", nonce="abc", uri="sip:pbx.test", response="{ZEROS}", algorithm=MD5, '
    'qop=auth, nc=0000000A, cnonce="xyz", opaque="o"'
)


class VectorTest(unittest.TestCase):
    def test_every_published_vector(self):
        vectors = digest_vectors()
        self.assertEqual(len(vectors), 11)
        for vector in vectors:
            with self.subTest(vector["source"], algorithm=vector["algorithm"]):
                header = 'Digest username="{username}", realm="{realm}", nonce="{nonce}", uri="{uri}"'.format(**vector)
                header += ', algorithm={algorithm}, response="{response}"'.format(**vector)
                if "qop" in vector:
                    header += ', qop={qop}, nc={nc}, cnonce="{cnonce}"'.format(**vector)
                credentials = parse_authorization(header)
                ha1 = make_ha1(vector["algorithm"], vector["username"], vector["realm"], vector["password"])
                if not vector["algorithm"].endswith("-sess"):
                    self.assertEqual(ha1, vector["ha1"])
                body = vector.get("body", "").encode()
                self.assertEqual(
                    expected_response(ha1, credentials, vector["method"], body=body),
                    vector.get("errata", vector["response"]),
                )
                self.assertTrue(response_matches(ha1, credentials, vector["method"], body=body))
                self.assertFalse(response_matches(ha1, credentials, "OTHER", body=body))


class AuthorizationTest(unittest.TestCase):
    def refused(self, header: str) -> None:
        with self.assertRaises(SipError) as caught:
            parse_authorization(header)
        self.assertEqual(caught.exception.status, 400, header)

    def test_all_fields(self):
        self.assertEqual(
            parse_authorization(GOOD),
            Credentials("1001", "pbx", "abc", "sip:pbx.test", "0" * 32, "MD5", "auth", 10, "0000000A", "xyz", "o"),
        )

    def test_spaces_case_and_order_do_not_matter(self):
        header = 'dIGEST  NC=0000000A ,qop="auth",CNONCE="xyz"\t, Response="%s",URI="sip:pbx.test",nonce="abc",' % (
            "0" * 32
        )
        header += 'Realm="pbx",username = "1001",opaque="o",algorithm="md5"'
        self.assertEqual(parse_authorization(header), parse_authorization(GOOD))

    def test_algorithm_absent_is_md5(self):
        self.assertEqual(parse_authorization(GOOD.replace("algorithm=MD5, ", "")).algorithm, "MD5")

    def test_escaped_quote_in_the_user_name(self):
        credentials = parse_authorization(GOOD.replace('"1001"', r'"a\"b\\,;c"'))
        self.assertEqual(credentials.username, 'a"b\\,;c')
        self.assertEqual(credentials.nc, 10)

    def test_no_parameter_twice(self):
        for extra in ('username="1002"', 'USERNAME="1001"', "nc=00000002", 'realm=""'):
            self.refused(f"{GOOD}, {extra}")
        self.refused(GOOD.replace('"1001"', r'"a\"b"') + ', username="x"')

    def test_missing_parameters(self):
        for part in (
            'username="1001", ',
            'realm="pbx", ',
            'nonce="abc", ',
            'uri="sip:pbx.test", ',
            "nc=0000000A, ",
            'cnonce="xyz", ',
        ):
            self.refused(GOOD.replace(part, ""))
        self.refused("Digest")
        self.refused("Digest ")

    def test_empty_user_name_and_response(self):
        self.refused(GOOD.replace('"1001"', '""'))
        self.refused(GOOD.replace("0" * 32, ""))

    def test_junk(self):
        for junk in (
            "Digest x",
            "Digest =",
            "Digest ,",
            GOOD + "junk",
            GOOD + ', x="',
            GOOD.replace(", uri", " uri"),
            GOOD + ", \x00=1",
        ):
            self.refused(junk)

    def test_nonce_count_is_eight_hex_digits(self):
        for nc in ("1", "000000001", "0000000g", "٠٠٠٠٠٠٠١", "-0000001", "0x000001", "9" * 5000):
            self.refused(GOOD.replace("0000000A", nc))

    def test_what_we_never_offer(self):
        self.refused(GOOD + ", userhash=true")
        self.refused(GOOD + ", username*=UTF-8''x")
        self.assertEqual(parse_authorization(GOOD + ", userhash=false").username, "1001")

    def test_other_schemes_count_as_absent(self):
        for header in ("Basic YTpi", "NoOneKnowsThisScheme opaque-data=here", "", "Digestusername=1"):
            with self.assertRaises(UnknownScheme):
                parse_authorization(header)

    def test_a_response_that_is_no_ascii_only_does_not_match(self):
        credentials = parse_authorization(GOOD.replace("0" * 32, "é\udc80"))
        self.assertFalse(response_matches("0" * 32, credentials, "REGISTER"))

    def test_unknown_algorithms_never_match(self):
        for algorithm in ("SHA-1", "none", "MD4", "MD5x", "-sess"):
            credentials = parse_authorization(GOOD.replace("algorithm=MD5", f"algorithm={algorithm}"))
            self.assertFalse(response_matches("0" * 32, credentials, "REGISTER"))
        with self.assertRaises(ValueError):
            make_ha1("SHA-1", "a", "b", "c")

    def test_changing_any_signed_part_breaks_the_response(self):
        ha1 = make_ha1("SHA-256", "1001", "pbx", "secret")
        good = parse_authorization(GOOD.replace("MD5", "SHA-256"))
        good.response = expected_response(ha1, good, "REGISTER")
        self.assertTrue(response_matches(ha1, good, "REGISTER"))
        for name, value in (
            ("uri", "sip:x"),
            ("nonce", "b"),
            ("nc_text", "0000000B"),
            ("cnonce", "q"),
            ("algorithm", "MD5"),
            ("qop", None),
        ):
            changed = Credentials(**{field.name: getattr(good, field.name) for field in fields(Credentials)})
            setattr(changed, name, value)
            self.assertFalse(response_matches(ha1, changed, "REGISTER"), name)


class ChallengeTest(unittest.TestCase):
    def test_a_phone_can_read_it(self):
        text = challenge('p"b\\x', "n0", "SHA-256", stale=True)
        self.assertEqual(
            parse_challenge(text),
            {"realm": 'p"b\\x', "nonce": "n0", "algorithm": "SHA-256", "qop": "auth", "stale": "true"},
        )
        self.assertNotIn("stale", challenge("pbx", "n0", "MD5"))
        self.assertIn('qop="auth"', challenge("pbx", "n0", "MD5"))

    def test_a_broken_challenge(self):
        for text in ('Digest realm="a"', "Digest nonce=x", "Digest", 'Digest realm="a", realm="b", nonce="c"'):
            with self.assertRaises(SipError):
                parse_challenge(text)


class NonceTest(unittest.TestCase):
    NOW = 1_795_000_000.0

    def setUp(self):
        self.nonces = Nonces(b"k" * 32, 7, 7200)
        self.nonce = self.nonces.issue(self.NOW, "203.0.113.9", b"salt42")

    def state(self, nonce: str, now: float = NOW, source: str = "203.0.113.9") -> NonceState:
        return self.nonces.state(nonce, now, source)

    def test_good_for_its_lifetime(self):
        self.assertEqual(self.state(self.nonce), NonceState.VALID)
        self.assertEqual(self.state(self.nonce, self.NOW + 7199), NonceState.VALID)
        self.assertEqual(self.state(self.nonce, self.NOW + 7202), NonceState.STALE)

    def test_the_same_question_gets_the_same_nonce(self):
        self.assertEqual(self.nonces.issue(self.NOW, "203.0.113.9", b"salt42"), self.nonce)
        self.assertNotEqual(self.nonces.issue(self.NOW, "203.0.113.9", b"43"), self.nonce)
        self.assertLessEqual(len(self.nonce), 64)

    def test_clock_of_another_machine_a_little_ahead(self):
        self.assertEqual(self.state(self.nonce, self.NOW - 59), NonceState.VALID)
        self.assertEqual(self.state(self.nonce, self.NOW - 62), NonceState.STALE)

    def test_bound_to_the_source_address(self):
        self.assertEqual(self.state(self.nonce, source="203.0.113.10"), NonceState.STALE)
        self.assertEqual(self.state(self.nonce, source="::ffff:203.0.113.9"), NonceState.VALID)

    def test_ipv6_by_its_first_64_bits(self):
        nonce = self.nonces.issue(self.NOW, "2001:db8:1:2::5", b"s")
        self.assertEqual(self.state(nonce, source="2001:db8:1:2:ffff::1"), NonceState.VALID)
        self.assertEqual(self.state(nonce, source="2001:db8:1:3::5"), NonceState.STALE)

    def test_a_restart_with_the_same_key_changes_nothing(self):
        again = Nonces(b"k" * 32, 7, 7200)
        self.assertEqual(again.state(self.nonce, self.NOW, "203.0.113.9"), NonceState.VALID)

    def test_another_key_or_worker(self):
        for other in (Nonces(b"x" * 32, 7, 7200), Nonces(b"k" * 32, 8, 7200)):
            self.assertEqual(other.state(self.nonce, self.NOW, "203.0.113.9"), NonceState.STALE)

    def test_no_bit_can_be_changed(self):
        data = base64.urlsafe_b64decode(self.nonce)
        for index in range(len(data)):
            forged = bytearray(data)
            forged[index] ^= 1
            nonce = base64.urlsafe_b64encode(bytes(forged)).decode()
            self.assertEqual(self.state(nonce), NonceState.STALE)

    def test_garbage(self):
        for nonce in (
            "",
            "x",
            "é" * 38,
            "=" * 38,
            "!" * 38,
            self.nonce + "A",
            self.nonce[:-1],
            "\udc80" * 40,
            "A" * 60_000,
        ):
            self.assertEqual(self.state(nonce), NonceState.STALE)
        self.assertEqual(self.state(self.nonce, source="no address"), NonceState.STALE)

    def test_one_nonce_has_one_spelling(self):
        """Base64 has spare bits at its end; a second spelling would be a second counter for replays."""
        last = self.nonce[-1]
        for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/":
            if char != last:
                self.assertEqual(self.state(self.nonce[:-1] + char), NonceState.STALE)
        self.assertEqual(self.state("A\n" + self.nonce[2:]), NonceState.STALE)


class SecretTest(unittest.TestCase):
    def test_algorithms_that_an_ha1_is_kept_for(self):
        self.assertEqual(digest.ALGORITHMS, ("MD5", "SHA-256"))
        self.assertEqual([len(make_ha1(name, "1001", "pbx", "пароль")) for name in digest.ALGORITHMS], [32, 64])
