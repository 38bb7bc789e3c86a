"""NAT for real: phones behind routers that masquerade them, in network namespaces, call each other with sound.

Two kinds of router: one that keeps a phone's port for all destinations (most homes), and one that gives another port
for each (symmetric: mobile networks, many offices). Both forget a UDP mapping after 30 seconds. The phones behind the
two have the same private address and the same ports."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from tests.support.baresip import Baresip
from tests.support.calling import LOW, MIDDLE, CallCase, tone
from tests.support.cases import PASSWORD, OnSqlite, PbxCase
from tests.support.media_engines import OnOurRelay
from tests.support.network_namespaces import Networks
from tests.support.processes import wait_until

PRIVATE = "192.168.77.50"
REMEMBERED = 30  # seconds


class Places(PbxCase):
    """``server_for``: what the phones of each place are told as their server."""

    networks: ClassVar[Networks]
    hosts: ClassVar[dict[str, tuple[str, str]]]  # place: namespace, address
    server_for: ClassVar[dict[str, str]]

    @classmethod
    def setUpClass(cls) -> None:
        cls.networks = Networks()
        cls.addClassCleanup(cls.networks.close)
        cls.internet = cls.networks.switch("internet")
        cls.hosts, cls.server_for = {}, {}
        cls.build_office()
        cls.build_home("home", "203.0.113.2")
        cls.build_home("mobile", "203.0.113.3", symmetric=True)
        super().setUpClass()

    @classmethod
    def build_office(cls) -> None:
        """The server's place, and that of ``office``, the phone beside it."""
        raise NotImplementedError

    @classmethod
    def build_home(cls, place: str, outside: str, *, symmetric: bool = False) -> Any:
        """A place behind a router of its own. The router."""
        switch = cls.networks.switch(f"{place}-lan")
        router = cls.networks.router(
            f"{place}-nat", cls.internet, f"{outside}/24", switch, "192.168.77.1/24", symmetric=symmetric,
            forgets=REMEMBERED,
        )
        namespace = cls.networks.host(f"{place}-phone", switch, f"{PRIVATE}/24", "192.168.77.1")
        cls.hosts[place] = namespace, PRIVATE
        return router

    def phone(self, place: str, says: int, **options) -> Baresip:
        namespace, address = self.hosts[place]
        server = (self.server_for.get(place, self.server_for[""]), self.pbx.port)
        phone = Baresip(
            server, options.pop("number", None) or self.new_extension(), PASSWORD, domain=self.pbx.domain,
            plays=tone(says), namespace=namespace, address=address, **options,
        )
        self.at_end.callback(phone.stop)
        phone.wait_registered()
        return phone


class ServerWithPublicAddress(Places):
    """And the phone beside it has one, too."""

    @classmethod
    def build_office(cls) -> None:
        namespace = cls.networks.host("server", cls.internet, "203.0.113.10/24")
        cls.place = {"namespace": namespace, "host": "203.0.113.10", "port": 5060}
        cls.hosts["office"] = cls.networks.host("office", cls.internet, "203.0.113.20/24"), "203.0.113.20"
        cls.server_for = {"": "203.0.113.10"}


class ServerBehindItsRouter(Places):
    """The office's router forwards SIP and the ports of the sound; outside the server is known by another address."""

    @classmethod
    def build_office(cls) -> None:
        first, last = cls.rtp_range
        office = cls.networks.switch("office-lan")
        cls.networks.router(
            "office-nat", cls.internet, "203.0.113.1/24", office, "10.20.0.1/24", forgets=REMEMBERED,
            forwards=[("udp", f"{{ 5060, {first}-{last} }}"), ("tcp", "5060")], to="10.20.0.10",
        )
        namespace = cls.networks.host("server", office, "10.20.0.10/24", "10.20.0.1")
        cls.place = {"namespace": namespace, "host": "0.0.0.0", "port": 5060}
        cls.hosts["office"] = cls.networks.host("office", office, "10.20.0.20/24", "10.20.0.1"), "10.20.0.20"
        cls.server_for = {"": "203.0.113.1", "office": "10.20.0.10"}
        cls.settings = {**cls.settings, "EXTERNAL_IP": "203.0.113.1", "LOCAL_NETS": "10.20.0.0/24"}


