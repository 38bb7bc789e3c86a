"""Phones that have nothing wrong with them: exactly ``registered``, and not a word more."""

from __future__ import annotations

from typing import Any

from tests.support.baresip import Baresip
from tests.verdicts.case import Place


class OverTcp(Baresip):
    def account(self, password: str) -> str:
        return super().account(password).replace("transport=udp", "transport=tcp")


class HealthyPhones(Place):
    def test_baresip(self):
        with self.healthy("baresip") as fault:
            number = self.new_extension()
            self.start_baresip(self.host(), number).wait_registered()
            fault.is_named(number)

    def test_baresip_with_the_address_instead_of_the_domain(self):
        with self.healthy("baresip", "it knows the server's address only") as fault:
            number = self.new_extension()
            self.start_baresip(self.host(), number, domain=None).wait_registered()
            fault.is_named(number)

    def test_baresip_over_tcp(self):
        with self.healthy("baresip", "over TCP") as fault:
            number = self.new_extension()
            self.start_baresip(self.host(), number, kind=OverTcp).wait_registered()
            fault.is_named(number)

    def test_baresip_at_home(self):
        with self.healthy("baresip", "behind a router at home") as fault:
            number = self.new_extension()
            self.start_baresip(self.home(), number).wait_registered()
            fault.is_named(number)

    def test_baresip_on_mobile_data(self):
        with self.healthy("baresip", "behind a symmetric router, three refreshes long") as fault:
            number = self.new_extension()
            phone = self.start_baresip(self.home(symmetric=True, forgets=20), number, expires=8)
            phone.wait_registered()
            phone.program.wait_for(r"(?s)(200 OK.*){4}")
            fault.is_named(number)

    def test_linphone(self):
        with self.healthy("linphonec") as fault:
            number = self.new_extension()
            self.start_linphone(self.host(), number).wait_registered()
            fault.is_named(number)

    def test_linphone_over_tcp(self):
        with self.healthy("linphonec", "over TCP") as fault:
            number = self.new_extension()
            self.start_linphone(self.host(), number, transport="tcp").wait_registered()
            fault.is_named(number)

    def test_linphone_at_home(self):
        with self.healthy("linphonec", "behind a router at home: it takes over its public address") as fault:
            number = self.new_extension()
            self.start_linphone(self.home(), number).wait_registered()
            fault.is_named(number)

    def test_linphone_on_mobile_data(self):
        with self.healthy("linphonec", "behind a symmetric router") as fault:
            number = self.new_extension()
            self.start_linphone(self.home(symmetric=True), number).wait_registered()
            fault.is_named(number)

    def test_two_phones(self):
        with self.healthy("baresip, linphonec", "a desk phone and an app on one extension") as fault:
            number = self.new_extension()
            phones: list[Any] = [
                self.start_baresip(self.host(), number), self.start_linphone(self.home(), number)
            ]
            for phone in phones:
                phone.wait_registered()
            fault.is_named(number)

    def test_sipp(self):
        with self.healthy("sipp") as fault:
            number = self.new_extension()
            self.sipp(self.host(), "register", number, status="200").played()
            fault.is_named(number)

    def test_sipsak(self):
        with self.healthy("sipsak") as fault:
            number = self.new_extension()
            self.assertEqual(self.sipsak(self.host(), number), 0)
            fault.is_named(number)
