"""Fork bombs (RFC 5393): whatever phones do with what they are sent, the PBX makes of one call a number of INVITEs that
has a bound, and an honest phone calls meanwhile."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import SkipTest

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.forwarders import Forwarder, Thread
from tests.hardening.programs.wiretap import Wiretap
from tests.support.caller import Caller, Fault, Msg, UdpWire
from tests.support.pbx import RunningPbx, SqliteStore
from tests.support.processes import DeadlinePassed, wait_until

PASSWORD = "a-bomb-of-forks-55"
HONEST = ("1001", "1003")
RING = [str(number) for number in range(2001, 2011)]
DEVICES = 10
"""Of each attacker's extension: the most that an administrator can allow."""
ROUNDS = 6
"""Numbers that one call rings one after the other: the dialled one, and five redirections."""
HOPS = 70
CALLS = 10
"""At once for each extension, the default of SIP_MAX_CALLS_PER_EXTENSION."""
EVIDENCE = 63
"""Megabytes: the pools of sipcore.evidence.recorder. Those of phones that failed are kept for five minutes."""
EXTERNAL, ALIAS = "198.51.100.7", "office.test"

Then = Callable[[Forwarder, Msg], None]


def measure(scale: Scale) -> Iterator[Figure]:
    with contextlib.ExitStack() as at_end:
        settings = {"EXTERNAL_IP": EXTERNAL, "SIP_ALIASES": ALIAS, "LOCAL_NETS": "127.0.0.0/8"}
        pbx = at_end.enter_context(RunningPbx(SqliteStore(), settings=settings))
        table = pbx.directory / "extensions.csv"
        rows = [f"{number},{PASSWORD},{DEVICES}" for number in (*HONEST, *RING)]
        table.write_text("\n".join(["number,password,max_devices", *rows]))
        pbx.manage("importextensions", str(table))
        try:
            tap = at_end.enter_context(Wiretap(pbx.port))
        except PermissionError:
            raise SkipTest("it counts the packets on the wire: run it as root") from None
        bombs = Bombs(pbx, tap, at_end)
        memory = bombs.memory
        yield from bombs.contacts_at_the_pbx()
        yield bombs.too_many_contacts()
        yield from bombs.redirections()
        yield from bombs.echoes()
        yield from bombs.forwarding(scale.of(8, 2))
        yield bombs.texts(scale.of(5, 2))
        yield bombs.transfers()
        yield bombs.oneself()
        yield bombs.last_hop()
        yield bombs.honest_figure()
        yield bombs.nothing_left()
        if not scale.quick:
            with contextlib.suppress(DeadlinePassed):
                wait_until(lambda: bombs.memory - memory <= 5, "the memory to be back", 40.0, pause=1.0)
            grown = bombs.memory - memory
            yield Figure("memory 40 s after the last one", f"{grown:+.1f} MB",
                         f"+{EVIDENCE + 5} MB at most: so much the messages of the last minutes may take as evidence",
                         grown <= EVIDENCE + 5)


