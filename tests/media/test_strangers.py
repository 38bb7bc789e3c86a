"""Nobody can listen in, speak in, or make the relay send at somebody (hardening rows 26-28)."""

import struct
import time

from tests.media.engines import EngineCase, OnOurRelay, OnRtpEngine
from tests.media.phones import Phone, deaf, empty, hears, packets, rtp
from tests.support.processes import wait_until


def only(found: list[bytes], ssrc: int) -> bool:
    return all(packet[8:12] == struct.pack("!I", ssrc) for packet in found)


class StrangerTests:
    """What holds for both engines, with the flags that the client chooses for phones on the server's own network."""

    def test_a_stranger_hears_nothing_and_is_not_heard(self: EngineCase) -> None:
        one, two, stranger = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22), self.phone("127.0.0.66", 99)
        self.join(one, two)
        for relay in (one.relay, two.relay):  # before anybody has spoken, and on both ports of both sides
            for step in (0, 1):
                for _ in range(5):
                    stranger.say(to=(relay[0], relay[1] + step))
        heard_by_one, heard_by_two = [], []
        for _ in range(20):
            for phone in (one, two):
                phone.say()
                phone.report()
            for relay in (one.relay, two.relay):
                stranger.say(to=relay)
            heard_by_one += packets(one.rtp, 0.02)
            heard_by_two += packets(two.rtp, 0.02)
        self.assertGreater(len(heard_by_one), 10)
        self.assertTrue(only(heard_by_one, 22))
        self.assertTrue(only(heard_by_two, 11))
        self.assertTrue(deaf([stranger.rtp, stranger.rtcp]))
        figures = self.wait(self.pool.query(self.call_id))
        self.assertGreaterEqual(figures.elsewhere("caller"), 20)
        self.assertGreaterEqual(figures.elsewhere("callee"), 20)

    def test_nothing_is_sent_to_somebody_a_description_names(self: EngineCase) -> None:
        one, two, victim = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22), self.phone("127.0.0.77", 88)
        one.named, one.port = victim.ip, victim.port
        self.join(one, two)
        for _ in range(20):
            two.say()
            two.report()
        self.assertTrue(deaf([victim.rtp, victim.rtcp]))


    def test_nothing_is_sent_to_candidates_nor_reports_to_somebody_else(self: EngineCase) -> None:
        one, two, victim = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22), self.phone("127.0.0.77", 88)
        candidates = [f"a=candidate:1 {n} UDP 2130706431 {victim.ip} {victim.port + n - 1} typ host" for n in (1, 2)]
        extra = ["a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuv", *candidates]
        reports = f"a=rtcp:{victim.port + 1} IN IP4 {victim.ip}"
        self.join(one, two)
        for sdp in (one.describe(*extra, reports), one.describe(reports, address="0.0.0.0")):
            self.offer(one, two, branch="again", to_tag="callee", sdp=sdp)
            self.answer(one, two, branch="again")
            for _ in range(10):
                two.say()
                two.report()
            self.assertTrue(deaf([victim.rtp, victim.rtcp]))

    def test_nothing_passes_before_the_answer(self: EngineCase) -> None:
        one, two, stranger = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22), self.phone("127.0.0.66", 99)
        self.offer(one, two, branch="z9hG4bK-1")
        stranger.say(10, to=two.relay)
        self.assertTrue(deaf([one.rtp, one.rtcp, stranger.rtp]))
        self.answer(one, two, branch="z9hG4bK-1")
        hears(one.rtp, two)
        hears(two.rtp, one)


