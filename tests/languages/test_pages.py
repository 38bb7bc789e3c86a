"""Every page of the admin in Uzbek and in Russian: what still reads as in English is a text that was forgotten."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from django.contrib.auth.models import User
from django.test import Client

from pbx.calls.words import CAUSES
from tests.admin_ui.cases import QuietCase
from tests.languages import office

NOT_TEXT = {"script", "style", "code", "pre", "bdi"}
ATTRIBUTES = ("title", "aria-label", "placeholder", "alt")
NAMES = re.compile(
    r"\S+@\S+|\[[0-9a-f:]+\]|Zoiper|Linphone|Grandstream|MicroSIP|Yealink|GXP1625|UDP|TCP|SIP|STUN|TOTP|O‘zbekcha|English|Contact|Call-ID"
    r"|Qabulxona|Ombor|Oʻtkir|Qo‘llab-quvvatlash|Dilnoza|Karimova|helper|root|silent|pbx|Busy Here|OK"
    r"|pbkdf2_sha256|md5|uniqueid|[Rr]ealm|NAT|ALG|[Tt]ransport|Port|sip:\S+"
)
WHOLE = re.compile(
    # fields of the apps, which stay as the apps show them
    r"Username / Login|Hostname or provider|Authentication (?:username|ID)|Outbound proxy|SIP transport|Use STUN|No"
    r"|Username|Password|Domain|Display name"
    # one word in both languages
    r"|Jitter|internet|Server"
    # codes
    rf"|{'|'.join(CAUSES)}|pbx-[\d.]+-\w*"
    # permissions are rows, made once and in English
    r"|[\w ]+ \| [\w ]+ \| Can [\w ]+"
    # fixed in Django
    r"|Search|True"
)


class VisibleTexts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.silent = 0

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in NOT_TEXT:
            self.silent += 1
        self.found += [given[name] for name in ATTRIBUTES if given.get(name)]
        self.found += [value for name, value in attrs if name.startswith("data-") and " " in (value or "")]
        if tag == "input" and given.get("type") in ("submit", "button", "reset"):
            self.found.append(given.get("value", ""))

    def handle_endtag(self, tag):
        if tag in NOT_TEXT:
            self.silent -= 1

    def handle_data(self, data):
        if not self.silent:
            self.found.append(data)


def texts_of(html: str) -> set[str]:
    reader = VisibleTexts()
    reader.feed(html)
    return {text for raw in reader.found if (text := " ".join(raw.split()))}


def words_left(text: str) -> list[str]:
    """What is a word, in a text that did not change with the language."""
    if WHOLE.fullmatch(text.strip("›: ")):
        return []
    return re.findall(r"[A-Za-z]{2,}", NAMES.sub(" ", text))


class PageTests(QuietCase):
    @classmethod
    def setUpTestData(cls):
        office.furnish()
        cls.addresses = office.addresses()

    def browser(self, language: str) -> Client:
        client = Client(headers={"accept-language": language})
        client.force_login(User.objects.get(username=office.ADMINISTRATOR))
        return client

    def compare(self, name: str, english: str, other: str, language: str) -> list[str]:
        same = texts_of(english) & texts_of(other)
        return [f"{language} {name}: {text}" for text in sorted(same) if words_left(text)]

    maxDiff = None

    def test_no_page_has_english_left(self):
        wrong = []
        reading = self.browser("en")
        for language in ("uz", "ru"):
            client = self.browser(language)
            for name, address in self.addresses.items():
                english, other = reading.get(address), client.get(address)
                self.assertEqual((200, 200), (english.status_code, other.status_code), address)
                self.assertIn(f'<html lang="{language}"', other.text)
                wrong += self.compare(name, english.text, other.text, language)
        self.assertEqual([], wrong)

    def test_what_only_a_post_shows(self):
        """Questions before something ends, refusals of a form, the card with its password, and the one-time link."""
        number = self.addresses["extension-1001"]
        form = {"number": "1001", "display_name": "Qabulxona", "max_devices": 5, "ring_seconds": 30, "enabled": "on"}
        listed = {"_selected_action": [number.split("/")[-3]]}
        posts = {
            "rename": (number, {**form, "number": "1099"}),
            "disable": (number, {**form, "enabled": ""}),
            "wrong form": (number, {**form, "number": "а б", "max_devices": 99, "ring_seconds": "x"}),
            "disable some": ("/admin/extensions/extension/", {**listed, "action": "disable"}),
            "forget some": ("/admin/extensions/extension/", {**listed, "action": "forget_devices"}),
            "delete some": ("/admin/extensions/extension/", {**listed, "action": "delete_selected"}),
            "no action": ("/admin/extensions/extension/", {"action": ""}),
            "weak password": (
                self.addresses["password"], {"password_from": "type", "password1": "test123456", "password2": "x"},
            ),
            "password": (self.addresses["password"], {"password_from": "generate"}),
            "link": (self.addresses["phone-link"], {}),
            "wrong user": (self.addresses["user"], {"username": ""}),
            "own password": (self.addresses["own-password"], {"old_password": "x", "new_password1": "1"}),
        }
        wrong = []
        reading = self.browser("en")
        for language in ("uz", "ru"):
            client = self.browser(language)
            for name, (address, data) in posts.items():
                english, other = (each.post(address, data, follow=True) for each in (reading, client))
                self.assertEqual((200, 200), (english.status_code, other.status_code), name)
                wrong += self.compare(name, english.text, other.text, language)
        self.assertEqual([], wrong)

    def test_pages_before_the_sign_in(self):
        wrong = []
        for language in ("uz", "ru"):
            for address in ("/admin/login/", "/phone/nothing-here/", "/nothing-here/"):
                english, other = (
                    Client(headers={"accept-language": each}).get(address, follow=True) for each in ("en", language)
                )
                wrong += self.compare(address, english.text, other.text, language)
        self.assertEqual([], wrong)

    def test_refusals(self):
        for language, sentence in (("uz", "Ruxsat yo‘q"), ("ru", "Нет доступа"), ("en", "Not allowed")):
            client = Client(headers={"accept-language": language})
            client.force_login(User.objects.get(username="helper"))
            answer = client.get("/admin/extensions/extension/add/")
            self.assertEqual(403, answer.status_code)
            self.assertIn(f"<h1>{sentence}</h1>", answer.text)

    def test_a_chosen_language_wins_over_the_browser_and_is_remembered(self):
        client = self.browser("en")
        answer = client.post("/i18n/setlang/", {"language": "uz", "next": "/admin/"}, follow=True)
        self.assertIn('<html lang="uz"', answer.text)
        self.assertIn("Ichki raqamlar", client.get("/admin/").text)
        self.assertGreater(client.cookies["django_language"]["max-age"], 300 * 86400)
