"""A wrong setting is named at start, with its remedy, under an id that does not change."""

from __future__ import annotations

from django.core.checks import run_checks
from django.test import SimpleTestCase, override_settings

WRONG = {
    "pbx.E001": {"SIP_DOMAIN": "0.0.0.0"},
    "pbx.E002": {"SIP_DOMAIN": "sip:pbx.example.com:5060"},
    "pbx.E003": {"SIP_ALIASES": ["pbx.example.com", "other:5060"]},
    "pbx.E004": {"SIP_DIGEST_ALGORITHMS": ["MD5", "SHA-1"]},
    "pbx.E005": {"SIP_REALM": 'a"b'},
    "pbx.E006": {"EXTERNAL_IP": "203.0.113.5:5060"},
    "pbx.E007": {"LOCAL_NETS": ["192.168.0.0/16", "10.0.0.0/33"]},
    "pbx.E008": {"SIP_TRUSTED_PROXIES": ["proxy.example.com"]},
    "pbx.E009": {"SIP_HOST": "pbx.example.com"},
    "pbx.E010": {"SIP_PORT": 70000},
    "pbx.E011": {"SIP_MIN_EXPIRES": 7200},
    "pbx.E012": {"SIP_NONCE_LIFETIME": 5},
    "pbx.E013": {"SIP_STORE_WAIT": 0},
    "pbx.E014": {"SIP_INBOX_LIMIT": 0},
    "pbx.E015": {"SIP_KEEPALIVE_INTERVAL": 0},
    "pbx.E080": {"SIP_WORKERS": 0},
    "pbx.E017": {"SIP_EMERGENCY_NUMBERS": ["112", "sip:112"]},
    "pbx.E018": {"SIP_SESSION_EXPIRES": 60},
    "pbx.E019": {"SIP_MEDIA_TIMEOUT": 0},
    "pbx.E016": {"SIP_PORT": 8000, "WEB_PORT": 8000},
    "pbx.E020": {"WEB_PORT": 0},
    "pbx.E021": {"DEBUG": True, "WEB_HOST": "0.0.0.0"},
    "pbx.E022": {"CSRF_TRUSTED_ORIGINS": ["pbx.example.com"]},
    "pbx.E023": {"LANGUAGE_CODE": "de"},
    "pbx.E030": {"VAR_DIR": "/proc/nothing"},
    "pbx.E050": {"RTP_PORTS": "10000"},
    "pbx.E051": {"RTP_WORKERS": 0},
    "pbx.E052": {"RTPENGINE_URLS": ["udp:127.0.0.1:2223", "http://127.0.0.1:2223"]},
    "pbx.W009": {"SIP_HOST": "127.0.0.1,192.0.2.77"},
    "pbx.W001": {"SIP_DOMAIN": "127.0.0.1"},
    "pbx.W021": {"ALLOWED_HOSTS": ["*"], "WEB_HOST": "0.0.0.0"},
    "pbx.W022": {"WEB_HOST": "192.0.2.1"},
    "pbx.W031": {"SECRET_KEY": "short"},
}
RIGHT = [
    {"SIP_DOMAIN": "pbx.example.com"},
    {"SIP_DOMAIN": "203.0.113.5"},
    {"SIP_DOMAIN": "2001:db8::5"},
    {"SIP_DOMAIN": "[2001:db8::5]"},
    {"SIP_DOMAIN": "tel_1.local"},
    {"SIP_ALIASES": ["pbx", "192.0.2.9"]},
    {"SIP_DIGEST_ALGORITHMS": ["SHA-256", "MD5"]},
    {"SIP_REALM": "pbx.example.com"},
    {"EXTERNAL_IP": "home.example.net"},
    {"LOCAL_NETS": ["192.168.0.0/16", "fd00::/8", "10.1.2.3"]},
    {"SIP_HOST": "127.0.0.1, 127.0.0.2"},
    {"RTP_PORTS": "1024-1031"},
    {"RTP_PORTS": "65520-65535", "RTP_WORKERS": 2},
    {"RTPENGINE_URLS": ["udp:127.0.0.1:2223", "udp://media.example.com:2223", "[::1]:2223"]},
    {"WEB_HOST": "0.0.0.0", "WEB_HTTPS": True},
    {"DEBUG": True, "WEB_HOST": "::1"},
    {"SIP_WORKERS": 1},
]


def found(settings: dict) -> dict[str, object]:
    with override_settings(**settings):
        return {message.id: message for message in run_checks() if message.id.startswith("pbx.")}


class CheckTests(SimpleTestCase):
    def test_each_wrong_setting_is_named_with_its_remedy(self):
        for number, settings in WRONG.items():
            with self.subTest(id=number):
                messages = found(settings)
                self.assertIn(number, messages)
                self.assertTrue(any(name in messages[number].msg for name in settings), messages[number].msg)
                self.assertTrue(messages[number].hint)

    def test_right_settings_pass(self):
        usual = set(found({"DEBUG": False}))
        for settings in RIGHT:
            with self.subTest(**settings):
                self.assertEqual(usual, set(found({"DEBUG": False, **settings})))
