"""The switchboard and its core in one process: no socket, no thread, no database, and a clock that jumps to whatever
is due next, so that half an hour of a call takes milliseconds. Phones are those of ``tests.support.caller``."""

from __future__ import annotations

import asyncio
import contextlib
import re
import selectors
from collections import defaultdict, deque
from dataclasses import asdict
from itertools import count

from sipcore.batch import RegistrationBatch
from sipcore.calls.book import RecordBook
from sipcore.calls.ports import Heard, MediaRefused, MediaUnavailable, Party
from sipcore.calls.switchboard import CallSettings, Switchboard
from sipcore.core import Core, Settings
from sipcore.protocol.flow import Flow
from sipcore.registrar import Busy, Policy
from tests.engine.memory_directory import REALM, MemoryDirectory
from tests.support.caller import Address, Caller

DOMAIN = "pbx.test"
SERVER = ("192.0.2.1", 5060)
PASSWORD = "secret"


class JumpingSelector(selectors.DefaultSelector):
    """Waiting for nothing takes no time: the clock goes on instead."""

    clock = 1000.0

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready and timeout:
            self.clock += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = JumpingSelector()
        super().__init__(self.selector)
        self.errors: list[dict] = []
        self.set_exception_handler(lambda loop, context: self.errors.append(context))

    def time(self) -> float:
        return self.selector.clock


class LoopClock:
    def __init__(self, loop: JumpingLoop) -> None:
        self._loop = loop
        self.epoch = 1_800_000_000.0

    def now(self) -> float:
        return self._loop.time()

    def wall(self) -> float:
        return self.epoch + self._loop.time()

    def step(self) -> float:
        return 0.0


class CallDirectory(MemoryDirectory):
    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, str] = defaultdict(str)
        self.ring_seconds: dict[str, int] = defaultdict(lambda: 30)
        self.on_calls = lambda: None

    def write_calls(self, rows) -> None:
        super().write_calls(rows)
        self.on_calls()

    def parties(self, numbers, now):
        self._call("parties")
        found = {}
        for number in numbers:
            account = self.by_number.get(number.lower())
            if account is not None:
                living = [b for b in self.rows.values() if b.account_id == account.id and b.expires_at > now]
                found[number] = Party(
                    account.id,
                    account.number,
                    self.names[number],
                    account.enabled,
                    self.ring_seconds[number],
                    False,
                    living,
                )
        return found


class InlineStore:
    """Everything is decided at once, in the loop, after ``delay`` seconds."""

    has_room = staticmethod(lambda job, beside: True)

    def __init__(self, work, core: Core, loop: JumpingLoop, pump) -> None:
        self._work, self._core, self._loop, self._pump = work, core, loop, pump
        self.delay = 0.0

    def submit(self, *jobs) -> None:
        for job in jobs:
            self._loop.call_later(self.delay, self._settle, job)

    def _settle(self, job) -> None:
        [job.decision] = self._work([job.asked])
        assert not isinstance(job.decision, Busy)
        self._core.completed([job])
        self._pump()

    def call(self, chore) -> None:
        self._loop.call_later(self.delay, chore)

    async def ask(self, question, seconds: float):
        if self.delay:
            await asyncio.sleep(self.delay)
        return question()


