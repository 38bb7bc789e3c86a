"""Many phones at once: thousands of numbers over a few UDP sockets, in processes of their own.

    with LoadGenerator(server=("127.0.0.1", port), domain="pbx.test", first=20000, count=10000) as load:
        report = load.run("register")       # REGISTER, 401, REGISTER with digest, 200
        report = load.run("refresh")        # the kept nonce with nc counted up: one round trip
        report = load.run("unregister")
        report = load.run("echo")           # of a server that only echoes: two round trips, no digest

Each phone behaves: T1 retransmissions (RFC 3261 17.1.2), one answer to each challenge, Retry-After obeyed.
The workers measure their own processor time, so that a report shows whether they were the limit.
The module is also the worker: ``python -m tests.support.loadgen`` reads phases as JSON lines on stdin."""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.support.processes import DeadlinePassed, wait_until
from tests.support.programs import find_program

ROOT = Path(__file__).resolve().parents[2]
T1 = 0.5  # seconds
T2 = 4.0
TIMER_F = 64 * T1


@dataclass(frozen=True)
class Phones:
    """What one worker plays: ``count`` numbers from ``first`` on."""

    server: tuple[str, int]
    domain: str
    first: int
    count: int
    password: str = "load-{number}"
    sockets: int = 8
    window: int = 100
    """How many transactions are under way at once."""
    expires: int = 3600


