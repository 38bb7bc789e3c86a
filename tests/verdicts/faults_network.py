"""What the way does to a phone: firewalls, routers that forget or change, helpers that help too much."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from tests.support.caller import Caller, UdpWire
from tests.support.network_namespaces import inside, run
from tests.support.processes import wait_until
from tests.verdicts.case import SIP_PORT, Host, Place
from tests.verdicts.stun import StunServer, public_address


class NetworkFaults(Place):
    def test_reply_lost(self):
        with self.fault("reply_lost", "baresip", "a firewall at the phone drops what the PBX answers") as fault:
            number, host = self.new_extension(), self.host()
            self.firewall(host.namespace, f"in udp sport {SIP_PORT} drop")
            self.start_baresip(host, number)
            fault.is_named(number)

    def test_reply_lost_behind_a_router(self):
        with self.fault("reply_lost", "linphonec", "the router at home lets no answer in") as fault:
            number, host = self.new_extension(), self.home()
            self.firewall(host.router.namespace, f"through udp sport {SIP_PORT} drop")
            self.start_linphone(host, number)
            fault.is_named(number)

    def test_challenge_unanswered(self):
        with self.fault("challenge_unanswered", "linphonec", "no password is typed in") as fault:
            number = self.new_extension()
            self.start_linphone(self.host(), number, "").wait_password_asked()
            fault.is_named(number)

    def test_challenge_unanswered_by_a_phone_that_begins_anew(self):
        with self.fault("challenge_unanswered", "sipp", "it asks without credentials again and again") as fault:
            number, host = self.new_extension(), self.host()
            for port in (5060, 5061, 5062):
                self.sipp(host, "without_credentials", number, port=port, call_id="%u-forgetful").played()
            fault.is_named(number)

    def test_nonce_loop(self):
        with self.fault("nonce_loop", "baresip", "a router with two public addresses takes them in turn") as fault:
            number = self.new_extension()
            self.start_baresip(self.home_with_two_addresses(), number)
            fault.is_named(number)

    def home_with_two_addresses(self) -> Host:
        """Its router changes the public address from packet to packet, without any memory."""
        role, first, second = next(self._roles), self.public_address(), self.public_address()
        lan = self.networks.switch(f"s{role}")
        router = self.networks.namespace(f"r{role}")
        self.networks.plug(router, "wan", self.internet, f"{first}/24")
        run("ip", "-n", router, "address", "add", f"{second}/24", "dev", "wan")
        self.networks.plug(router, "lan", lan, "192.168.77.1/24")
        host = self.networks.host(f"p{role}", lan, "192.168.77.50/24", "192.168.77.1")
        run("ip", "netns", "exec", router, "nft", "-f", "-", text_in=(
            "add table ip turns\n"
            "add chain ip turns inward { type filter hook prerouting priority raw; }\n"
            "add chain ip turns outward { type filter hook postrouting priority srcnat; }\n"
            'add rule ip turns inward iifname "wan" udp sport 5060 ip daddr set 192.168.77.50\n'
            'add rule ip turns outward oifname "wan" ip saddr 192.168.77.50 '
            f"ip saddr set numgen inc mod 2 map {{ 0 : {first}, 1 : {second} }}\n"
        ))
        with inside(router):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        return Host(host, "192.168.77.50")

    def test_nat_keepalive_lost(self):
        with self.fault("nat_keepalive_lost", "baresip", "a router that forgets after two seconds") as fault:
            number = self.new_extension()
            self.start_baresip(self.home(forgets=2), number, expires=3600).wait_registered()
            self.wait_silent(number)
            fault.is_named(number)

    def test_nat_keepalive_lost_when_the_router_gets_another_address(self):
        with self.fault("nat_keepalive_lost", "baresip", "the provider gave the router another address") as fault:
            number, host = self.new_extension(), self.home()
            self.start_baresip(host, number, expires=3600).wait_registered()
            host.router.move(f"{host.outside}/24", f"{self.public_address()}/24")
            self.wait_silent(number)
            fault.is_named(number)

    def wait_silent(self, number: str) -> None:
        wait_until(
            lambda: any(row["unreachable_since"] for row in self.pbx.bindings(number)), f"{number} to be silent", 60,
            pause=0.5,
        )

    def test_alg_on_the_way_of_a_phone_that_registers(self):
        with self.fault("registered", "baresip", "the router's SIP helper rewrites Contact and Via, harmlessly"
                        ) as fault:
            number, host = self.new_extension(), self.home()
            sip_helper(host.router.namespace)
            self.start_baresip(host, number).wait_registered()
            (binding,) = self.pbx.bindings(number)
            self.assertNotIn("192.168", binding["contact"], "the helper did nothing")
            fault.is_named(number)

    def test_stun(self):
        with self.fault(("registered", "stun_enabled"), "sipp",
                        "its STUN server told a port that its symmetric router uses for nobody else") as fault:
            number, host = self.new_extension(), self.home(symmetric=True)
            place = self.host()
            with StunServer(place):
                public, port = public_address(host, SIP_PORT, place)
            self.sipp(host, "register", number, contact=f"<sip:{number}@{public}:{port}>", status="200").played()
            (binding,) = self.pbx.bindings(number)
            self.assertEqual(binding["remote_host"], public)
            self.assertNotEqual(binding["remote_port"], port)
            self.stay_reachable(host, number)
            fault.is_named(number)

    def stay_reachable(self, host: Host, number: str) -> None:
        """In sipp's place, which ends with its scenario: the phone goes on answering what keeps its way open."""
        with inside(host.namespace):
            wire = UdpWire(host.address, SIP_PORT)
        phone, closing = Caller(wire, self.server, number, None, self.pbx.domain), threading.Event()

        def answer() -> None:
            while not closing.is_set():
                phone.pump(0.2)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        for step in (phone.close, thread.join, closing.set):  # the last one first
            self.at_end.callback(step)

    def test_expired(self):
        with self.fault("expired", "baresip", "killed, as an app that the telephone put to sleep") as fault:
            number = self.new_extension()
            phone = self.start_baresip(self.host(), number, expires=8)
            phone.wait_registered()
            phone.program.kill()
            self.pbx.wait_for_bindings(number, 0)
            fault.is_named(number)

    def test_signed_off(self):
        with self.fault("signed_off", "baresip", "closed by its owner") as fault:
            number = self.new_extension()
            phone = self.start_baresip(self.host(), number)
            phone.wait_registered()
            phone.quit()
            self.pbx.wait_for_bindings(number, 0)
            fault.is_named(number)

    def test_signed_off_linphone(self):
        with self.fault("signed_off", "linphonec", "closed by its owner") as fault:
            number = self.new_extension()
            phone = self.start_linphone(self.host(), number)
            phone.wait_registered()
            phone.quit()
            self.pbx.wait_for_bindings(number, 0)
            fault.is_named(number)

    def test_blocked(self):
        with self.fault("blocked", "sipp, baresip", "somebody at its address has guessed at many numbers") as fault:
            number, host = self.own_pbx(self.host()), self.home()
            self.guess(host)
            self.start_baresip(host, number)
            fault.is_named(number)

    def guess(self, host: Host) -> None:
        """As a scanner does: one number after the other, until nothing answers any more."""
        for guess in range(40):
            phone = self.sipp(host, "register", str(8000 + guess), "guess", port=6000 + guess, status="403")
            with contextlib.suppress(AssertionError):
                phone.played(3)
                continue
            return
        raise AssertionError("nobody stopped the guesser")

    def test_rate_limited(self):
        with self.fault("rate_limited", "sipp", "the same old password again and again") as fault:
            number, host = self.new_extension(), self.host()
            for again in range(40):
                phone = self.sipp(host, "register", number, "old-password", port=6000 + again, status="403")
                try:
                    phone.played(3)
                except AssertionError:
                    break
            else:
                raise AssertionError("it was never slowed")
            fault.is_named(number)


def sip_helper(router: str) -> None:
    """The kernel's own SIP helper (ALG), as most home routers have it."""
    run("ip", "netns", "exec", router, "nft", "-f", "-", text_in=(
        "table ip alg {\n"
        ' ct helper sip { type "sip" protocol udp; }\n'
        " chain helped { type filter hook prerouting priority filter; udp dport 5060 ct helper set \"sip\"; }\n"
        "}\n"
    ))


