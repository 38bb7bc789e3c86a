"""Strangers at the ports of the sound: none of their bytes comes in, none of the phones' bytes goes out to them. With
our own relay and with rtpengine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import SkipTest

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.media_crowd import Attacker, Crowd
from tests.hardening.programs.media_named import named_victims
from tests.hardening.programs.media_talk import Talk
from tests.support.cases import PASSWORD
from tests.support.engines import RtpEngine
from tests.support.media_engines import rtp_ports
from tests.support.pbx import RunningPbx, SqliteStore
from tests.support.processes import scratch_directory

NUMBERS = [str(number) for number in range(1001, 1021)]
ANYWHERE = "1099"
GOAL = "no stray byte out, none in"
ROUTER = "192.168.77.50"
"""What a phone behind a router says that its address is."""


def measure(scale: Scale) -> Iterator[Figure]:
    yield from _engine(scale, "our relay", ours=True)
    try:
        yield from _engine(scale, "rtpengine", ours=False)
    except SkipTest as reason:
        print(f"  rtpengine left out: {reason}")


@contextmanager
def _crowd(scale: Scale, ours: bool, count: int) -> Iterator[Crowd]:
    first, last = ports = rtp_ports(count)
    with ExitStack() as stack:
        settings = {"RTP_PORTS": f"{first}-{last}"}
        if not ours:
            engine = RtpEngine(scratch_directory("rtpengine"), ports=ports, addresses=["127.0.0.1"])
            stack.callback(engine.stop)
            settings = {"RTPENGINE_URLS": engine.url}
        pbx = stack.enter_context(RunningPbx(SqliteStore(), settings=settings))
        pbx.create_extensions(dict.fromkeys([*NUMBERS, ANYWHERE], PASSWORD))
        crowd = Crowd(pbx, ports, scale.seed)
        stack.callback(crowd.close)
        yield crowd


def _engine(scale: Scale, engine: str, *, ours: bool) -> Iterator[Figure]:
    with _crowd(scale, ours, 100) as crowd:
        strangers = [crowd.attacker(f"127.0.0.{66 + n}") for n in range(scale.of(6, 2))]

        one, two = crowd.talker("1001", "127.0.0.2", 0x1111), crowd.talker("1002", "127.0.0.3", 0x2222)
        beside = [crowd.attacker(ip, f"beside {ip}") for ip in (one.ip, two.ip)]
        talk = Talk(crowd, one, two, scale)
        talk.through(strangers + beside, strangers + beside)
        yield from _told(crowd, talk, engine, "", strangers + beside, "")

        one = crowd.talker("1003", "127.0.0.4", 0x3333, ROUTER)
        two = crowd.talker("1004", "127.0.0.5", 0x4444, ROUTER)
        beside = [crowd.attacker(ip, f"beside {ip}", knows=False) for ip in (one.ip, two.ip)]
        talk = Talk(crowd, one, two, scale)
        talk.through(strangers, strangers + beside)
        yield from _told(crowd, talk, engine, ", phones behind routers", strangers + beside, "" if ours else LEARNING)

        if ours:
            one = crowd.talker("1005", "127.0.0.6", 0x5555, ROUTER)
            two = crowd.talker("1006", "127.0.0.7", 0x6666, ROUTER)
            beside = [crowd.attacker(ip, f"beside {ip}") for ip in (one.ip, two.ip)]
            talk = Talk(crowd, one, two, scale)
            talk.through(beside, beside)
            yield _beside(talk, beside)

        yield from named_victims(crowd, engine)


LEARNING = (
    "rtpengine takes anybody for a phone behind a router in the first three seconds after an offer or answer "
    "(CVE-2025-53399), and has no mode that learns once, from one IP address. Our relay, which is the default, has."
)


def _beside(talk: Talk, attackers: list[Attacker]) -> Figure:
    """Somebody behind the phone's own router, who is faster than the phone and knows its SSRC."""
    silent = ("(until they speak)", "in silence", "on hold")
    open_ = sum(count for phase, count in talk.reached.items() if phase.endswith(silent))
    closed = sum(talk.reached.values()) - open_
    return Figure(
        "our relay, an attacker behind the phone's own router who knows its SSRC: once the phone speaks",
        f"{closed} of {sum(one.sent for one in attackers)} ({open_} before it spoke, or when it was silent for long)",
        GOAL, not closed, cause="; ".join(f"{phase}: {count}" for phase, count in talk.reached.items() if count),
    )  # fmt: skip


def _told(
    crowd: Crowd, talk: Talk, engine: str, where: str, attackers: list[Attacker], cause: str
) -> Iterator[Figure]:
    out = sum(crowd.ears.got[attacker.name] for attacker in attackers)
    inward = sum(crowd.ears.marked[phone.name] for phone in (talk.one, talk.two))
    sent = sum(attacker.sent for attacker in attackers)
    worst = "; ".join(f"{phase}: {count}" for phase, count in talk.reached.items() if count)
    yield Figure(
        f"{engine}{where}: packets sprayed, of which reached a phone, sent to a sprayer",
        f"{sent}, {inward}, {out}", GOAL, not (out or inward), cause=" ".join(filter(None, (worst, cause))),
    )  # fmt: skip
    heard = min(talk.shares.values(), default=0.0)
    yield Figure(
        f"{engine}{where}: of what the phones said meanwhile the other heard",
        f"{heard:.1%} at least in each of {len(talk.shares)} phases", "99 %", heard >= 0.99,
        cause="; ".join(f"{phase}: {share:.0%}" for phase, share in talk.shares.items() if share < 0.99),
    )  # fmt: skip
    yield Figure(f"{engine}{where}: strangers' packets counted in the call's record", str(talk.counted()),
                 "for information", True)  # fmt: skip