class Bombs:
    def __init__(self, pbx: RunningPbx, tap: Wiretap, at_end: contextlib.ExitStack) -> None:
        self.pbx, self.tap, self._at_end = pbx, tap, at_end
        self.ann, self.ben = (self._honest(number, host) for number, host in zip(HONEST, ("127.0.0.11", "127.0.0.13"),
                                                                                 strict=True))
        self.slowest, self.tried, self.connected = 0.0, 0, 0

    def _honest(self, number: str, host: str) -> Caller:
        phone = Caller(UdpWire(host), self.pbx.server, number, PASSWORD, self.pbx.domain)
        self._at_end.callback(phone.close)
        phone.register()
        return phone

    @property
    def memory(self) -> float:
        """Resident, of the SIP process, in megabytes."""
        status = Path(f"/proc/{self.pbx.program.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def attackers(self, count: int, devices: int, then: Then) -> list[Forwarder]:
        """The first numbers, each on a host of its own, registered."""
        phones = []
        for number in RING[:count]:
            host = f"127.0.2.{int(number) - 2000}"
            phone = Forwarder(self.pbx.server, number, PASSWORD, self.pbx.domain, host, devices, then)
            self._at_end.callback(phone.close)
            phone.register(["*"], 0)
            if phone.register() != 200:
                raise AssertionError(f"{number} could not register {devices} devices")
            phones.append(phone)
        return phones

    def sent(self, seconds: float, begin: Callable[[], None], phones: list[Forwarder], method: str = "INVITE") -> int:
        """How many requests of this method the PBX sends to these phones, each counted as often as it leaves, from
        ``begin`` on. The honest phones call meanwhile."""
        for _ in self.tap.packets():
            pass
        thread = Thread(phones)
        thread.start()
        try:
            begin()
            self._call_honestly()
            end = time.monotonic() + seconds
            count = 0
            while time.monotonic() < end:
                time.sleep(0.1)
                count += self._counted(phones, method)
            return count + self._counted(phones, method)
        finally:
            thread.stop()

    def _counted(self, phones: list[Forwarder], method: str) -> int:
        # Not those of before: who never answered an INVITE gets it again for 32 seconds.
        places = {phone.wire.address for phone in phones}
        start = f"{method} ".encode()
        return sum(packet.data.startswith(start) and packet.destination in places for packet in self.tap.packets())

    def _call_honestly(self) -> None:
        self.tried += 1
        begin = time.monotonic()
        try:
            call = self.ann.invite(self.ben.number)
            theirs = self.ben.answer(self.ben.expect("INVITE"), ack=False)
            ours = call.connected()
            self.ben.expect("ACK", call_id=theirs.call_id)
            self.slowest = max(self.slowest, time.monotonic() - begin)
            self.ann.request(ours, "BYE")
            self.ben.take_bye(theirs)
            self.connected += 1
        except Fault:
            self.ann.inbox.clear(), self.ben.inbox.clear()

    # The bombs

    def contacts_at_the_pbx(self) -> Iterator[Figure]:
        """Registered where the PBX itself is: by whatever name, a call to it does not come back to the PBX."""
        port = self.pbx.port
        places = [f"127.0.0.1:{port}", f"127.0.0.2:{port}", f"localhost:{port}", f"{EXTERNAL}:{port}", EXTERNAL,
                  f"{self.pbx.domain}:{port}", self.pbx.domain, f"{ALIAS}:{port}", f"[::1]:{port}", f"0.0.0.0:{port}"]
        (phone,) = self.attackers(1, 1, lambda phone, request: phone.answer(request, 486))
        phone.register(["*"], 0)
        taken = [place for place in places if phone.register([f"<sip:{RING[1]}@{place}>"]) == 200]
        for _ in self.tap.packets():
            pass
        count = self.sent(1.0, lambda: self.ring_from_honest(RING[0]), [phone])
        own = [packet for packet in self.tap.packets() if packet.destination == self.pbx.server]
        self.settle()
        refused = len(places) - len(taken)
        yield Figure(
            f"INVITEs for a call to {len(taken)} Contacts at the PBX's own addresses ({refused} refused)", str(count),
            f"{DEVICES} at most, to the phone's own address", count <= DEVICES and not own,
        )

    def ring_from_honest(self, number: str) -> None:
        """An honest phone calls the bomb, and does not wait for what comes of it."""
        self._ringing = self.ann.invite(number)

    def settle(self) -> str:
        """The end of that call, as its phone is told."""
        try:
            answer = self._ringing.final(35.0)
            self.ann.ack_failure(self._ringing.sent, answer)
            return str(answer.status)
        except Fault:
            return "nothing"

    def too_many_contacts(self) -> Figure:
        (phone,) = self.attackers(1, 1, lambda phone, request: phone.answer(request, 486))
        status = phone.register([f"<sip:{index}@{phone.place}>" for index in range(DEVICES + 1)])
        for index in range(3 * DEVICES):
            phone.register([f"<sip:{index}@{phone.place}>"])
        rows = len(self.pbx.bindings(RING[0]))
        phone.register(["*"], 0)
        return Figure(
            f"{DEVICES + 1} Contacts in one REGISTER; then {3 * DEVICES} one by one", f"{status}; {rows} registered",
            f"400; {DEVICES} at most", status == 400 and rows <= DEVICES,
        )

    def redirections(self) -> Iterator[Figure]:
        for what, count, target in (
            ("two extensions that redirect to each other", 2, lambda n: RING[1 - n]),
            ("ten extensions that redirect in a ring", 10, lambda n: RING[(n + 1) % 10]),
            ("an extension that redirects to itself", 1, lambda n: RING[0]),
        ):
            def then(phone: Forwarder, request: Msg, target: Callable[[int], str] = target) -> None:
                phone.answer(request, 302, f"Contact: <sip:{target(RING.index(phone.number))}@{self.pbx.domain}>")

            phones = self.attackers(count, DEVICES, then)
            sent = self.sent(1.0, lambda: self.ring_from_honest(RING[0]), phones)
            bound = min(count, ROUNDS) * DEVICES
            ended = self.settle()
            yield Figure(f"INVITEs for one call to {what}, with {DEVICES} devices each", f"{sent}, then {ended}",
                         f"{bound} at most, and an end", 0 < sent <= bound and ended != "nothing")

    def echoes(self) -> Iterator[Figure]:
        """A host that sends each INVITE back to the PBX, byte for byte or with little changed."""
        def byte_for_byte(phone: Forwarder, request: Msg) -> None:
            phone.wire.send(request.raw, phone.server)

        def with_a_via(phone: Forwarder, request: Msg) -> None:
            via = f"Via: SIP/2.0/UDP {phone.place};branch=z9hG4bKecho{request.branch[-6:]}\r\nVia:"
            phone.wire.send(request.raw.replace(b"Via:", via.encode(), 1), phone.server)

        def under_another_name(phone: Forwarder, request: Msg) -> None:
            raw = re.sub(rb"(?m)^Via: [^\r]*", f"Via: SIP/2.0/UDP {phone.place};branch=z9hG4bK9".encode(), request.raw)
            phone.wire.send(raw, phone.server)

        total = 0
        for then in (byte_for_byte, with_a_via, under_another_name):
            phones = self.attackers(1, DEVICES, then)
            total += self.sent(1.0, lambda: self.ring_from_honest(RING[0]), phones)
            self._ringing.cancel()
            self.settle()
        # Nothing that such a host sends counts as an answer: each INVITE is repeated after 0.5 and 1.5 s (timer A).
        bound = 3 * DEVICES * 3
        yield Figure("INVITEs for three calls to hosts that send each one back, as it is or changed a little",
                     str(total), f"{bound} at most with their repetitions", 0 < total <= bound)

    def forwarding(self, seconds: float) -> Iterator[Figure]:
        """Two extensions whose phones forward each call to the other, with credentials of their own."""
        def passing_on(phone: Forwarder, request: Msg) -> None:
            phone.answer(request, 100)
            phone.invite(RING[1 - RING.index(phone.number)], int(request.one("Max-Forwards")), request)

        def anew(phone: Forwarder, request: Msg) -> None:
            phone.answer(request, 100)
            phone.invite(RING[1 - RING.index(phone.number)], HOPS, request)

        for what, devices, then, bound in (
            ("Max-Forwards as it came, one device", 1, passing_on, 2 * CALLS),
            (f"Max-Forwards as it came, {DEVICES} devices", DEVICES, passing_on, 0),
            (f"Max-Forwards {HOPS} again and again, {DEVICES} devices", DEVICES, anew, 0),
        ):
            phones = self.attackers(2, devices, then)
            sent = self.sent(seconds, lambda: self.ring_from_honest(RING[0]), phones)
            self._ringing.cancel()
            thread = Thread(phones)
            thread.start()
            ended = self.settle()
            self._wait_quiet()
            thread.stop()
            asked = 1 + sum(len(phone.asked) for phone in phones)
            most = bound or DEVICES * asked
            words = f"{most} at most: each has {CALLS} calls at once"
            if not bound:
                words = f"{DEVICES} at most for each one asked for"
            yield Figure(
                f"INVITEs of two extensions that forward to each other, {what}", f"{sent} for {asked}, then {ended}",
                words, sent <= most and ended != "nothing",
            )

    def _wait_quiet(self) -> None:
        with contextlib.suppress(DeadlinePassed):
            wait_until(lambda: self.living() == 0, "no call to be left", 40.0, pause=0.2)

    def living(self) -> int:
        (row,) = self.pbx.store.rows('SELECT count(*) AS living FROM calls_callrecord WHERE "end" IS NULL')
        return row["living"]

    def texts(self, seconds: float) -> Figure:
        def passing_on(phone: Forwarder, request: Msg) -> None:
            phone.answer(request, 200)
            phone.text(RING[1 - RING.index(phone.number)], int(request.one("Max-Forwards")), None)

        phones = self.attackers(2, 1, passing_on)
        sent = self.sent(seconds, lambda: phones[0].text(RING[1]), phones, "MESSAGE")
        return Figure("texts of two extensions that pass each one on to the other", str(sent),
                      f"{HOPS} at most: Max-Forwards ends it", 0 < sent <= HOPS)

    def transfers(self) -> Figure:
        """A called phone that transfers its caller, again and again, to an extension whose devices are all busy."""
        talking: list[Msg] = []
        times = 20

        def busy_or_talking(phone: Forwarder, request: Msg) -> None:
            if phone.number == RING[0] and not request.to_tag:
                talking.append(request)
            phone.answer(request, 486) if phone.number != RING[0] else phone.accept(request)

        phones = self.attackers(2, DEVICES, busy_or_talking)
        phones[0].register(["*"], 0)
        phones[0].register([f"<sip:{RING[0]}@{phones[0].place}>"])

        def begin() -> None:
            self.ring_from_honest(RING[0])
            self._ringing.connected()
            for number in range(1, times + 1):
                phones[0].refer(talking[0], f"sip:{RING[1]}@{self.pbx.domain}", number)
                time.sleep(0.02)

        sent = self.sent(1.0, begin, phones)
        self.ann.request(self._ringing.dialog, "BYE")
        self.ann.pump(0.3)
        self.ann.inbox.clear()
        taken = phones[0].got["REFER 202"]
        bound = 1 + DEVICES * taken
        return Figure(f"INVITEs for a call whose called phone transfers {times} times in a row, {taken} of them taken",
                      str(sent), f"{bound} at most", 1 < sent <= bound)

    def oneself(self) -> Figure:
        phones = self.attackers(1, DEVICES, lambda phone, request: phone.answer(request, 486))
        sent = self.sent(1.0, lambda: phones[0].invite(RING[0]), phones)
        return Figure(f"INVITEs for a call to oneself with {DEVICES} Contacts at one's own address", str(sent), "none",
                      sent == 0)

    def last_hop(self) -> Figure:
        phones = self.attackers(2, 1, lambda phone, request: phone.answer(request, 486))
        sent = self.sent(0.5, lambda: phones[0].invite(RING[1], 0), phones)
        refused = phones[0].got["INVITE 483"]
        return Figure("an INVITE with Max-Forwards 0", f"{sent} INVITEs, {refused} times 483", "none, 483",
                      sent == 0 and refused == 1)

    # What must not suffer

    def honest_figure(self) -> Figure:
        return Figure("honest calls meanwhile", f"{self.connected} of {self.tried}, the slowest {self.slowest:.2f} s",
                      "all", self.connected == self.tried)

    def nothing_left(self) -> Figure:
        self._wait_quiet()
        living = self.living()
        return Figure("calls left when all is over", str(living), "none", living == 0)
