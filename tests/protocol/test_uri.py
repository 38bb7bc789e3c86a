"""URIs and header values: RFC 3261 19.1 and 20."""

import unittest

from sipcore.protocol.errors import SipError
from sipcore.protocol.headers import (
    clean_text,
    parse_contact,
    parse_name_addr,
    parse_params,
    parse_via,
    quote,
    split_list,
    unquote,
)
from sipcore.protocol.uri import Uri, parse_uri, same_uri


class ParseTest(unittest.TestCase):
    def test_all_parts(self):
        uri = parse_uri("SIP:alice:secret@Example.COM:5080;Transport=TCP;lr?Subject=a&X=b")
        self.assertEqual(
            (uri.scheme, uri.user, uri.password, uri.host, uri.port), ("sip", "alice", "secret", "example.com", 5080)
        )
        self.assertEqual(dict(uri.params), {"transport": "TCP", "lr": None})
        self.assertEqual(dict(uri.headers), {"Subject": "a", "X": "b"})
        self.assertEqual(str(uri), "sip:alice:secret@example.com:5080;transport=TCP;lr?Subject=a&X=b")

    def test_other_schemes(self):
        tel = parse_uri("tel:+998-71-200;phone-context=uz")
        self.assertEqual((tel.user, dict(tel.params), tel.host), ("+998-71-200", {"phone-context": "uz"}, ""))
        self.assertEqual(str(parse_uri("urn:service:sos")), "urn:service:sos")

    def test_what_is_no_uri(self):
        for text in (
            "",
            "sip",
            "sip:",
            ":",
            "sip:@h",
            "sip:a@",
            "sip:a@b@c",
            "sip:a b@h",
            "sip:a@h:",
            "sip:a@h:0",
            "sip:a@h:99999",
            "sip:a@h;;x",
            "sip:a@h;x;x",
            "sip:a@[::1",
            "sip:a@::1",
            "sip:a@[fe80::1%25eth0]",
            "sip:a@[x]",
            "sip:a@h?",
            "sip:a@h?x",
            "<sip:a@h>",
            'sip:"a"@h',
            "sip:a\x00@h",
            "sip:a\\@h",
            "1sip:a",
            "s p:a",
            "tel:",
            "sip:a@é",
            "sip:a@h/",
            "sip:\udc80@h",
        ):
            with self.assertRaises(SipError, msg=text):
                parse_uri(text)

    def test_text_again(self):
        for text in ("sip:h", "sips:a@h", "sip:a@[::1]:5060", "sip:h;lr", "sip:%20@h", "sip:a@10.0.0.1;x=%41", "tel:1"):
            self.assertEqual(str(parse_uri(text)), text)


class EqualityTest(unittest.TestCase):
    def same(self, a: str, b: str, **options: bool) -> bool:
        forth, back = (same_uri(parse_uri(x), parse_uri(y), **options) for x, y in ((a, b), (b, a)))
        self.assertEqual(forth, back)
        return forth

    def test_equal_ones_of_rfc_3261_19_1_4(self):
        for a, b in (
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::0:1]"),
        ):
            self.assertTrue(self.same(a, b), (a, b))

    def test_different_ones_of_rfc_3261_19_1_4(self):
        for a, b in (
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:a@h", "sips:a@h"),
            ("sip:a:x@h", "sip:a:y@h"),
            ("sip:a%2541@h", "sip:a%41@h"),
            ("sip:a@h", "sip:h"),
        ):
            self.assertFalse(self.same(a, b), (a, b))

    def test_as_the_uri_of_a_digest(self):
        self.assertTrue(self.same("sip:pbx.test", "sip:PBX.test:5060;transport=udp", ignore_params=True))
        self.assertTrue(self.same("sips:pbx.test", "sips:pbx.test:5061", ignore_params=True))
        self.assertFalse(self.same("sip:pbx.test", "sip:evil.test", ignore_params=True))
        self.assertFalse(self.same("sip:pbx.test", "sip:pbx.test:5061", ignore_params=True))
        self.assertFalse(self.same("sip:pbx.test", "sip:a@pbx.test", ignore_params=True))

    def test_canonical_is_one_spelling(self):
        for a, b in (
            ("sip:%31001@PBX.test", "sip:1001@pbx.test"),
            ("sip:a@h;B=1;a", "sip:a@h;a;b=1"),
            ("sip:a%2f@h", "sip:a%2F@h"),
            ("sip:a@[2001:db8:0:0::1]", "sip:a@[2001:DB8::1]"),
            ("sip:é@h", "sip:%C3%A9@h"),
        ):
            self.assertEqual(parse_uri(a).canonical, parse_uri(b).canonical)
        for text in ("sip:%2541@h", "sip:%00@h", "sip:%Z@h", "sip:a%@h", "sip:a@h:5060;x=%3b?A=%3B"):
            canonical = parse_uri(text).canonical
            self.assertEqual(parse_uri(canonical).canonical, canonical)
        self.assertNotEqual(parse_uri("sip:%2541@h").canonical, parse_uri("sip:%41@h").canonical)

    def test_uris_can_be_kept_in_a_set(self):
        self.assertEqual(len({parse_uri("sip:a@h;x=1"), Uri("sip", "a", None, "h", None, {"x": "1"})}), 1)


