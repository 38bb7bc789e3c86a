"""Verdicts on calls that the engine really carried out with phones of the tests' own: record and messages are what it
wrote. With real clients each code is made in ``tests.verdicts``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from django.test import TestCase, override_settings
from django.utils import timezone, translation

from extensions.models import Extension
from pbx.calls.models import CallRecord
from pbx.calls.store import DjangoCallStore
from pbx.diagnosis.call_gather import gather_call
from pbx.diagnosis.calls import SOUND_FAULTS, call_faults, call_verdicts, explain_call, find_call
from pbx.diagnosis.models import CallTrace
from pbx.diagnosis.verdict import Confidence, Severity, Verdict
from sipcore.calls.ports import Heard
from sipcore.calls.records import CAUSES
from sipcore.protocol.flow import Flow
from tests.calls.rows import ended, heard, leg, row, write
from tests.calls_flow.case import FlowCase
from tests.diagnosis.kept import kept
from tests.engine.calls_under_test import SERVER, CallWorld
from tests.support.caller import Caller, make_sdp

OUTSIDE = "203.0.113.77"


class VerdictCase(TestCase, FlowCase):
    def setUp(self) -> None:
        super().setUp()
        self.world = CallWorld()
        self.addCleanup(self.world.close)
        english = translation.override("en")
        english.__enter__()
        self.addCleanup(english.__exit__, None, None, None)

    def told(self, a: Caller, number: str) -> tuple[Verdict, ...]:
        """What is said of the one call between them, from what the engine wrote down."""
        self.world.ended_record(a.number, number)
        for uniqueid, trace in kept(self.world).traces.items():
            CallTrace.objects.update_or_create(
                uniqueid=uniqueid, defaults={"messages": [asdict(message) for message in trace.messages]}
            )
        rows = [one for one in self.world.directory.calls_written.values() if (one.src, one.dst) == (a.number, number)]
        DjangoCallStore().write_calls(rows)
        [record] = CallRecord.objects.filter(src=a.number, dst=number)
        return explain_call(record)

    def codes(self, verdicts: tuple[Verdict, ...]) -> list[str]:
        for verdict in verdicts:
            for text in (verdict.what, verdict.why, verdict.do, *verdict.evidence):
                self.assertTrue(text)
                self.assertNotIn("%(", text)
            if verdict.confidence is Confidence.LIKELY:
                self.assertNotEqual(Severity.OK, verdict.severity)
        return [verdict.code for verdict in verdicts]

    def talk(self, a: Caller, b: Caller, packets: tuple[int, int], foreign: int = 0, **answer) -> tuple[Verdict, ...]:
        """A call of ten seconds in which so many packets came from the caller, and from the called one."""
        ours, theirs = self.connect(a, b, **answer)
        [call] = self.world.board.calls.values()
        self.world.media.figures[call.id] = [
            Heard(side.tag, count, count * 160, 0, 0.0, None, None, strays)
            for side, count, strays in zip(call.legs, packets, (0, foreign), strict=True)
        ]
        self.world.pass_time(10)
        self.hang_up(a, ours, b, theirs)
        return self.told(a, b.number)


class SoundTests(VerdictCase):
    def test_a_good_call_is_one_calm_sentence(self):
        a, b = self.phones()
        verdicts = self.talk(a, b, (500, 500))
        self.assertEqual(["normal"], self.codes(verdicts))
        self.assertEqual((Severity.OK, f"{a.number} hung up."), (verdicts[0].severity, verdicts[0].what))

    def test_no_sound_from_one(self):
        a, b = self.phones()
        verdicts = self.talk(a, b, (500, 0))
        self.assertEqual(["no_audio_one_way", "normal"], self.codes(verdicts))
        first = verdicts[0]
        self.assertIn(f"No audio from {b.number}", first.what)
        self.assertIn("microphone", first.why)
        self.assertIn("10000-20000", first.do)
        self.assertIn("*43", first.do)
        self.assertIs(Confidence.LIKELY, first.confidence)
        self.assertIn(f"sound of {b.number}: 0 packets arrived", first.evidence)

    def test_no_sound_at_all(self):
        a, b = self.phones()
        verdicts = self.talk(a, b, (0, 0))
        self.assertEqual(["no_audio", "normal"], self.codes(verdicts))
        self.assertIn("Open UDP 10000-20000", verdicts[0].do)

    def test_a_phone_outside_that_was_told_an_address_of_the_office(self):
        """EXTERNAL_IP is missing: that is certain, and no guess about microphones is made."""
        for host in ("10.1.2.3", "192.168.0.5"):
            with self.subTest(host):
                self.world.board.settings = _advertising(self.world, host)
                a, b = self.phone(), self.world.phone(host=OUTSIDE)
                verdicts = self.talk(a, b, (500, 0))
                self.assertEqual(["no_audio_one_way", "normal"], self.codes(verdicts))
                self.assertIn(host, verdicts[0].why)
                self.assertIn("EXTERNAL_IP", verdicts[0].do)
                self.assertIs(Confidence.CERTAIN, verdicts[0].confidence)
                with override_settings(EXTERNAL_IP="198.51.100.1"):
                    self.assertIn("LOCAL_NETS", explain_call(CallRecord.objects.get(dst=b.number))[0].do)

    def test_a_phone_that_said_it_sends_nothing(self):
        a, b = self.phones()
        verdicts = self.talk(a, b, (500, 0), body=b.sdp("recvonly"))
        self.assertEqual(["no_audio_one_way", "normal"], self.codes(verdicts))
        self.assertIn("itself said that it sends no sound", verdicts[0].why)

    def test_sound_from_another_address(self):
        a, b = self.phones()
        verdicts = self.talk(a, b, (500, 0), foreign=480)
        self.assertEqual(["media_from_elsewhere", "no_audio_one_way", "normal"], self.codes(verdicts))
        self.assertIs(Confidence.CERTAIN, verdicts[0].confidence)
        self.assertIn("media may come from another address", verdicts[0].do)

    def test_a_stranger_sends_to_a_port_of_a_good_call(self):
        a, b = self.phones()
        verdicts = self.talk(a, b, (500, 500), foreign=300)
        self.assertEqual(["media_from_elsewhere", "normal"], self.codes(verdicts))
        self.assertEqual((Severity.WARNING, Confidence.LIKELY), (verdicts[0].severity, verdicts[0].confidence))


class EndTests(VerdictCase):
    def test_busy_by_the_phone_and_by_us(self):
        a, b = self.phones()
        call = a.invite(b.number)
        b.respond(b.expect("INVITE"), 486, "Busy Here")
        call.refused(486)
        [verdict] = self.told(a, b.number)
        self.assertEqual(("busy", Severity.INFO), (verdict.code, verdict.severity))
        self.assertIn("The phone itself said so", verdict.why)
        a.invite(a.number).refused(486)  # all its phones are in this very call
        [verdict] = self.told(a, a.number)
        self.assertIn("called its own number", verdict.why)

    def test_declined(self):
        a, b = self.phones()
        call = a.invite(b.number)
        b.respond(b.expect("INVITE"), 603, "Decline")
        call.refused(603)
        [verdict] = self.told(a, b.number)
        self.assertEqual(("declined", Severity.INFO), (verdict.code, verdict.severity))

    def test_it_rang_and_nobody_answered(self):
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        b.ring(invite)
        call.refused(480, 40)
        b.respond(b.expect("CANCEL"), 200)
        b.respond(invite, 487, "Request Terminated")
        [verdict] = self.told(a, b.number)
        self.assertEqual(("no_answer", Severity.INFO), (verdict.code, verdict.severity))

    def test_do_not_disturb_is_no_way_lost(self):
        a, b = self.phones()
        call = a.invite(b.number)
        b.respond(b.expect("INVITE"), 480, "Temporarily Unavailable")
        call.refused(480)
        [verdict] = self.told(a, b.number)
        self.assertEqual(("no_answer", Severity.INFO), (verdict.code, verdict.severity))
        self.assertIn("do not disturb", verdict.why)

    def test_a_phone_that_hears_nothing_any_more(self):
        a, b = self.phones()
        b.wire.deaf = True
        a.invite(b.number).refused(480, 60)
        [verdict] = self.told(a, b.number)
        self.assertEqual(("no_answer", Severity.WARNING), (verdict.code, verdict.severity))
        self.assertIn("not even to say that it rings", verdict.what)

    def test_a_large_invite_that_the_way_drops(self):
        """Small messages pass, and the ring time is over long before the transaction's own patience."""
        for cancels in (False, True):
            with self.subTest(cancels=cancels):
                a, b = self.phones()
                b.wire.deaf = True
                call = a.invite(b.number, a.sdp() + b"a=x:" + b"y" * 1000 + b"\r\n")
                if cancels:
                    self.world.pass_time(10)
                    call.cancel()
                    call.refused(487)
                else:
                    call.refused(480, 60)
                verdicts = self.told(a, b.number)
                self.assertEqual("fragmented", self.codes(verdicts)[0])
                self.assertIn("TCP", verdicts[0].do)
                self.assertIs(Confidence.LIKELY, verdicts[0].confidence)
                self.assertIn(b.number, verdicts[0].what)

    def test_a_small_invite_or_an_answered_large_one_is_not_fragmented(self):
        a, b = self.phones()
        call = a.invite(b.number, a.sdp() + b"a=x:" + b"y" * 1000 + b"\r\n")
        b.respond(b.expect("INVITE"), 486, "Busy Here")
        call.refused(486)
        self.assertEqual(["busy"], self.codes(self.told(a, b.number)))

    def test_an_answer_that_is_never_confirmed(self):
        a, b = self.phones()
        call = a.invite(b.number)
        b.answer(b.expect("INVITE"))
        call.final()
        self.world.pass_time(40)
        verdicts = self.told(a, b.number)
        self.assertEqual("ack_lost", self.codes(verdicts)[0])
        self.assertIn("ALG", verdicts[0].do)
        self.assertTrue(any("sent again" in line for line in verdicts[0].evidence), verdicts[0].evidence)

    def test_a_confirmation_that_goes_to_an_address_of_the_office(self):
        self.world.board.settings = _advertising(self.world, "192.168.0.5")
        a, b = self.world.phone(host=OUTSIDE), self.phone()
        call = a.invite(b.number)
        b.answer(b.expect("INVITE"))
        call.final()
        self.world.pass_time(40)
        first = self.told(a, b.number)[0]
        self.assertEqual(("ack_lost", Confidence.CERTAIN), (first.code, first.confidence))
        self.assertIn("192.168.0.5", first.why)
        self.assertIn("EXTERNAL_IP", first.do)

    def test_no_codec_in_common_names_the_codecs(self):
        a, b = self.phones()
        call = a.invite(b.number, make_sdp(a.host, a.media_port, codecs="8"))
        b.respond(b.expect("INVITE"), 488, "Not Acceptable Here")
        call.refused(488)
        [verdict] = self.told(a, b.number)
        self.assertEqual("codec_mismatch", verdict.code)
        self.assertIn("PCMA", verdict.why)
        self.assertTrue(any("PCMA (RTP/AVP)" in line for line in verdict.evidence), verdict.evidence)

    def test_numbers_that_cannot_be_called(self):
        a = self.phone()
        nobody = self.world.new_number()
        disabled = self.phone()
        self.world.disable(disabled.number)
        for number, status, code in ((nobody, 480, "not_registered"), ("4711", 404, "unknown_number"),
                                     (disabled.number, 480, "disabled")):
            with self.subTest(code):
                a.invite(number).refused(status)
                [verdict] = self.told(a, number)
                self.assertEqual((code, Severity.WARNING), (verdict.code, verdict.severity))
                self.assertTrue(verdict.do)

    def test_a_number_that_was_added_since(self):
        a = self.phone()
        a.invite("4711").refused(404)
        [verdict] = self.told(a, "4711")
        self.assertEqual("No extension has this number.", verdict.why)
        Extension.objects.create(number="4711")
        self.assertIn("now there is", explain_call(CallRecord.objects.get())[0].why)

    def test_who_gives_up(self):
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        b.ring(invite)
        call.provisional(180)
        call.cancel()
        call.refused(487)
        b.respond(b.expect("CANCEL"), 200)
        b.respond(invite, 487, "Request Terminated")
        [verdict] = self.told(a, b.number)
        self.assertEqual(("cancelled", Severity.INFO), (verdict.code, verdict.severity))

    def test_every_cause_has_a_verdict_in_every_language(self):
        for number, cause in enumerate([*CAUSES, "of a later version"]):
            call = write(ended(f"x{number}", cause=cause, legs=[leg(), leg(state="failed", code=500, reason="50% %s")]))
            for language in ("uz", "ru", "en"):
                with self.subTest(cause, language=language), translation.override(language):
                    verdicts = explain_call(call)
                    self.assertIn(cause, self.codes(verdicts))

    def test_a_living_call(self):
        [verdict] = explain_call(write(row()))
        self.assertEqual(("in_progress", Severity.OK), (verdict.code, verdict.severity))

    def test_hostile_texts_are_evidence_and_nothing_else(self):
        bad = "\x1b[2J%s%(src)s<b>\u202e"
        call = write(ended("h", src=bad, dst=bad, cause="failed", legs=[leg(bad, device=bad, user_agent=bad, code=500,
                                                                            state="failed", reason=bad)]))
        for verdict in explain_call(call):
            for text in (verdict.what, verdict.why, verdict.do, *verdict.evidence):
                self.assertNotIn("\x1b", text)