class FakeMedia:
    """Rewrites addresses as an engine does, and remembers what was asked. ``refuse``: a word in an SDP that it does
    not like; ``away``: nobody answers."""

    def __init__(self, clock: LoopClock) -> None:
        self._clock, self._ports = clock, count(10000, 2)
        self.log: list[tuple] = []
        self.open: dict[str, set[str]] = {}
        self.figures: dict[str, list[Heard]] = {}
        self.refuse, self.away = "", False
        self.seconds = 0.0
        self._port_of: dict[tuple, int] = {}

    async def offer(self, call, tag, sdp, *, sender, receiver, to_tag="", branch=""):
        self.log.append(("offer", call, tag, to_tag, branch))
        await self._pause(sdp)
        self.open.setdefault(call, set()).add(branch or to_tag)
        return self._rewrite(sdp, receiver, (call, tag, "towards", to_tag or branch))

    async def answer(self, call, tag, to_tag, sdp, *, sender, receiver, branch=""):
        self.log.append(("answer", call, tag, to_tag, branch))
        if not sdp:
            raise MediaRefused("no session description")
        await self._pause(sdp)
        if call not in self.open:
            raise MediaRefused("unknown call")
        return self._rewrite(sdp, receiver, (call, tag, "back"))

    async def echo(self, call, tag, sdp, *, sender):
        self.log.append(("echo", call, tag))
        await self._pause(sdp)
        self.open.setdefault(call, set())
        return self._rewrite(sdp, sender, (call, tag, "echo"))

    async def delete(self, call, tag="", branch=""):
        self.log.append(("delete", call, tag, branch))
        if branch:
            self.open.get(call, set()).discard(branch)
        else:
            self.open.pop(call, None)
        return self.figures.get(call, [])

    async def available(self, seconds):
        return True

    async def heard(self, call):
        return self.figures.get(call, [])

    async def _pause(self, sdp: bytes) -> None:
        await asyncio.sleep(self.seconds)
        if self.away:
            raise MediaUnavailable("nobody")
        if self.refuse and self.refuse.encode() in sdp:
            raise MediaRefused("refused")

    def _rewrite(self, sdp: bytes, receiver, key) -> bytes:
        port = self._port_of.setdefault(key, next(self._ports))
        text = re.sub(r"(?m)^(o=.* |c=IN IP4 )[0-9.]+(?=\r$)", rf"\g<1>{receiver.advertise}", sdp.decode())
        return re.sub(r"(?m)^m=audio \d+", f"m=audio {port}", text).encode()


class LinkWire:
    """Fulfils ``tests.support.caller.Wire`` without a network."""

    def __init__(self, world: CallWorld, address: Address) -> None:
        self._world, self.address = world, address
        self.inbox: deque[bytes] = deque()
        self.deaf = False

    def send(self, data: bytes, to: Address) -> None:
        assert to == SERVER
        self._world.loop.call_soon(self._world.arrived, data, self.address)

    def receive(self, seconds: float):
        self._world.run_until(lambda: bool(self.inbox), seconds)
        return (self.inbox.popleft(), SERVER) if self.inbox else None

    def now(self) -> float:
        return self._world.loop.time()

    def close(self) -> None:
        self._world.wires.pop(self.address, None)


