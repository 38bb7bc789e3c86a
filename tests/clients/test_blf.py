"""Lamps, presence and messages waiting over real sockets: a strict phone of our own, baresip, linphone."""

from __future__ import annotations

from tests.support.baresip import Baresip
from tests.support.caller import Caller, UdpWire
from tests.support.cases import PASSWORD, OnPostgres, OnSqlite, PbxCase
from tests.support.linphone import Linphone
from tests.support.processes import wait_until
from tests.support.tcp_wire import TcpWire
from tests.support.watcher import Watch


class WatchingCase(PbxCase):
    def phone(self, number: str = "", *, register: bool = True) -> Caller:
        phone = Caller(UdpWire(), self.pbx.server, number or self.new_extension(), PASSWORD, self.pbx.domain)
        self.addCleanup(phone.close)
        if register:
            phone.register()
        return phone

    def rows_of(self, number: str) -> list[dict]:
        return self.pbx.store.rows(
            "SELECT s.* FROM subscriptions_subscription s JOIN extensions_extension e ON e.id = s.subscriber_id "
            "WHERE e.number = %s ORDER BY s.id", number,
        )


class BlfTests(WatchingCase):
    def test_a_lamp_rings_is_busy_and_goes_out(self):
        watcher, boss, caller = (self.phone() for _ in range(3))
        lamp = Watch(watcher, boss.number)
        self.assertEqual(["terminated"], lamp.news().lamp)
        call = caller.invite(boss.number)
        invite = boss.expect("INVITE")
        tag = boss.ring(invite)
        self.assertEqual(["recipient"], lamp.wait_lamp("early").directions)
        theirs = boss.answer(invite, tag=tag, ack=False)
        call.connected()
        boss.expect("ACK")
        lamp.wait_lamp("confirmed")
        boss.bye(theirs)
        caller.take_bye(call.dialog)
        last = lamp.wait_lamp("terminated")
        self.assertNotIn(caller.number, str(last.message))

    def test_it_lives_on_after_a_restart_and_after_a_crash(self):
        watcher, boss, caller = (self.phone() for _ in range(3))
        lamp = Watch(watcher, boss.number)
        lamp.news()
        for stop in (self.pbx.program.terminate, self.pbx.kill9):
            wait_until(lambda: len(self.rows_of(watcher.number)) == 1, "the row of the subscription")
            stop()
            self.pbx.start()
            self.assertEqual(["terminated"], lamp.news(15).lamp)
            call = caller.invite(boss.number)
            invite = boss.expect("INVITE")
            boss.ring(invite)
            lamp.wait_lamp("early")
            call.cancel()
            boss.respond(boss.expect("CANCEL"), 200)
            boss.respond(invite, 487)
            boss.expect("ACK")
            lamp.wait_lamp("terminated")
        lamp.again(600)
        lamp.news()
        lamp.again(0)
        self.assertFalse(lamp.news().active)
        wait_until(lambda: not self.rows_of(watcher.number), "the row to go")

    def test_over_a_connection_that_breaks(self):
        wire = TcpWire(self.pbx.server)
        watcher = Caller(wire, self.pbx.server, self.new_extension(), PASSWORD, self.pbx.domain)
        self.addCleanup(watcher.close)
        watcher.register()
        boss = self.phone(register=False)
        presence = Watch(watcher, boss.number, "presence")
        self.assertFalse(presence.news().open)
        boss.register()
        presence.wait_open(True)
        wire.close()
        boss.register(0)
        wire.connect()
        presence.again(600)  # its dialog has outlived the connection
        self.assertFalse(presence.news().open)
        boss.register()
        presence.wait_open(True)

    def test_presence_comes_and_goes_with_the_registration(self):
        watcher, boss = self.phone(), self.phone(register=False)
        presence = Watch(watcher, boss.number, "presence")
        self.assertFalse(presence.news().open)
        boss.register()
        presence.wait_open(True)
        boss.register(0)
        presence.wait_open(False)

    def test_an_extension_that_is_disabled_is_told_nothing_more(self):
        watcher, boss = self.phone(), self.phone()
        Watch(watcher, boss.number).news()
        other = Watch(boss, watcher.number, "presence")
        other.news()
        wait_until(lambda: self.rows_of(watcher.number), "the row of the subscription")
        self.disable(watcher.number)
        other.wait_open(False, seconds=75)
        gone = watcher.expect("NOTIFY", 75)
        self.assertIn("terminated", gone.one("Subscription-State"))

    def disable(self, number: str) -> None:
        code = (
            f"from extensions.models import Extension; e = Extension.objects.get(number='{number}'); "
            "e.enabled = False; e.save()"
        )
        self.pbx.manage("shell", "-c", code)

    def test_unknown_numbers_and_strangers(self):
        watcher, boss = self.phone(), self.phone()
        Watch(watcher, "4711", status=404)
        Watch(watcher, boss.number, "message-summary", status=403)
        Watch(watcher, boss.number, "conference", status=489)
        stranger = Caller(UdpWire(), self.pbx.server, boss.number, None, self.pbx.domain)
        self.addCleanup(stranger.close)
        Watch(stranger, boss.number, status=401)
        self.assertEqual([], self.rows_of(boss.number))


