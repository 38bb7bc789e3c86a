"""Calls that go wrong, and one of each kind that does not."""

from __future__ import annotations

from typing import Any

from tests.support.baresip import Baresip
from tests.support.caller import Caller, UdpWire
from tests.support.calling import LOW, MIDDLE
from tests.support.cases import PASSWORD
from tests.support.network_namespaces import inside, run
from tests.support.processes import wait_until
from tests.verdicts.case import SERVER, SIP_PORT, Host, Place

RTP = "16384-32766"
"""The ports of sound of the phones here, for the firewalls in front of them."""
TALK = 4.0
"""Seconds of packets after which missing sound means something."""


class CallFaults(Place):
    settings = {**Place.settings, "SIP_MEDIA_TIMEOUT": "30"}

    def phone(self, says: int | None = None, host: Host | None = None, **options: Any) -> Baresip:
        options.setdefault("rtp_ports", RTP)
        phone = self.start_baresip(
            host or self.host(), options.pop("number", "") or self.new_extension(), says=says, **options
        )
        phone.wait_registered()
        return phone

    def uniqueid(self, src: str, dst: str) -> str:
        return self.record(src, dst, 60).uniqueid

    def talk(self, ann: Baresip, ben: Baresip, seconds: float = TALK) -> str:
        """The call's ID, once it has ended."""
        ann.dial(ben.number)
        ben.answer_next()
        ann.wait_event("CALL_ESTABLISHED")
        ann.program.wait_for(rf"\[0:00:0{seconds + 1:.0f}\] audio=")
        ann.command("hangup")
        return self.uniqueid(ann.number, ben.number)

    def test_healthy_call(self):
        with self.fault("normal", "baresip", "two people talk and hang up", exact=True) as fault:
            ann, ben = self.phone(LOW), self.phone(MIDDLE)
            told = fault.is_named("--call", self.talk(ann, ben))
            self.assertEqual([verdict["severity"] for verdict in told["verdicts"]], ["ok"])

    def test_healthy_call_behind_routers(self):
        with self.fault("normal", "baresip", "both behind routers, one of them symmetric", exact=True) as fault:
            ann, ben = self.phone(LOW, self.home()), self.phone(MIDDLE, self.home(symmetric=True))
            fault.is_named("--call", self.talk(ann, ben))

    def test_healthy_call_leaves_both_numbers_healthy(self):
        with self.healthy("baresip", "registered, and has talked") as fault:
            ann, ben = self.phone(LOW), self.phone(MIDDLE)
            self.talk(ann, ben)
            fault.is_named(ann.number)

    def test_no_audio_one_way(self):
        with self.fault("no_audio_one_way", "baresip", "a firewall drops the sound that one phone sends") as fault:
            host = self.host()
            self.firewall(host.namespace, f"out udp sport {RTP} drop")
            ann, ben = self.phone(LOW), self.phone(MIDDLE, host)
            fault.is_named("--call", self.talk(ann, ben))

    def test_no_audio_one_way_is_told_of_the_number_too(self):
        with self.fault(("registered", "no_audio_one_way"), "baresip", "the same, asked for the number") as fault:
            host = self.host()
            self.firewall(host.namespace, f"out udp sport {RTP} drop")
            ann, ben = self.phone(LOW), self.phone(MIDDLE, host)
            self.talk(ann, ben)
            fault.is_named(ben.number)

    def test_no_audio(self):
        with self.fault("no_audio", "baresip", "firewalls drop the sound that both phones send") as fault:
            phones = []
            for tone in (LOW, MIDDLE):
                host = self.host()
                self.firewall(host.namespace, f"out udp sport {RTP} drop")
                phones.append(self.phone(tone, host))
            fault.is_named("--call", self.talk(*phones))

    def test_media_from_elsewhere(self):
        with self.fault("media_from_elsewhere", "baresip", "a router sends the sound from its second address") as fault:
            host, second = self.host(), self.public_address()
            run("ip", "-n", host.namespace, "address", "add", f"{second}/24", "dev", "lan")
            run("ip", "netns", "exec", host.namespace, "nft", "-f", "-", text_in=(
                "add table ip elsewhere\n"
                "add chain ip elsewhere out { type nat hook postrouting priority srcnat; }\n"
                f"add rule ip elsewhere out udp sport {RTP} snat to {second}\n"
            ))
            ann, ben = self.phone(LOW), self.phone(MIDDLE, host)
            fault.is_named("--call", self.talk(ann, ben))

    def test_ack_lost(self):
        with self.fault("ack_lost", "baresip", "a helper in the router eats every ACK") as fault:
            host = self.home()
            # The first four bytes of the message: "ACK ".
            self.firewall(host.router.namespace, f"through udp dport {SIP_PORT} @th,64,32 0x41434b20 drop")
            ann, ben = self.phone(LOW, host), self.phone(MIDDLE)
            ann.dial(ben.number)
            ben.answer_next()
            ann.wait_event("CALL_CLOSED", 60)
            fault.is_named("--call", self.uniqueid(ann.number, ben.number))

    def test_fragmented(self):
        with self.fault("fragmented", "baresip", "a router drops the fragments of a large INVITE") as fault:
            host = self.host()
            # Before the kernel puts them together again.
            run("ip", "netns", "exec", host.namespace, "nft", "-f", "-", text_in=(
                "add table ip whole\n"
                "add chain ip whole in { type filter hook prerouting priority -450; }\n"
                "add rule ip whole in ip frag-off & 0x3fff != 0 drop\n"
            ))
            ben = self.phone(MIDDLE, host)
            self.administrate(f"e = Extension.objects.get(number='{ben.number}'); e.ring_seconds = 6; e.save()")
            ann = self.wire_phone()
            types = range(96, 128)  # as a phone with every codec in every rate
            offer = ann.sdp(codecs=" ".join(["0", "8", *map(str, types)])) + b"".join(
                b"a=rtpmap:%d opus/48000/2\r\na=fmtp:%d maxplaybackrate=%d;useinbandfec=1\r\n" % (n, n, 8000 + n)
                for n in types
            )
            call = ann.invite(ben.number, offer)
            self.assertGreaterEqual(call.final(60).status, 400)
            fault.is_named("--call", self.uniqueid(ann.number, ben.number))

    def test_nat_keepalive_lost_of_a_phone_that_crashed(self):
        with self.fault("nat_keepalive_lost", "baresip", "killed, without any router; and one call to it") as fault:
            host = self.host()
            ben = self.phone(MIDDLE, host, expires=3600)
            self.administrate(f"e = Extension.objects.get(number='{ben.number}'); e.ring_seconds = 6; e.save()")
            ben.program.kill()
            ann = self.wire_phone()
            self.assertGreaterEqual(ann.invite(ben.number, ann.sdp()).final(60).status, 400)
            self.assertTrue(self.record(ann.number, ben.number, 60).legs[0]["silent"])
            fault.is_named(ben.number)

    def wire_phone(self) -> Caller:
        host, number = self.host(), self.new_extension()
        with inside(host.namespace):
            wire = UdpWire(host.address, SIP_PORT)
        phone = Caller(wire, (SERVER, SIP_PORT), number, PASSWORD, self.pbx.domain)
        self.at_end.callback(phone.close)
        phone.register()
        return phone

    def test_codec_mismatch(self):
        with self.fault("codec_mismatch", "baresip", "one phone has only A-law, the other only mu-law") as fault:
            ann = self.phone(options=";audio_codecs=PCMA/8000/1")
            ben = self.phone(options=";audio_codecs=PCMU/8000/1")
            ann.dial(ben.number)
            ann.wait_event("CALL_CLOSED")
            fault.is_named("--call", self.uniqueid(ann.number, ben.number))

    def test_busy(self):
        with self.fault("busy", "baresip", "somebody who is talking is called") as fault:
            ann, ben, carl = self.phone(LOW), self.phone(MIDDLE, calls_at_once=1), self.phone(LOW)
            ann.dial(ben.number)
            ben.answer_next()
            ann.wait_event("CALL_ESTABLISHED")
            carl.dial(ben.number)
            carl.wait_event("CALL_CLOSED")
            fault.is_named("--call", self.uniqueid(carl.number, ben.number))

    def test_no_answer(self):
        with self.fault("no_answer", "linphonec", "it rings and nobody answers") as fault:
            ann, number = self.phone(), self.new_extension()
            self.administrate(f"e = Extension.objects.get(number='{number}'); e.ring_seconds = 5; e.save()")
            ben = self.start_linphone(self.host(), number, route=True)
            ben.wait_registered()
            ann.dial(number)
            ben.wait_ringing()
            ann.wait_event("CALL_CLOSED")
            fault.is_named("--call", self.uniqueid(ann.number, number))

    def test_not_registered(self):
        with self.fault("not_registered", "baresip", "the other phone is off") as fault:
            ann, number = self.phone(), self.new_extension()
            ann.dial(number)
            ann.wait_event("CALL_CLOSED")
            fault.is_named("--call", self.uniqueid(ann.number, number))

    def test_declined(self):
        with self.fault("declined", "linphonec", "the other person declines") as fault:
            ann, number = self.phone(), self.new_extension()
            ben = self.start_linphone(self.host(), number, route=True)
            ben.wait_registered()
            ann.dial(number)
            ben.wait_ringing()
            ben.say("terminate")
            ann.wait_event("CALL_CLOSED")
            fault.is_named("--call", self.uniqueid(ann.number, number))

    def test_call_is_found_by_command(self):
        """Administrators copy the ID from ``manage.py calls``."""
        ann, ben = self.phone(LOW), self.phone(MIDDLE)
        ann.dial(ben.number)
        ben.answer_next()
        ann.wait_event("CALL_ESTABLISHED")

        def listed() -> str:
            _status, output, _complaints = self.command("calls")
            return next((line.split()[0] for line in output.splitlines() if ann.number in line), "")

        uniqueid = wait_until(listed, "the call to be listed", pause=0.5)
        told = self.why("--call", uniqueid)
        self.assertTrue(all(verdict["severity"] in ("ok", "info") for verdict in told["verdicts"]), told)
        ann.command("hangup")
