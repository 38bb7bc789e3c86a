"""The support bundle: useful to who helps, and silent about who telephones here."""

from __future__ import annotations

import io
import re
import unittest
import zipfile
from dataclasses import asdict
from pathlib import Path

from django.contrib.auth import get_user_model
from django.test import TestCase, override_settings
from django.utils import timezone

from extensions.models import DigestCredential
from pbx.diagnosis.bundle import make_bundle
from pbx.diagnosis.masking import Mask
from pbx.diagnosis.models import Attempt, CallTrace, WatchedMessage
from pbx.system.models import SipProcess
from sipcore.evidence.facts import WireMessage
from tests.calls.rows import ended, heard, write
from tests.extensions.rows import make_binding, make_extension
from tests.support.cases import PASSWORD, OnPostgres, OnSqlite
from tests.support.phone import Phone
from tests.support.processes import wait_until

REGISTER = """REGISTER sip:pbx.acme-telecom.uz SIP/2.0
Via: SIP/2.0/UDP kitchen-laptop:5062;branch=z9hG4bK1;rport=5062;received=198.51.100.77
Max-Forwards: 70
From: "Gulnora Karimova" <sip:1001@pbx.acme-telecom.uz>;tag=1
To: Gulnora Karimova <sip:1001@pbx.acme-telecom.uz>
Call-ID: 77c0ffee@192.168.44.55
CSeq: 2 REGISTER
Contact: <sip:1001@192.168.44.55:5062;ob>;+sip.instance="<urn:uuid:00000000-1111-2222-3333-aabbccddeeff>"
User-Agent: Grandstream GXP1625 1.0.4.55
Authorization: Digest username="1001", realm="acme-telecom", nonce="NONCE-SECRET", uri="sip:pbx.acme-telecom.uz", \
response="RESPONSE-SECRET", algorithm=MD5, cnonce="CNONCE-SECRET", opaque="OPAQUE-SECRET", qop=auth, nc=00000001
X-Customer: Gulnora lives at Chilonzor 5
P-Asserted-Identity: "Gulnora" <tel:+998901234567>
Subject: about the salary
Expires: 3600
Content-Length: 0
"""
INVITE = """INVITE sip:+998901234567@pbx.acme-telecom.uz;user=phone SIP/2.0
Via: SIP/2.0/UDP [2001:db8:44::55]:5060;branch=z9hG4bK2
From: <sip:front-desk@198.51.100.77>;tag=2
To: <sip:+998901234567@pbx.acme-telecom.uz>
Call-ID: other
CSeq: 1 INVITE
Content-Type: application/sdp
Content-Length: 9

v=0
o=gulnora 1 1 IN IP4 192.168.44.55
s=Gulnora calls
i=private
c=IN IP4 192.168.44.55
t=0 0
m=audio 4000 RTP/SAVP 8
a=rtpmap:8 PCMA/8000
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:SRTP-SECRET
a=ice-pwd:ICE-SECRET
a=candidate:1 1 UDP 1 192.168.44.55 4000 typ host
"""
SECRETS = ("NONCE-SECRET", "RESPONSE-SECRET", "CNONCE-SECRET", "OPAQUE-SECRET", "SRTP-SECRET", "ICE-SECRET",
           "the-secret-key-of-this-installation-xyz", "db-pass-word-xyz", "very-secret-Password-1")  # fmt: skip
PERSONS = ("Gulnora", "Karimova", "gulnora", "+998901234567", "998901234567", "1001", "front-desk", "Chilonzor",
           "salary", "acme-telecom", "kitchen-laptop", "192.168.44.55", "198.51.100.77", "203.0.113.9",
           "2001:db8:44::55", "77c0ffee", "aabbccddeeff", "old.acme.example", "nodename-7",
           "gulnora@mail.example", "boss-user", "4242")  # fmt: skip


def contents(data: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(data)) as bundle:
        return {name: bundle.read(name).decode() for name in bundle.namelist()}