class HeaderValueTest(unittest.TestCase):
    def test_names(self):
        for text, name in (
            ('"A \\"B\\" \\\\ C" <sip:a@h>', 'A "B" \\ C'),
            ("A  B <sip:a@h>", "A  B"),
            ("<sip:a@h>", ""),
            ('""<sip:a@h>', ""),
            ('"<sip:x@y>" <sip:a@h>', "<sip:x@y>"),
        ):
            address = parse_name_addr(text)
            self.assertEqual((address.display_name, address.uri.user), (name, "a"))
            self.assertEqual(parse_name_addr(str(address)), address)

    def test_broken_ones(self):
        for text in (
            "",
            "<",
            "<>",
            "<sip:a@h",
            "sip:a@h>",
            '"a',
            '"a" b <sip:a@h>',
            "<sip:a@h> x",
            "<sip:a@h>x;y",
            "a, b <sip:a@h>",
            "<sip:a@h>;",
            "<sip:a@h>;;x",
            "<sip:a@h>;=x",
            "<sip:a@h>;a b=1",
            '<sip:a@h>;x="',
            "sip:a@h?x=y",
            "<<sip:a@h>>",
        ):
            if text != "<sip:a@h>;":
                with self.assertRaises(SipError, msg=text):
                    parse_name_addr(text)

    def test_instance(self):
        contact = parse_contact('<sip:a@h>;+sip.instance="<urn:uuid:1-2>";reg-id=2')
        self.assertEqual((contact.instance, contact.reg_id, contact.expires), ("urn:uuid:1-2", 2, None))
        self.assertIsNone(parse_contact('<sip:a@h>;+sip.instance=""').instance)

    def test_params(self):
        self.assertEqual(parse_params('a ; B = "x;y\\"," ;c='), {"a": None, "b": '"x;y\\","', "c": ""})

    def test_via(self):
        via = parse_via("SIP/2.0/udp [2001:DB8::1]:5070 ;branch=z9hG4bKa;rport")
        self.assertEqual((via.transport, via.host, via.port, via.branch), ("UDP", "2001:db8::1", 5070, "z9hG4bKa"))
        self.assertEqual(str(via), "SIP/2.0/UDP [2001:db8::1]:5070;branch=z9hG4bKa;rport")
        for text in (
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/3.0/UDP h",
            "HTTP/2.0/UDP h",
            "SIP/2.0/U\x00P h",
            "SIP/2.0/UDP h h",
        ):
            with self.assertRaises(SipError, msg=text):
                parse_via(text)

    def test_lists(self):
        self.assertEqual(split_list('"a,b" <sip:x,y>, c,,"d\\",", '), ['"a,b" <sip:x,y>', "c", '"d\\","'])
        for text in ('a,"b', "a,<b"):
            with self.assertRaises(SipError):
                split_list(text)

    def test_quoting(self):
        for text in ("", "a", 'a"b', "\\", '\\"', "a\\\\b\\"):
            self.assertEqual(unquote(quote(text)), text)
        self.assertEqual(unquote("plain"), "plain")
        self.assertEqual(unquote('"a\\bc\\\\"'), "abc\\")

    def test_text_for_pages_and_columns(self):
        self.assertEqual(clean_text("Zoiper 5", 80), "Zoiper 5")
        self.assertEqual(clean_text("Телефон", 80), "Телефон")
        dirty = "a\x00b\x1b[31m\r\n\x85\u2028\u202e\udc80\ud800c"
        clean = clean_text(dirty, 80)
        self.assertEqual(clean, "a\ufffdb\ufffd[31m" + "\ufffd" * 7 + "c")
        clean.encode("utf-8")
        self.assertEqual(len(clean_text("x" * 500, 81)), 81)
        self.assertEqual(len(clean_text("\x00" * 500, 81)), 81)