class CallWorld:
    """What ``tests.calls_flow`` plays its scenarios on, in memory."""

    domain, server = DOMAIN, SERVER

    def __init__(self, **settings) -> None:
        self.loop = JumpingLoop()
        self.clock = LoopClock(self.loop)
        self.directory = CallDirectory()
        self.log_lines: list[str] = []
        self.core = Core(
            Settings(realm=REALM, algorithms=("MD5",), domains=frozenset({DOMAIN}), key=b"k" * 32, node="n1"),
            self,
            self.clock,  # type: ignore[arg-type]
        )
        decoys = {"MD5": "0" * 32, "SHA-256": "0" * 64}
        batch = RegistrationBatch(self.directory, Policy(node="n1"), decoys, self.clock.wall)
        self.store = self.core.store = InlineStore(batch, self.core, self.loop, self.pump)
        self.media = FakeMedia(self.clock)
        self.book = RecordBook(self.store, self.directory, self, self.loop)
        self.board = self.core.calls = Switchboard(
            CallSettings(
                domain=DOMAIN,
                node="n1",
                prefix="n10",
                advertise=lambda flow: flow.local[0],
                is_ours=self.core.is_ours,
                **settings,
            ),
            self.core.endpoint,
            self.core.authenticator,
            self.directory,
            self.directory,
            self.store,
            self.media,
            self.book,
            decoys,
            self.clock,
            self,
            self.pump_soon,
            self.core.say_refused,  # type: ignore[arg-type]
            recorder=self.core.recorder,
            unanswered=self.core.unanswered,
        )
        self.wires: dict[Address, LinkWire] = {}
        self._ports = count(20000)
        self._asked = False
        self._timer: asyncio.TimerHandle | None = None
        self._numbers = count(1001)
        self._news: asyncio.Future[None] | None = None
        self.directory.on_calls = self.tell

    # the log

    level = 20

    def info(self, line: str) -> None:
        self.log_lines.append(line)

    debug = warning = error = info

    def info_lines(self, *lines: str) -> None:
        self.log_lines += lines

    def stranger(self) -> bool:
        return True

    # the loop

    def arrived(self, data: bytes, source: Address) -> None:
        self.core.receive(data, Flow("UDP", SERVER, source))
        self.pump()

    def pump_soon(self) -> None:
        if not self._asked:
            self._asked = True
            self.loop.call_soon(self.pump)

    def pump(self) -> None:
        self._asked = False
        for data, flow in self.core.datagrams_to_send():
            wire = self.wires.get(flow.remote)
            if wire is not None and not wire.deaf:
                wire.inbox.append(data)
        self.tell()
        if self._timer is not None:
            self._timer.cancel()
        due = self.core.next_timeout()
        if due is not None:
            self._timer = self.loop.call_at(max(due, self.loop.time()), self._tick)

    def tell(self) -> None:
        """Something has happened: whoever waits looks again."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _tick(self) -> None:
        self.core.tick()
        self.pump()

    def run_until(self, condition, seconds: float) -> None:
        """Let the loop turn until the condition holds; at most so long on its clock."""
        end = self.loop.time() + seconds

        async def turn() -> None:
            while not condition() and self.loop.time() < end - 1e-9:
                self._news = self.loop.create_future()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news, end - self.loop.time())

        self.loop.run_until_complete(turn())

    def pass_time(self, seconds: float) -> None:
        self.run_until(lambda: False, seconds)

    # what the scenarios ask for

    def new_number(self, **fields) -> str:
        number = str(next(self._numbers))
        self.directory.add(number, PASSWORD, **fields)
        return number

    def wire(self, host: str = "127.0.0.1") -> LinkWire:
        address = (host, next(self._ports))
        self.wires[address] = LinkWire(self, address)
        return self.wires[address]

    def phone(
        self, number: str = "", host: str = "127.0.0.1", register: bool = True, password: str | None = PASSWORD
    ) -> Caller:
        phone = Caller(self.wire(host), SERVER, number or self.new_number(), password, DOMAIN)
        if register:
            phone.register()
        return phone

    def set_ring_seconds(self, number: str, seconds: int) -> None:
        self.directory.ring_seconds[number] = seconds

    def set_name(self, number: str, name: str) -> None:
        self.directory.names[number] = name

    def disable(self, number: str) -> None:
        self.directory.by_number[number].enabled = False
        for id in [id for id in self.directory.rows if id.account_id == self.directory.by_number[number].id]:
            del self.directory.rows[id]

    def records(self, src: str = "", dst: str = "") -> list[dict]:
        rows = [r for r in self.directory.calls_written.values() if src in ("", r.src) and dst in ("", r.dst)]
        return [asdict(r) | {"billsec": r.billsec, "duration": r.duration} for r in sorted(rows, key=lambda r: r.start)]

    def record_that(self, src: str, dst: str, fits) -> dict:
        self.run_until(lambda: any(map(fits, self.records(src, dst))), 5.0)
        return next(filter(fits, self.records(src, dst)))

    def ended_record(self, src: str = "", dst: str = "") -> dict:
        def there() -> bool:
            rows = self.records(src, dst)
            return bool(rows) and all(row["end"] is not None for row in rows)

        self.run_until(there, 40.0)
        rows = self.records(src, dst)
        assert len(rows) == 1 and rows[0]["end"] is not None, rows
        return rows[0]

    def hang_up(self, uniqueid: str) -> None:
        self.loop.call_soon(self.board.hang_up, uniqueid, "hung_up_by_administrator", "administrator")

    def leftovers(self) -> list[str]:
        """What a call that has ended must not leave behind."""
        board, found = self.board, []
        for name in ("calls", "call_of", "_legs", "_inviting"):
            if getattr(board, name):
                found.append(f"{name}: {getattr(board, name)}")
        found += [f"media of {call}" for call in self.media.open]
        found += [f"a task: {task}" for task in board._tasks]
        found += [f"an unanswered request: {t}" for t in self.core.endpoint._servers.values()]
        return found + [str(context) for context in self.loop.errors]

    def close(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()