@override_settings(
    SECRET_KEY="the-secret-key-of-this-installation-xyz", SIP_DOMAIN="pbx.acme-telecom.uz",
    SIP_ALIASES=["old.acme.example"], EXTERNAL_IP="198.51.100.77", SIP_NODE="nodename-7",
)
class BundleTests(TestCase):
    def setUp(self):
        get_user_model().objects.create_superuser(
            "boss-user", email="gulnora@mail.example", password="very-secret-Password-1"
        )
        self.extension = make_extension("1001", "very-secret-Password-1", display_name="Gulnora Karimova")
        make_extension("front-desk", None)
        make_binding(self.extension, remote_host="203.0.113.9", user_agent="Grandstream GXP1625 1.0.4.55",
                     contact="sip:1001@192.168.44.55:5062", domain="old.acme.example", seconds_left=-60)
        now = timezone.now()
        SipProcess.objects.create(node="nodename-7", pid=1, started_at=now, beat_at=now, version="0",
                                  listening="udp and tcp 192.168.44.55:5060")
        messages = [asdict(WireMessage(1.0, sent, "UDP", "198.51.100.77:5060", "203.0.113.9:5062", 500, text))
                    for sent, text in ((False, REGISTER), (True, "SIP/2.0 403 Forbidden\nTo: <sip:1001@x.example>\n"))]
        Attempt.objects.create(
            extension=self.extension, number="1001", source="203.0.113.9", port=5062, transport="UDP",
            cause="wrong_password", first_at=now, last_at=now, user_agent="Grandstream GXP1625 1.0.4.55",
            asked={"from_uri": "sip:1001@pbx.acme-telecom.uz"}, messages=messages,
        )
        Attempt.objects.create(
            number="4242", source="2001:db8:44::55", port=5060, transport="TCP", cause="unknown_extension",
            first_at=now, last_at=now, messages=[asdict(WireMessage(2.0, False, "TCP", "[::1]:5060",
                                                                    "[2001:db8:44::55]:5060", 9, INVITE))],
        )
        CallTrace.objects.create(uniqueid="nodename-7-1", messages=[
            asdict(WireMessage(3.0, False, "UDP", "198.51.100.77:5060", "203.0.113.9:5062", 500, INVITE, "1001"))])
        WatchedMessage.objects.create(number="1001", at=now, message=asdict(
            WireMessage(4.0, False, "UDP", "198.51.100.77:5060", "203.0.113.9:5062", 500, REGISTER)))
        self.files = contents(make_bundle())
        self.whole = "\n".join(self.files.values())

    def test_no_secret_and_nobody_is_in_it(self):
        ha1s = list(DigestCredential.objects.values_list("ha1", flat=True))
        self.assertTrue(ha1s)
        found = [text for text in (*SECRETS, *PERSONS, *ha1s) if re.search(
            rf"(?<![\w.]){re.escape(text)}(?!\w)" if text.isdigit() else re.escape(text), self.whole
        )]
        self.assertEqual([], found, self.whole)

    def test_what_helps_is_in_it(self):
        self.assertIn("wrong_password", self.files["verdicts.txt"])
        self.assertIn("Grandstream GXP1625 1.0.4.55", self.files["ladders-of-failures.txt"])
        self.assertIn("Grandstream GXP1625 1.0.4.55", self.files["attempts.txt"])
        self.assertIn("SIP/2.0 403 Forbidden", self.files["ladders-of-failures.txt"])
        self.assertIn("CSeq: 2 REGISTER", self.files["ladders-of-failures.txt"])
        self.assertIn("a=rtpmap:8 PCMA/8000", self.files["ladders-of-calls.txt"])
        self.assertIn("SIP_PORT=", self.files["settings.txt"])
        self.assertIn("Django", self.files["versions.txt"])

    def test_what_was_looked_at_is_told_where_nothing_is_wrong_too(self):
        self.assertIn("OK  database: Database\n", self.files["server.txt"])
        self.assertIn("NOT SEEN  domain:", self.files["server.txt"])

    def test_faults_of_the_sound(self):
        make_extension("1002")
        write(ended(media=[heard("1001", "1002", 1500), heard("1002", "1001", 0)]))
        self.assertIn("[no_audio_one_way]", contents(make_bundle())["verdicts.txt"])

    @override_settings(ADMIN_NETS=["127.0.0.0/8", "::1", "203.0.113.0/24", "198.51.100.77", "2001:db8::7", "fc00::/7"])
    def test_networks(self):
        self.assertRegex(
            contents(make_bundle())["settings.txt"],
            r"ADMIN_NETS=127\.0\.0\.0/8,::1,ip-private-\d+/24,ip-\w+-\d+,ip-\w+-\d+,ip-private-\d+/7\n",
        )

    def test_the_same_phone_has_the_same_mask(self):
        number = re.search(r"From: .*<sip:(ext-\d+)@(host-\d+)>", self.files["ladders-of-failures.txt"])
        self.assertIn(f"== {number[1]}", self.files["verdicts.txt"])
        self.assertIn(f" {number[1]} ", self.files["attempts.txt"])
        self.assertIn(f"SIP_DOMAIN={number[2]}", self.files["settings.txt"])
        address = re.search(r"UDP (ip-\w+-\d+):5062 wrong_password", self.files["attempts.txt"])[1]
        self.assertIn(f"<-- {address}:5062", self.files["ladders-of-failures.txt"])
        self.assertIn("ip-private-", self.files["ladders-of-failures.txt"])  # that it was private explains much


