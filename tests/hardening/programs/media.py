"""Strangers at the ports of the sound: none of their bytes comes in, none of the phones' bytes goes out to them. With
our own relay and with rtpengine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from unittest import SkipTest

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.media_crowd import Attacker, Crowd
from tests.hardening.programs.media_later import from_anywhere, port_reuse
from tests.hardening.programs.media_named import named_victims
from tests.hardening.programs.media_talk import Talk
from tests.support.cases import PASSWORD
from tests.support.engines import RtpEngine
from tests.support.media_engines import rtp_ports
from tests.support.pbx import RunningPbx, SqliteStore
from tests.support.processes import scratch_directory

NUMBERS = [str(number) for number in range(1001, 1011)]
ANYWHERE = "1099"
ROUTER = "192.168.77.50"
"""What a phone behind a router says that its address is."""

LEARNING = (
    "rtpengine takes anybody for a phone behind a router in the first three seconds after an offer or answer "
    "(CVE-2025-53399), and has no mode that learns once, from one IP address. Our relay, which is the default, has."
)

Part = Callable[[], list[Figure]]


def measure(scale: Scale) -> Iterator[Figure]:
    """The parts mostly wait, so they are played side by side. All programs are started from here: the kernel ties their
    end to the thread that starts them."""
    with ExitStack() as stack:
        crowds = [_crowd(stack, scale, "our relay", 100)]
        reuse = [] if scale.quick else [_crowd(stack, scale, "our relay", 8)]
        try:
            crowds.append(_crowd(stack, scale, "rtpengine", 100))
            reuse += [] if scale.quick else [_crowd(stack, scale, "rtpengine", 8)]
        except SkipTest as reason:
            print(f"  rtpengine left out: {reason}")
        parts = [partial(port_reuse, crowd, NUMBERS[:6]) for crowd in reuse]
        rounds = [_sprayed(scale, crowd) + (parts if crowd is crowds[0] else []) for crowd in crowds]
        players = stack.enter_context(ThreadPoolExecutor(thread_name_prefix="media", max_workers=10))
        # In a second round, because there phones are made to be found anywhere: by the sprayers too.
        for later in ([part for one in rounds for part in one], [_later(scale, crowd) for crowd in crowds]):
            for played in [players.submit(part) for part in later]:
                yield from played.result()


def _crowd(stack: ExitStack, scale: Scale, engine: str, count: int) -> Crowd:
    """``count``: of relay ports. Raises SkipTest."""
    first, last = ports = rtp_ports(count)
    settings = {"RTP_PORTS": f"{first}-{last}"}
    if engine == "rtpengine":
        running = RtpEngine(scratch_directory("rtpengine"), ports=ports, addresses=["127.0.0.1"])
        stack.callback(running.stop)
        settings = {"RTPENGINE_URLS": running.url}
    pbx = stack.enter_context(RunningPbx(SqliteStore(), settings=settings))
    path = pbx.directory / "extensions.csv"
    lines = [f"{number},{PASSWORD},{'yes' if number == ANYWHERE else 'no'}" for number in (*NUMBERS, ANYWHERE)]
    path.write_text("\n".join(["number,password,media_from_anywhere", *lines, ""]))
    pbx.manage("importextensions", str(path))
    crowd = Crowd(pbx, engine, ports, scale.seed)
    stack.callback(crowd.close)
    return crowd


def _sprayed(scale: Scale, crowd: Crowd) -> list[Part]:
    """All sockets are opened here, one after the other; what is returned may go on at once."""
    engine, ours = crowd.engine, crowd.engine != "rtpengine"

    one, two = crowd.talker("1001", "127.0.0.2", 0x1111), crowd.talker("1002", "127.0.0.3", 0x2222)
    everybody = [*_strangers(scale, crowd, 1), *(crowd.attacker(ip, f"beside {ip}") for ip in (one.ip, two.ip))]
    plain = Talk(crowd, one, two, scale)

    one, two = crowd.talker("1003", "127.0.0.4", 0x3333, ROUTER), crowd.talker("1004", "127.0.0.5", 0x4444, ROUTER)
    early = _strangers(scale, crowd, 2)
    late = [*early, *(crowd.attacker(ip, f"beside {ip}", knows=False) for ip in (one.ip, two.ip))]
    routers, where = Talk(crowd, one, two, scale), f"{engine}, phones behind routers"
    parts: list[Part] = [
        lambda: plain.through(everybody, everybody).told(everybody, engine),
        lambda: routers.through(early, late).told(late, where, "" if ours else LEARNING),
    ]
    if ours:
        one, two = crowd.talker("1005", "127.0.0.6", 0x5555, ROUTER), crowd.talker("1006", "127.0.0.7", 0x6666, ROUTER)
        knowing = [crowd.attacker(ip, f"beside {ip}") for ip in (one.ip, two.ip)]
        neighbours = Talk(crowd, one, two, scale)
        parts.append(lambda: neighbours.through(knowing, knowing).told_of_neighbours(knowing))
    return parts


def _later(scale: Scale, crowd: Crowd) -> Part:
    def play() -> list[Figure]:
        naming = crowd.talker("1007", "127.0.0.8", 0x7777), crowd.talker("1008", "127.0.0.10", 0x8888)
        figures = named_victims(crowd, scale, *naming)
        if crowd.engine != "rtpengine":
            gateway = crowd.talker(ANYWHERE, "127.0.0.11", 0x9999), crowd.talker("1009", "127.0.0.12", 0xAAAA)
            figures += from_anywhere(crowd, *gateway, _strangers(scale, crowd, 3))
        return figures

    return play


def _strangers(scale: Scale, crowd: Crowd, net: int) -> list[Attacker]:
    return [crowd.attacker(f"127.0.{net}.{66 + n}") for n in range(scale.of(6, 2))]
