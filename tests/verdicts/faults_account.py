"""What is wrong with the account: in the PBX or as it was typed into the phone."""

from __future__ import annotations

from tests.support.cases import PASSWORD
from tests.verdicts.case import Place

WRONG = "mistyped"


class AccountFaults(Place):
    def test_wrong_password_baresip(self):
        with self.fault("wrong_password", "baresip", "a mistyped password") as fault:
            number = self.new_extension()
            self.start_baresip(self.host(), number, WRONG).wait_refused()
            fault.is_named(number)

    def test_wrong_password_linphone(self):
        with self.fault("wrong_password", "linphonec", "a mistyped password") as fault:
            number = self.new_extension()
            self.start_linphone(self.host(), number, WRONG).wait_password_asked()
            fault.is_named(number)

    def test_wrong_password_sipsak(self):
        with self.fault("wrong_password", "sipsak", "a mistyped password") as fault:
            number = self.new_extension()
            self.assertNotEqual(self.sipsak(self.host(), number, WRONG), 0)
            fault.is_named(number)

    def test_changed_password(self):
        with self.fault("wrong_password", "baresip", "the password was changed in the PBX, the phone has the old one"
                        ) as fault:
            number = self.new_extension()
            phone = self.start_baresip(self.host(), number, expires=12)
            phone.wait_registered()
            seen = len(phone.events)
            self.pbx.set_password(number, "another-Secret-9")
            phone.wait_refused(after=seen)
            self.pbx.wait_for_bindings(number, 0)
            fault.is_named(number)

    def test_unknown_extension(self):
        with self.fault("unknown_extension", "baresip", "a number that is none") as fault:
            number = "7" + self.new_extension()
            self.start_baresip(self.host(), number).wait_refused()
            fault.is_named(number)

    def test_unknown_extension_with_a_name(self):
        with self.fault("unknown_extension", "linphonec", "a name that is no number") as fault:
            self.start_linphone(self.host(), "front-desk").wait_password_asked()
            fault.is_named("front-desk")

    def test_disabled(self):
        with self.fault("disabled", "linphonec", "the extension is disabled") as fault:
            number = self.new_extension()
            self.administrate(f"e = Extension.objects.get(number='{number}'); e.enabled = False; e.save()")
            self.start_linphone(self.host(), number).wait_password_asked()
            fault.is_named(number)

    def test_disabled_while_registered(self):
        with self.fault("disabled", "baresip", "disabled while its phone was registered") as fault:
            number = self.new_extension()
            phone = self.start_baresip(self.host(), number, expires=12)
            phone.wait_registered()
            seen = len(phone.events)
            self.administrate(f"e = Extension.objects.get(number='{number}'); e.enabled = False; e.save()")
            phone.wait_refused(after=seen)
            fault.is_named(number)

    def test_no_credential(self):
        with self.fault("no_credential", "baresip", "the extension never got a password") as fault:
            number = self.new_extension()
            self.administrate(f"Extension(number='5{number}').save()")
            self.start_baresip(self.host(), f"5{number}").wait_refused()
            fault.is_named(f"5{number}")

    def test_no_ha1_row(self):
        with self.fault("no_credential", "linphonec", "its HA1 rows are missing") as fault:
            number = self.new_extension()
            self.administrate(f"Extension.objects.get(number='{number}').credentials.all().delete()")
            self.start_linphone(self.host(), number).wait_password_asked()
            fault.is_named(number)

    def test_renamed_number(self):
        with self.fault("stale_credential", "baresip", "the number was changed, the HA1 is the old number's") as fault:
            number = self.new_extension()
            self.administrate(f"e = Extension.objects.get(number='{number}'); e.number = '6{number}'; e.save()")
            self.start_baresip(self.host(), f"6{number}").wait_refused()
            fault.is_named(f"6{number}")

    def test_other_realm(self):
        with self.fault("stale_credential", "linphonec", "the HA1 was made for another realm") as fault:
            number = self.new_extension()
            self.execute("UPDATE extensions_digestcredential SET realm = 'old.example' WHERE username = %s", number)
            self.start_linphone(self.host(), number).wait_password_asked()
            fault.is_named(number)

    def test_wrong_realm(self):
        with self.fault("wrong_realm", "sipp", "the phone has a realm typed in, asterisk") as fault:
            number = self.new_extension()
            self.sipp(self.host(), "by_hand", number, **self.by_hand(number, realm="asterisk", status="401")).played()
            fault.is_named(number)

    def test_wrong_domain(self):
        with self.fault("wrong_domain", "baresip", "the domain of another provider") as fault:
            number = self.new_extension()
            self.start_baresip(self.host(), number, domain="sip.provider.example").wait_refused()
            fault.is_named(number)

    def test_third_party(self):
        with self.fault("alg_tampering", "sipp", "From was changed on the way") as fault:
            number = self.new_extension()
            words = self.by_hand(number, status="403", from_number="anonymous")
            self.sipp(self.host(), "by_hand", number, **words).played()
            fault.is_named(number)

    def test_unsupported_algorithm(self):
        with self.fault("unsupported_algorithm", "sipp", "it answers with SHA-512-256, which was not offered") as fault:
            number = self.new_extension()
            words = self.by_hand(number, algorithm="SHA-512-256", status="403")
            self.sipp(self.host(), "by_hand", number, **words).played()
            fault.is_named(number)

    def test_without_qop(self):
        with self.fault("unsupported_algorithm", "sipp", "a phone of RFC 2069, without qop") as fault:
            number = self.new_extension()
            words = self.by_hand(number, qop="", status="403")
            self.sipp(self.host(), "by_hand", number, **words).played()
            fault.is_named(number)

    def test_malformed(self):
        with self.fault("malformed", "sipp", "a Contact that is none") as fault:
            number = self.new_extension()
            words = self.by_hand(number, status="400", contact="<sip:0.0.0.0:0>", authorization="[field1]")
            self.sipp(self.host(), "by_hand", number, **words).played()
            fault.is_named(number)

    def test_malformed_before_the_password(self):
        with self.fault("malformed", "sipp", "a broken Expires and no password yet") as fault:
            number = self.new_extension()
            self.sipp(self.host(), "broken", number, status="400").played()
            fault.is_named(number)

    def test_expires_too_short(self):
        with self.fault("expires_too_short", "sipsak", "it asks for three seconds") as fault:
            number = self.new_extension()
            self.assertNotEqual(self.sipsak(self.host(), number, expires=3), 0)
            fault.is_named(number)

    def test_too_many_devices(self):
        with self.fault("too_many_devices", "baresip", "a second phone on an extension for one") as fault:
            number = self.new_extension()
            self.administrate(f"e = Extension.objects.get(number='{number}'); e.max_devices = 1; e.save()")
            first = self.start_baresip(self.host(), number)
            first.wait_registered()
            self.start_baresip(self.host(), number).wait_refused()
            told = fault.is_named(number)
            self.assertIn("registered", [verdict["code"] for verdict in told["verdicts"]])

    def test_guessed_at(self):
        with self.fault(("registered", "guessed_at"), "baresip, sipp", "a stranger guesses beside a healthy phone"
                        ) as fault:
            number = self.new_extension()
            self.start_baresip(self.host(), number).wait_registered()
            stranger = self.host()
            for port in (5062, 5063):
                self.sipp(stranger, "register", number, "guess", port=port, status="403").played()
            fault.is_named(number)

    def test_cured(self):
        with self.healthy("baresip", "a mistyped password, then the right one") as fault:
            number = self.new_extension()
            phone = self.start_baresip(self.host(), number, WRONG)
            phone.wait_refused()
            phone.switch_off_account()
            seen = len(phone.events)
            phone.type_new_password(PASSWORD)
            phone.wait_registered(after=seen)
            fault.is_named(number)

    def by_hand(self, number: str, *, realm: str = "[$realm]", algorithm: str = "MD5", qop: str = "auth",
                **more: str) -> dict[str, str]:
        """An Authorization of wrong form; its response is that of nobody."""
        counted = f', qop={qop}, cnonce="f00d", nc=00000001' if qop else ""
        return {
            "from_number": number,
            "authorization": (
                f'Authorization: Digest username="{number}", realm="{realm}", nonce="[$nonce]", '
                f'uri="sip:{self.pbx.domain}", response="{"0" * 32}", algorithm={algorithm}{counted}'
            ),
            **more,
        }