class OurPromises:
    """What rtpengine does not promise, because it learns a phone behind a router from any packet for three seconds."""

    def behind_router(self: EngineCase, *, anywhere: bool = False) -> tuple[Phone, Phone]:
        one, two = self.phone("127.0.0.2", 11, named="192.168.77.50"), self.phone("127.0.0.3", 22)
        self.join(one, two, anywhere=anywhere)
        return one, two

    def test_nothing_is_sent_before_the_phone_has_spoken(self) -> None:
        one, two = self.behind_router()
        two.say(10)
        self.assertTrue(deaf([one.rtp]))
        hears(two.rtp, one)
        hears(one.rtp, two)

    def test_a_stranger_does_not_take_the_place_of_a_phone_behind_a_router(self) -> None:
        one, two = self.behind_router()
        stranger = self.phone("127.0.0.66", 99)
        stranger.say(20, to=one.relay)
        two.say(5)
        self.assertTrue(deaf([stranger.rtp, two.rtp]))
        hears(two.rtp, one)
        stranger.say(20, to=one.relay)
        two.say(5)
        self.assertTrue(deaf([stranger.rtp]))
        self.assertTrue(only(packets(two.rtp, 0.1), 11))
        wait_until(lambda: self.wait(self.pool.query(self.call_id)).elsewhere("caller") == 40, "40 counted")

    def test_nobody_beside_a_phone_without_router_takes_its_place(self) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        beside = self.phone(one.ip, one.ssrc)  # the same address and voice, another port
        self.join(one, two)
        beside.say(10, to=one.relay)  # before its first packet
        two.say(5)
        self.assertEqual(len(packets(one.rtp, 0.3)), 5)  # where it said it would be
        self.assertTrue(deaf([beside.rtp, two.rtp]))
        hears(two.rtp, one)
        self.offer(one, two, branch="again", to_tag="callee", sdp=one.describe(direction="sendonly"))
        self.answer(one, two, branch="again", sdp=two.describe(direction="recvonly"))
        empty(two.rtp)
        stop = time.monotonic() + 2.6
        while time.monotonic() < stop:  # on hold, silent for longer than a router's new port would need
            beside.say(to=one.relay, pause=0.1)
        self.assertTrue(deaf([beside.rtp, two.rtp]))
        hears(two.rtp, one)

    def test_a_phone_without_router_that_names_a_wrong_port_is_found(self) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        one.port += 2
        self.join(one, two)
        hears(two.rtp, one)
        hears(one.rtp, two)

    def test_behind_a_router_nobody_is_taken_before_the_answer(self) -> None:
        one, two = self.phone("127.0.0.2", 11, named="192.168.77.50"), self.phone("127.0.0.3", 22)
        two.named, beside = one.named, self.phone(two.ip, 99)
        self.offer(one, two, branch="z9hG4bK-1")
        beside.say(5, to=two.relay)
        self.answer(one, two, branch="z9hG4bK-1")
        one.say(5)
        self.assertTrue(deaf([beside.rtp, one.rtp]))
        two.say()
        hears(two.rtp, one)
        hears(one.rtp, two)

    def test_the_port_that_a_router_keeps_outdoes_one_that_was_faster(self) -> None:
        one, two = self.behind_router()
        beside = self.phone(one.ip, 99)
        beside.say(5, to=one.relay)
        hears(two.rtp, one)
        two.say(5)
        self.assertTrue(deaf([beside.rtp]))
        beside.say(5, to=one.relay)
        self.assertTrue(only(packets(two.rtp, 0.2), 11))

    def test_who_took_a_silent_phones_place_has_it_until_the_phone_speaks(self) -> None:
        one, two = self.behind_router()
        hears(two.rtp, one)
        beside = self.phone(one.ip, one.ssrc)  # knows its voice
        beside.relay, beside.sequence = one.relay, one.sequence
        hears(two.rtp, beside)
        one.say()
        two.say(5)
        self.assertEqual(len(packets(one.rtp, 0.3)), 5)
        stop = time.monotonic() + 2.6
        while time.monotonic() < stop:  # and not a second time
            beside.say(pause=0.1)
        empty(beside.rtp)
        two.say(5)
        self.assertTrue(deaf([beside.rtp]))

    def test_a_new_port_is_followed_after_two_seconds_of_silence(self) -> None:
        one, two = self.behind_router()
        hears(two.rtp, one)
        hears(one.rtp, two)
        one.new_port()
        one.say()
        empty(two.rtp)
        stop = time.monotonic() + 1.5
        while time.monotonic() < stop:
            one.say(pause=0.05)
        self.assertTrue(deaf([two.rtp]))
        hears(two.rtp, one)
        hears(one.rtp, two)

    def test_a_new_port_with_another_voice_is_not_followed(self) -> None:
        one, two = self.behind_router()
        hears(two.rtp, one)
        one.new_port()
        one.ssrc = 12
        empty(two.rtp)
        stop = time.monotonic() + 2.6
        while time.monotonic() < stop:
            one.say(pause=0.1)
        self.assertTrue(deaf([two.rtp]))
        self.offer(one, two, branch="again", to_tag="callee")  # but after a new offer
        hears(two.rtp, one)

    def test_a_second_port_while_the_first_speaks_is_refused(self) -> None:
        one, two = self.behind_router()
        hears(two.rtp, one)
        other = self.phone(one.ip, one.ssrc)  # behind the same router, same SSRC
        for _ in range(30):
            one.say()
            other.say(to=one.relay, pause=0.01)
        two.say(5)
        self.assertTrue(deaf([other.rtp]))

    def test_media_from_another_address_only_where_that_is_allowed(self) -> None:
        one, two = self.behind_router()
        media = self.phone("127.0.0.55", 55)
        media.relay = one.relay
        media.say(5)
        self.assertTrue(deaf([two.rtp]))
        figures = self.wait(self.pool.query(self.call_id))
        self.assertEqual((figures.packets("caller"), figures.elsewhere("caller")), (0, 5))
        self.offer(one, two, branch="again", to_tag="callee", anywhere=True)
        hears(two.rtp, media)
        hears(media.rtp, two)
        stranger = self.phone("127.0.0.66", 99)  # the first one, and no other
        stranger.say(10, to=one.relay)
        self.assertTrue(only(packets(two.rtp, 0.2), 55))
        self.assertTrue(deaf([stranger.rtp]))

    def test_media_is_not_led_in_a_circle(self) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        self.join(one, two)
        one.ip = two.ip = "127.0.0.1"
        self.offer(one, two, branch="x", to_tag="callee", sdp=one.describe(address="127.0.0.1", port=two.relay[1]))
        self.answer(one, two, branch="x", sdp=two.describe(address="127.0.0.1", port=one.relay[1]))
        figures = self.wait(self.pool.query(self.call_id))
        self.assertFalse(any(media.rtp.source == ("127.0.0.1", one.relay[1]) for media in figures.medias))

    def test_what_is_no_rtp_goes_nowhere(self) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        self.join(one, two)
        for junk in (b"", b"x", b"\x00" * 20, b"INVITE sip:x SIP/2.0\r\n\r\n", b"\x80\xc8" + bytes(30)):
            one.rtp.sendto(junk, one.relay)
            one.rtcp.sendto(junk, (one.relay[0], one.relay[1] + 1))
        self.assertTrue(deaf([two.rtp]))
        hears(two.rtp, one)


class OnRelay(StrangerTests, OurPromises, OnOurRelay):
    pass


class OnEngine(StrangerTests, OnRtpEngine):
    pass


class FigureTests(OnOurRelay):
    def test_loss_and_jitter(self) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        self.join(one, two)
        late = rtp(65_530 + 20, 11)
        for number in range(40):
            if number in (5, 6, 7, 20):
                continue  # 4 lost, one of them only late; the numbers wrap on the way
            one.rtp.sendto(rtp(65_530 + number, 11, timestamp=160 * number), one.relay)
            if number == 22:
                one.rtp.sendto(late, one.relay)
        figures = wait_until(
            lambda: (f := self.wait(self.pool.query(self.call_id))).packets("caller") == 37 and f, "37 packets"
        ).of("caller")[0].rtp  # fmt: skip
        self.assertEqual(figures.lost, 3)
        self.assertGreater(figures.jitter, 10)  # all at once instead of every 20 ms
        self.assertLessEqual(figures.first_packet, figures.last_packet)
        self.assertEqual(figures.source, ("127.0.0.2", one.port))