class MaskTests(unittest.TestCase):
    def test_the_numbers_of_the_masks_themselves_stay(self):
        mask = Mask(["1", "2"])
        self.assertEqual("ext-1 calls ext-2 and ext-1", mask.text("1 calls 2 and 1"))

    def test_the_longer_of_two_words_and_only_whole_ones(self):
        mask = Mask(["1001"], [("Anna", "name"), ("Anna Karimova", "name"), ("+998 90 1001", "name"), ("☎☎", "name")])
        self.assertEqual(
            mask.text("ANNA KARIMOVA, Annabel, Anna; +998 90 1001, 10012 and 1001 ☎☎"),
            "name-2, Annabel, name-1; name-3, 10012 and ext-1 name-4",
        )

    def test_hostile_texts(self):
        mask = Mask(["1001"], [("Ali", "name")], ["Agent 1001 of Ali"])
        for text in ("\x00" * 50, "<" * 5000, "sip:" * 3000, "a." * 8000, "1:" * 8000, '"' * 5001, "[" * 5000,
                     "REGISTER sip:x\n" + "A" * 20000, ":" * 9000, "From: " + '"a" <' * 3000):  # fmt: skip
            mask.message(text)
            mask.text(text)
        self.assertEqual("Agent ext-1 of name-1", mask.text("Agent 1001 of Ali"))


class BundleOfARunningPbx:
    def test_the_command(self):
        number = self.new_extension()
        with Phone(self.pbx.server, number, "wrong-password", "pbx.test") as phone:
            self.assertEqual(403, phone.register().status)
        wait_until(lambda: self.pbx.store.rows("SELECT 1 AS one FROM diagnosis_attempt"), "the attempt to be written")
        path = self.pbx.directory / "bundle.zip"
        said = self.pbx.manage("supportbundle", "--output", str(path))
        self.assertIn("bundle.zip", said)
        self.assertEqual(0o600, Path(path).stat().st_mode & 0o777)
        files = contents(path.read_bytes())
        whole = "\n".join(files.values())
        self.assertIn("REGISTER sip:host-", files["ladders-of-failures.txt"])
        self.assertIn("wrong_password", files["verdicts.txt"])
        for secret in (PASSWORD, "pbx.test", "only-for-tests", str(self.pbx.directory)):
            self.assertNotIn(secret, whole)
        self.assertIsNone(re.search(rf"(?<![\w.]){number}(?!\w)", whole), whole)


class BundleOnSqlite(BundleOfARunningPbx, OnSqlite):
    pass


class BundleOnPostgres(BundleOfARunningPbx, OnPostgres):
    pass