class BlfOnSqlite(BlfTests, OnSqlite):
    pass


class BlfOnPostgres(BlfTests, OnPostgres):
    pass


class RealPhoneTests(WatchingCase):
    def baresip(self, number: str, **options) -> Baresip:
        phone = Baresip(self.pbx.server, number, PASSWORD, domain=self.pbx.domain, **options)
        self.addCleanup(phone.stop)
        phone.wait_registered()
        return phone

    def wait_status(self, phone: Baresip, words: str, seconds: float = 20.0) -> None:
        """What baresip shows beside its contact."""
        wait_until(
            lambda: words in phone.command("contacts")["data"], f"baresip to show {words!r}:\n{phone.program.tail()}",
            seconds, pause=0.3,
        )

    def test_baresip_sees_who_is_there_and_who_talks(self):
        watcher, boss = self.new_extension(), self.phone(register=False)
        contact = f'"Boss" <sip:{boss.number}@{self.pbx.domain}>;presence=p2p'
        phone = self.baresip(watcher, modules=("presence",), contacts=(contact,))
        self.wait_status(phone, "Offline")
        boss.register()
        self.wait_status(phone, "Online")
        caller = self.phone()
        call = caller.invite(boss.number)
        theirs = boss.answer(boss.expect("INVITE"), ack=False)
        call.connected()
        boss.expect("ACK")
        self.wait_status(phone, "Busy")
        boss.bye(theirs)
        self.wait_status(phone, "Online")
        [row] = self.rows_of(watcher)
        self.assertEqual("presence", row["event"])
        self.assertEqual(0, phone.quit())
        wait_until(lambda: not self.rows_of(watcher), "its subscription to go with it")

    def test_baresip_asks_for_messages(self):
        number = self.new_extension()
        phone = self.baresip(number, modules=("mwi",))
        phone.wait_event("MWI_NOTIFY")
        self.assertIn("Voice-Message: 0/0 (0/0)", phone.program.log)
        wait_until(lambda: len(self.rows_of(number)) == 1, "the row of the subscription")
        # Some starts end in an endless loop of SUBSCRIBEs: then too there is one row, and others are served.
        Watch(self.phone(), number, "presence").wait_open(True)
        self.assertEqual(1, len(self.rows_of(number)))

    def test_linphone_sees_who_is_there_and_who_talks(self):
        watcher, boss = self.new_extension(), self.phone(register=False)
        domain = f"{self.pbx.server[0]}:{self.pbx.server[1]}"  # it looks names up
        phone = Linphone(self.pbx.server, watcher, PASSWORD, domain=domain)
        self.addCleanup(phone.stop)
        phone.wait_registered()
        mark = phone.say(f"friend add boss sip:{boss.number}@{domain}")
        phone.program.wait_for(r'Friend "boss" .* is Offline', after=mark)
        boss.register()
        phone.program.wait_for(r'Friend "boss" .* is Online', after=mark)
        call = self.phone().invite(boss.number)
        theirs = boss.answer(boss.expect("INVITE"), ack=False)
        call.connected()
        boss.expect("ACK")
        busy = phone.program.mark()
        phone.program.wait_for(r'Friend "boss" .* is On the phone', after=mark)
        boss.bye(theirs)
        phone.program.wait_for(r'Friend "boss" .* is Online', after=busy)


class RealPhonesOnSqlite(RealPhoneTests, OnSqlite):
    pass


class RealPhonesOnPostgres(RealPhoneTests, OnPostgres):
    pass


del BlfTests, RealPhoneTests, WatchingCase  # the loader would take them for cases of their own
