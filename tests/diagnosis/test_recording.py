"""From the wire to the rows: phones that fail leave evidence in the database of a running PBX."""

from __future__ import annotations

import json
import socket
from typing import Any

from tests.support.cases import PASSWORD, OnSqlite
from tests.support.phone import Phone
from tests.support.processes import wait_until

PATIENCE = 20.0


class Recording(OnSqlite):
    def phone(self, number: str, password: str = PASSWORD) -> Phone:
        phone = Phone(self.pbx.server, number, password, self.pbx.domain)
        self.addCleanup(phone.close)
        return phone

    def attempts(self, number: str) -> list[dict[str, Any]]:
        return self.pbx.store.rows("SELECT * FROM diagnosis_attempt WHERE number = %s ORDER BY id", number)

    def attempt(self, number: str, cause: str) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [row for row in self.attempts(number) if row["cause"] == cause]

        wait_until(found, f"{cause} of {number}", PATIENCE)
        return found()[0]

    def test_a_wrong_password_with_its_messages_and_no_secret(self):
        number = self.new_extension()
        phone = self.phone(number, "not-the-password")
        self.assertEqual(phone.register().status, 403)
        row = self.attempt(number, "wrong_password")
        messages = json.loads(row["messages"])
        self.assertEqual([message["text"].split("\n")[0][:16] for message in messages],
                         ["REGISTER sip:pbx", "SIP/2.0 401 Unau", "REGISTER sip:pbx", "SIP/2.0 403 Forb"])
        self.assertEqual(messages[0]["remote"], f"127.0.0.1:{phone.port}")
        self.assertIsNotNone(row["extension_id"])
        self.assertNotIn(phone.challenge.nonce, row["messages"] + row["asked"])

    def test_it_outlives_a_restart_and_goes_on_being_counted(self):
        number = self.new_extension()
        self.phone(number, "not-the-password").register()
        before = self.attempt(number, "wrong_password")["count"]
        self.pbx.kill9()
        self.pbx.start()
        self.phone(number, "not-the-password").register()
        wait_until(lambda: self.attempt(number, "wrong_password")["count"] > before, "another one counted", PATIENCE)
        self.assertEqual(len(self.attempts(number)), 1)

    def test_what_fails_just_before_the_end_is_written(self):
        number = self.new_extension()
        self.phone(number, "not-the-password").register()
        self.pbx.terminate()
        self.addCleanup(self.pbx.start)
        self.assertEqual(len(self.attempts(number)), 1)

    def test_a_phone_that_registers_leaves_nothing(self):
        number = self.new_extension()
        phone = self.phone(number)
        phone.register(), phone.register(), phone.unregister()
        self.phone("9" + number).register()
        self.attempt("9" + number, "unknown_extension")  # so that the writing has been and gone
        self.assertEqual(self.attempts(number), [])

    def test_a_phone_that_never_answers_the_challenge(self):
        number = self.new_extension()
        phone = self.phone(number)
        phone.ask("REGISTER", ["Contact: <sip:x@127.0.0.1>"])
        self.assertEqual(self.attempt(number, "challenge_unanswered")["count"], 1)

    def test_tls_on_the_port_of_plain_tcp(self):
        with socket.create_connection(self.pbx.server) as connection:
            connection.sendall(b"\x16\x03\x01\x00\xff\x01\x00\x00\xfb\x03\x03" + b"\0" * 32)
            connection.settimeout(PATIENCE)
            self.assertEqual(connection.recv(100), b"")
        self.assertEqual(self.attempt("", "wrong_transport")["source"], "127.0.0.1")

    def test_the_time_of_a_phone_that_went_and_came_back(self):
        number = self.new_extension()
        phone = self.phone(number)
        phone.register(), phone.unregister(), phone.register()

        def periods() -> list[dict[str, Any]]:
            return self.pbx.store.rows(
                "SELECT p.* FROM diagnosis_onlineperiod p JOIN extensions_extension e ON e.id = p.extension_id "
                "WHERE e.number = %s", number,
            )

        wait_until(periods, f"a period of {number}", PATIENCE)
        self.assertEqual([(row["ending"], row["source"]) for row in periods()],
                         [("signed_off", f"127.0.0.1:{phone.port}")])