class EveryDirection(CallCase, Places):
    """One call from each place to each."""

    def expect_call(self, caller: str, callee: str) -> None:
        ann, ben = self.phone(caller, LOW), self.phone(callee, MIDDLE)
        ann.dial(ben.number)
        ben.answer_next()
        self.expect_talk(ann, LOW, ben, MIDDLE)
        ben.command("hold")
        ann.ear.expect_silence()
        ben.command("resume")
        self.expect_talk(ann, LOW, ben, MIDDLE)
        ben.command("hangup")
        ann.wait_event("CALL_CLOSED")
        record = self.record(ann.number, ben.number)
        self.assertEqual((*record.outcome, record.hung_up_by), ("ANSWERED", "normal", "callee"))
        self.assertEqual(sum(figures["foreign_packets"] for figures in record.media), 0)

    def test_office_to_home(self):
        self.expect_call("office", "home")

    def test_home_to_office(self):
        self.expect_call("home", "office")

    def test_office_to_mobile(self):
        self.expect_call("office", "mobile")

    def test_mobile_to_office(self):
        self.expect_call("mobile", "office")

    def test_home_to_mobile(self):
        self.expect_call("home", "mobile")

    def test_mobile_to_home(self):
        self.expect_call("mobile", "home")

    def test_two_phones_behind_one_router(self):
        self.expect_call("home", "home")
        self.expect_call("mobile", "mobile")

    def test_two_phones_with_the_same_private_address_and_ports(self):
        ports = {"sip_port": 5062, "rtp_ports": "16384-16390"}
        ann, ben = self.phone("home", LOW, **ports), self.phone("mobile", MIDDLE, **ports)
        for caller, callee in ((ann, ben), (ben, ann)):
            seen = len(callee.events)
            caller.dial(callee.number)
            callee.answer_next(seen)
            self.expect_talk(ann, LOW, ben, MIDDLE)
            caller.command("hangup")
            callee.wait_event("CALL_CLOSED", after=seen)

    def test_echo_behind_a_symmetric_router(self):
        ann = self.phone("mobile", LOW)
        ann.dial("*43")
        ann.ear.wait_tone(LOW)
        ann.command("hangup")


class EveryDirectionToPublicServer(EveryDirection, ServerWithPublicAddress, OnOurRelay, OnSqlite):
    settings = {"SIP_SESSION_EXPIRES": "90", "SIP_MEDIA_TIMEOUT": "9"}
    at_once = 8

    def test_a_call_arrives_after_90_seconds_of_silence_behind_a_router_that_forgets_after_30(self):
        ann = self.phone("office", LOW)
        homes = [self.phone(place, MIDDLE, expires=3600) for place in ("home", "mobile")]
        time.sleep(90)
        for ben in homes:
            self.assertEqual(len(ben.registers), 2, "it was not silent: it has registered again")
            seen = len(ann.events)
            ann.dial(ben.number)
            ben.answer_next()
            self.expect_talk(ann, LOW, ben, MIDDLE)
            ann.command("hangup")
            ann.wait_event("CALL_CLOSED", after=seen)

    def test_a_phone_that_vanishes_ends_the_call_by_its_silence(self):
        router = self.build_home("gone", "203.0.113.4")
        ann, ben = self.phone("office", LOW), self.phone("gone", MIDDLE)
        ann.dial(ben.number)
        ben.answer_next()
        self.expect_talk(ann, LOW, ben, MIDDLE)
        self.networks.unplug(router.namespace, "wan")
        ann.wait_event("CALL_CLOSED", 60)
        self.assertEqual(self.record(ann.number, ben.number).outcome, ("ANSWERED", "media_timeout"))

    def test_a_phone_that_vanishes_while_it_holds_the_call_ends_it_by_the_session_timer(self):
        router = self.build_home("lost", "203.0.113.5")
        ann, ben = self.phone("office", LOW), self.phone("lost", MIDDLE)
        ann.dial(ben.number)
        ben.answer_next()
        self.expect_talk(ann, LOW, ben, MIDDLE)
        ben.command("hold")
        ann.ear.expect_silence()
        self.networks.unplug(router.namespace, "wan")
        ann.wait_event("CALL_CLOSED", 90)
        self.assertEqual(self.record(ann.number, ben.number).outcome, ("ANSWERED", "session_expired"))


class EveryDirectionToServerBehindItsRouter(EveryDirection, ServerBehindItsRouter, OnOurRelay, OnSqlite):
    settings = {"SIP_MIN_EXPIRES": "10"}

    def test_a_phone_that_moves_and_registers_from_there_keeps_its_call(self):
        router = self.build_home("walk", "203.0.113.6")
        ann, ben = self.phone("office", LOW), self.phone("walk", MIDDLE, expires=12)
        ann.dial(ben.number)
        ben.answer_next()
        self.expect_talk(ann, LOW, ben, MIDDLE)
        router.move("203.0.113.6/24", "203.0.113.16/24")
        wait_until(
            lambda: [row["remote_host"] for row in self.pbx.bindings(ben.number)] == ["203.0.113.16"],
            "its registration from the new address",
        )
        ben.command("reinvite")
        self.expect_talk(ann, LOW, ben, MIDDLE)
        ann.command("hangup")
        ben.wait_event("CALL_CLOSED")
        self.assertEqual(self.record(ann.number, ben.number).outcome, ("ANSWERED", "normal"))

    def test_a_phone_that_moves_and_speaks_first_in_its_call_keeps_it(self):
        router = self.build_home("train", "203.0.113.7", symmetric=True)
        ann, ben = self.phone("train", LOW), self.phone("home", MIDDLE)
        ann.dial(ben.number)
        ben.answer_next()
        self.expect_talk(ann, LOW, ben, MIDDLE)
        router.move("203.0.113.7/24", "203.0.113.17/24")
        ann.command("reinvite")
        self.expect_talk(ann, LOW, ben, MIDDLE)
        router.move("203.0.113.17/24", "203.0.113.27/24")
        ann.command("hangup")
        ben.wait_event("CALL_CLOSED")
        record = self.record(ann.number, ben.number)
        self.assertEqual((*record.outcome, record.hung_up_by), ("ANSWERED", "normal", "caller"))


del EveryDirection, Places, ServerWithPublicAddress, ServerBehindItsRouter  # the loader would take them for cases
