"""HMAC-SHA256 with a prepared key gives the bytes of RFC 2104."""

import hmac
from unittest import TestCase

from sipcore.protocol.mac import Mac


class MacTests(TestCase):
    def test_rfc_4231_case_2(self):
        self.assertEqual(
            Mac(b"Jefe").digest(b"what do ya want for nothing?").hex(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        )

    def test_the_same_as_the_standard_library_for_every_length_of_key(self):
        for length in (0, 1, 32, 63, 64, 65, 131):
            key = bytes(range(length))
            for data in (b"", b"x" * 55, b"y" * 200):
                self.assertEqual(Mac(key).digest(data), hmac.digest(key, data, "sha256"))