@dataclass
class LoadReport:
    """What one phase showed. Times in seconds."""

    phase: str
    asked: int = 0
    confirmed: list[int] = field(default_factory=list)
    """The numbers whose REGISTER got its 200."""
    answers: Counter[str] = field(default_factory=Counter)
    """Every final answer by status, the normal first 401 as "challenge"; "timeout" is Timer F."""
    latencies: list[float] = field(default_factory=list)
    retransmissions: int = 0
    unsent: int = 0
    """What the generator's own kernel did not take."""
    behind: float = 0.0
    """With a planned rate: how late the generator came to a request, at worst."""
    started: float = 0.0
    ended: float = 0.0
    own_cpu: float = 0.0
    processes: int = 1

    @property
    def seconds(self) -> float:
        return max(self.ended - self.started, 1e-9)

    @property
    def rate(self) -> float:
        """Confirmed requests a second."""
        return len(self.confirmed) / self.seconds

    @property
    def own_load(self) -> float:
        """How busy the busiest-possible worker was, 0 to 1: near 1 means the generator was the limit."""
        return self.own_cpu / self.seconds / self.processes

    @property
    def failures(self) -> dict[str, int]:
        return {name: count for name, count in self.answers.items() if name not in {"200", "challenge"}}

    def percentile(self, percent: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0

    def __str__(self) -> str:
        return (
            f"{self.phase}: {len(self.confirmed)}/{self.asked} in {self.seconds:.2f} s = {self.rate:.0f}/s, "
            f"p50 {self.percentile(50) * 1000:.1f} ms, p99 {self.percentile(99) * 1000:.1f} ms, "
            f"{self.retransmissions} retransmissions, failures {self.failures or 'none'}, "
            f"generator {self.own_load:.0%} busy"
        )


class LoadGenerator:
    """Worker processes playing many phones. A context manager; ``stop()`` ends them."""

    def __init__(
        self, *, server: tuple[str, int], domain: str, first: int, count: int, password: str = "load-{number}",
        processes: int = 1, window: int = 200, sockets: int = 8,
    ) -> None:
        self._workers: list[_Worker] = []
        share = -(-count // processes)
        for start in range(first, first + count, share):
            self._workers.append(_Worker(Phones(
                server, domain, start, min(share, first + count - start), password, sockets,
                max(1, window // processes),
            )))
        for worker in self._workers:
            worker.expect("ready", 60)

    def __enter__(self) -> LoadGenerator:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, phase: str, seconds: float = 120.0) -> LoadReport:
        self.start(phase)
        return self.collect(seconds)

    def start(self, phase: str) -> None:
        for worker in self._workers:
            worker.command(phase)

    def collect(self, seconds: float = 120.0) -> LoadReport:
        """Wait for the end of the phase and join the workers' reports."""
        joined = LoadReport("", processes=len(self._workers))
        deadline = time.monotonic() + seconds
        reports = [worker.expect("report", deadline - time.monotonic()) for worker in self._workers]
        joined.started = min(one["started"] for one in reports)
        joined.ended = max(one["ended"] for one in reports)
        for one in reports:
            joined.phase = one["phase"]
            joined.asked += one["asked"]
            joined.confirmed += one["confirmed"]
            joined.answers.update(one["answers"])
            joined.latencies += one["latencies"]
            joined.retransmissions += one["retransmissions"]
            joined.own_cpu += one["own_cpu"]
        return joined

    def give_up(self, seconds: float = 10.0) -> LoadReport:
        """All phones fall silent at once, in the middle of the phase; the report so far."""
        for worker in self._workers:
            worker.process.send_signal(signal.SIGUSR1)
        return self.collect(seconds)

    @property
    def progress(self) -> int:
        """Confirmed requests of the phase under way (told every 20 ms)."""
        return sum(worker.progress for worker in self._workers)

    def wait_for_progress(self, count: int, seconds: float = 60.0) -> None:
        wait_until(lambda: self.progress >= count, f"{count} confirmed registrations", seconds, pause=0.005)

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()


class _Worker:
    def __init__(self, phones: Phones) -> None:
        setpriv = find_program("setpriv")
        self.process = subprocess.Popen(
            [*([setpriv, "--pdeathsig=KILL", "--"] if setpriv else []), sys.executable, "-m", __name__,
             json.dumps(asdict(phones))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        self.progress = 0
        self._said: queue.Queue[dict] = queue.Queue()
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if said["kind"] == "progress":
                self.progress = said["confirmed"]
            else:
                self._said.put(said)
        self._said.put({"kind": "end"})

    def command(self, phase: str) -> None:
        self.progress = 0
        assert self.process.stdin is not None
        self.process.stdin.write(phase + "\n")
        self.process.stdin.flush()

    def expect(self, kind: str, seconds: float) -> dict:
        try:
            said = self._said.get(timeout=max(0.1, seconds))
        except queue.Empty:
            raise DeadlinePassed(f"the load generator said no {kind} in time") from None
        assert said["kind"] == kind, said
        return said

    def stop(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        self._reader.join(5)
        self.process.stdout.close()


# --- the worker process ----------------------------------------------------------------------------------


class _GiveUp(Exception):
    """The test wants silence now."""


class _Crowd:
    """The phones of one worker. Everything is indexed by the place of the phone in the range."""

    def __init__(self, phones: Phones) -> None:
        self.phones = phones
        self.sockets = []
        self.poll = select.epoll()
        self.by_fd: dict[int, socket.socket] = {}
        for _ in range(phones.sockets):
            one = socket.socket(socket.AF_INET6 if ":" in phones.server[0] else socket.AF_INET, socket.SOCK_DGRAM)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            one.connect(tuple(phones.server))
            one.setblocking(False)
            self.poll.register(one.fileno(), select.EPOLLIN)
            self.by_fd[one.fileno()] = one
            self.sockets.append(one)
        self.numbers = [str(phones.first + place).encode() for place in range(phones.count)]
        self.passwords = [phones.password.format(number=number.decode()).encode() for number in self.numbers]
        self.domain = phones.domain.encode()
        self.ha2 = hashlib.md5(b"REGISTER:sip:" + self.domain).hexdigest().encode()
        self.heads = [self._head(place) for place in range(phones.count)]
        self.contacts = [
            b"<sip:%s@%s:%d>" % (number, *self._address(place)) for place, number in enumerate(self.numbers)
        ]
        self.realm = b""
        self.ha1: list[bytes] = [b""] * phones.count
        self.nonce = [b""] * phones.count
        self.nc = [0] * phones.count
        self.cseq = [0] * phones.count
        self.confirmed: list[int] = []

    def _address(self, place: int) -> tuple[bytes, int]:
        host, port = self.sockets[place % len(self.sockets)].getsockname()[:2]
        return host.encode(), port

    def _head(self, place: int) -> tuple[bytes, bytes]:
        """A REGISTER up to the branch, and from there up to the CSeq."""
        host, port = self._address(place)
        number = self.numbers[place]
        return (
            b"REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s:%d;rport;branch=z9hG4bK.%d." % (
                self.domain, host, port, place),
            b"\r\nMax-Forwards: 70\r\nFrom: <sip:%s@%s>;tag=%d\r\nTo: <sip:%s@%s>\r\nCall-ID: load-%d-%s\r\n"
            b"User-Agent: load/1\r\n" % (number, self.domain, port, number, self.domain, port, number),
        )

    def request(self, place: int, expires: int) -> bytes:
        self.cseq[place] = cseq = self.cseq[place] + 1
        before, after = self.heads[place]
        nonce = self.nonce[place]
        credentials = b""
        if nonce:
            self.nc[place] = nc = self.nc[place] + 1
            if not self.ha1[place]:
                text = b"%s:%s:%s" % (self.numbers[place], self.realm, self.passwords[place])
                self.ha1[place] = hashlib.md5(text).hexdigest().encode()
            response = hashlib.md5(
                b"%s:%s:%08x:5f3a:auth:%s" % (self.ha1[place], nonce, nc, self.ha2)
            ).hexdigest().encode()
            credentials = (
                b'Authorization: Digest username="%s", realm="%s", nonce="%s", uri="sip:%s", response="%s", '
                b'algorithm=MD5, cnonce="5f3a", qop=auth, nc=%08x\r\n'
            ) % (self.numbers[place], self.realm, nonce, self.domain, response, nc)
        return b"%s%d%sCSeq: %d REGISTER\r\nContact: %s\r\nExpires: %d\r\n%sContent-Length: 0\r\n\r\n" % (
            before, cseq, after, cseq, self.contacts[place], expires, credentials)

    def play(self, phase: str) -> LoadReport:
        report = LoadReport(phase)
        self.confirmed = report.confirmed
        with contextlib.suppress(_GiveUp):
            self._play(phase, report)
        report.ended = time.monotonic()
        return report

    def _play(self, phase: str, report: LoadReport) -> None:
        expires = 0 if phase == "unregister" else self.phones.expires
        if phase in ("register", "echo"):
            self.nonce = [b""] * self.phones.count
            self.nc = [0] * self.phones.count
        sockets, crowd, clock = self.sockets, len(self.sockets), time.monotonic
        # place -> [the datagram, first sent, resend at, interval, first sent of the whole registration]
        under_way: dict[int, list] = {}
        later: list[tuple[float, int]] = []
        echo, echoed = phase == "echo", set()
        ahead, last, window = 0, self.phones.count, self.phones.window
        looked = told = report.started = clock()

        def send(place: int, begun: float) -> None:
            data = self.request(place, expires)
            now = clock()
            under_way[place] = [data, now, now + T1, T1, begun or now]
            with contextlib.suppress(OSError):
                sockets[place % crowd].send(data)

        while under_way or later or ahead < last:
            while ahead < last and len(under_way) < window:
                send(ahead, 0.0)
                report.asked += 1
                ahead += 1
            for fd, _ in self.poll.poll(0.02):
                receive = self.by_fd[fd].recv
                for _ in range(64):
                    try:
                        data = receive(65535)
                    except BlockingIOError:
                        break
                    except ConnectionRefusedError:
                        continue  # the server is away; Timer E goes on
                    mark = data.find(b"branch=z9hG4bK.")
                    if (data[:8] != b"SIP/2.0 " and not echo) or mark < 0:
                        continue
                    place_text, _, rest = data[mark + 15:mark + 60].partition(b".")
                    place = int(place_text)
                    entry = under_way.get(place)
                    digits = len(str(self.cseq[place]))
                    if entry is None or rest[:digits] != b"%d" % self.cseq[place] or rest[digits:digits + 1].isdigit():
                        continue  # the double of an answer that was seen
                    del under_way[place]
                    status = data[8:11]
                    if echo:
                        if place in echoed:
                            report.confirmed.append(int(self.numbers[place]))
                            report.latencies.append(round(clock() - entry[4], 5))
                        else:
                            echoed.add(place)
                            send(place, entry[4])
                        continue
                    if status == b"200":
                        if expires and self.contacts[place] not in data:
                            report.answers["200 without the Contact"] += 1
                            continue
                        report.answers["200"] += 1
                        report.confirmed.append(int(self.numbers[place]))
                        report.latencies.append(round(clock() - entry[4], 5))
                    elif status == b"401" and (not self.nonce[place] or b"stale=true" in data):
                        report.answers["challenge"] += 1
                        self._learn(place, data)
                        send(place, entry[4])
                    elif status == b"503":
                        report.answers["503"] += 1
                        if b"\r\nRetry-After: " not in data:
                            report.answers["503 without Retry-After"] += 1
                        digits_of_wait = data.partition(b"\r\nRetry-After: ")[2][:4].split(b"\r")[0].split(b";")[0]
                        later.append((clock() + float(digits_of_wait or 1), place))
                    else:
                        report.answers[status.decode()] += 1
            now = clock()
            if now - told > 0.02:
                told = now
                _say(kind="progress", confirmed=len(report.confirmed))
            if now - looked > 0.05:
                looked = now
                for place, entry in list(under_way.items()):
                    if now - entry[1] > TIMER_F:
                        del under_way[place]
                        report.answers["timeout"] += 1
                    elif now > entry[2]:
                        entry[3] = min(entry[3] * 2, T2)
                        entry[2] = now + entry[3]
                        report.retransmissions += 1
                        with contextlib.suppress(OSError):
                            sockets[place % crowd].send(entry[0])
                due = [one for one in later if one[0] <= now]
                for one in due:
                    later.remove(one)
                    send(one[1], 0.0)

    def _learn(self, place: int, data: bytes) -> None:
        self.nonce[place] = data.partition(b'nonce="')[2].partition(b'"')[0]
        self.nc[place] = 0
        realm = data.partition(b'realm="')[2].partition(b'"')[0]
        if realm != self.realm:
            self.realm = realm
            self.ha1 = [b""] * self.phones.count


def _say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _fall_silent(*_: object) -> None:
    raise _GiveUp


def main() -> None:
    spec = json.loads(sys.argv[1])
    spec["server"] = tuple(spec["server"])
    crowd = _Crowd(Phones(**spec))
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    _say(kind="ready")
    for line in sys.stdin:
        signal.signal(signal.SIGUSR1, _fall_silent)
        before = time.process_time()
        report = crowd.play(line.strip())
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        report.own_cpu = time.process_time() - before
        _say(kind="report", **vars(report))  # asdict() spoils a Counter


if __name__ == "__main__":
    main()