class OfANumberTests(TestCase):
    def test_faults_of_the_last_hour_the_newest_of_each_code(self):
        since = timezone.now() - timedelta(hours=1)
        self.assertEqual((), call_faults("1001", since))
        write(ended("good", ago=1200, media=[heard("1001", "1002", 100), heard("1002", "1001", 100)]),
              ended("old", ago=9000, media=[heard("1001", "1002", 0), heard("1002", "1001", 0)]),
              ended("first", ago=900, media=[heard("1001", "1002", 9), heard("1002", "1001", 0)]),
              ended("later", ago=300, media=[heard("1001", "1002", 9), heard("1002", "1001", 0)]),
              ended("busy", cause="busy", answer=None, disposition="BUSY"),
              ended("codec", ago=90, cause="codec_mismatch", answer=None, disposition="FAILED"),
              ended("others", src="1005", dst="1006", media=[heard("1005", "1006", 0), heard("1006", "1005", 0)]))
        found = call_faults("1001", since)
        self.assertEqual({"no_audio_one_way", "codec_mismatch"}, {verdict.code for verdict in found})
        self.assertLessEqual({verdict.code for verdict in found}, set(SOUND_FAULTS))
        [sound] = [verdict for verdict in found if verdict.code == "no_audio_one_way"]
        self.assertIn("later", sound.evidence[0])
        self.assertEqual({"no_audio_one_way", "codec_mismatch"}, {v.code for v in call_faults("1002", since)})

    def faults(self, number="1001"):
        return {verdict.code for verdict in call_faults(number, timezone.now() - timedelta(hours=1))}

    def test_the_advised_echo_test_that_succeeded_ends_it(self):
        write(ended("mute", dst="*43", ago=600, media=[heard("1001", "1001", 0)]))
        self.assertEqual({"no_audio_one_way"}, self.faults())
        write(ended("heard", dst="*43", ago=300, media=[heard("1001", "1001", 400)]))
        self.assertEqual(set(), self.faults())
        write(ended("again", dst="*43", ago=200, media=[heard("1001", "1001", 0)]))
        self.assertEqual({"no_audio_one_way"}, self.faults())

    def test_the_sound_of_one_that_arrives_again_says_nothing_of_the_other(self):
        write(ended("mute", ago=600, media=[heard("1001", "1002", 0), heard("1002", "1001", 0)]),
              ended("echo", dst="*43", ago=300, media=[heard("1001", "1001", 400)]))
        self.assertEqual((set(), {"no_audio"}), (self.faults("1001"), self.faults("1002")))
        write(ended("else", src="1002", dst="1005", ago=99, media=[heard("1002", "1005", 9), heard("1005", "1002", 9)]))
        self.assertEqual(set(), self.faults("1002"))

    def test_the_silence_of_the_other_is_over_when_the_other_is_heard_by_anybody(self):
        write(ended("mute", ago=600, media=[heard("1001", "1002", 9), heard("1002", "1001", 0)]),
              ended("mine", dst="1005", ago=400, media=[heard("1001", "1005", 9), heard("1005", "1001", 9)]))
        self.assertEqual({"no_audio_one_way"}, self.faults())
        write(ended("its", src="1002", dst="*43", ago=300, media=[heard("1002", "1002", 9)]))
        self.assertEqual(set(), self.faults())

    def test_sound_that_still_comes_from_elsewhere_is_not_mended(self):
        write(ended("bad", ago=600, media=[heard("1001", "1002", 0, 500), heard("1002", "1001", 9)]),
              ended("worse", ago=300, media=[heard("1001", "1002", 20, 500), heard("1002", "1001", 9)]))
        self.assertEqual({"media_from_elsewhere", "no_audio_one_way"}, self.faults())

    def test_two_that_came_to_talk_later_have_a_codec_in_common_now(self):
        for cause in ("codec_mismatch", "ack_lost"):
            CallRecord.objects.all().delete()
            sound = [heard("1001", "1002", 9), heard("1002", "1001", 9)]
            write(ended("bad", ago=600, cause=cause), ended("others", dst="1005", ago=500))
            self.assertEqual({cause}, self.faults())
            write(ended("well", src="1002", dst="1001", ago=300, media=sound))
            self.assertEqual((set(), set()), (self.faults("1001"), self.faults("1002")))

    def test_good_calls_cost_one_query(self):
        write(*[ended(f"g{n}", media=[heard("1001", "1002", 100), heard("1002", "1001", 100)]) for n in range(20)])
        with self.assertNumQueries(1):
            call_faults("1001", timezone.now() - timedelta(hours=1))

    def test_found_by_either_id(self):
        call = write(ended("pbx1-1.1", sip_call_id="a84b4c@x"))
        self.assertEqual(call, find_call(" pbx1-1.1 "))
        self.assertEqual(call, find_call("a84b4c@x"))
        for id in ("", "nix", "a\0b", "\ud800", "x" * 5000):
            self.assertIsNone(find_call(id))

    def test_messages_of_another_version_or_none_at_all(self):
        call = write(ended("pbx1-1.1", cause="ack_lost"))
        CallTrace.objects.create(uniqueid="pbx1-1.1", messages=[None, {"text": 5}, {"at": "x"}, "y"])
        self.assertEqual("ack_lost", call_verdicts(gather_call(call))[0].code)


def _advertising(world: CallWorld, host: str):
    from dataclasses import replace

    def advertise(flow: Flow) -> str:
        return host if flow.remote[0] == OUTSIDE else SERVER[0]

    return replace(world.board.settings, advertise=advertise)
