"""Networks of the tests' own, made of the kernel's network namespaces: hosts, switches and routers with NAT.

    with Networks() as networks:
        internet = networks.switch("internet")
        home = networks.switch("home")
        networks.router("router", internet, "203.0.113.2/24", home, "192.168.77.1/24", symmetric=True)
        phone = networks.host("phone", home, "192.168.77.50/24", gateway="192.168.77.1")

Only root can make them. All names begin with the test run's own prefix, and everything is removed at the end."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import unittest
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.processes import run_program
from tests.support.programs import in_ci, require_program

CLONE_NEWNET = 0x40000000
PLACES = Path("/run/netns")

_numbers = itertools.count(1)


@contextlib.contextmanager
def inside(namespace: str | None) -> Iterator[None]:
    """Sockets that this thread opens within the block belong to the namespace, and go on doing so."""
    if namespace is None:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as outside, (PLACES / namespace).open("rb") as there:
        _enter(libc, there.fileno())
        try:
            yield
        finally:
            _enter(libc, outside.fileno())


def _enter(libc: ctypes.CDLL, descriptor: int) -> None:
    if libc.setns(descriptor, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def run(*arguments: str, text_in: str | None = None) -> str:
    done = run_program(arguments, text_in=text_in, seconds=30.0)
    if done.returncode:
        raise AssertionError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def _remove_orphans() -> None:
    """Those of test runs that were killed before they could remove their own."""
    for place in PLACES.glob("pbx*-*"):
        pid = place.name.removeprefix("pbx").partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            run_program(["ip", "netns", "delete", place.name], seconds=30.0)


class Networks:
    def __init__(self) -> None:
        """Raises ``unittest.SkipTest`` where namespaces cannot be made."""
        if os.geteuid() != 0:
            raise unittest.SkipTest("network namespaces need root")
        require_program("ip", "iproute2")
        require_program("nft", "nftables")
        _remove_orphans()
        self._prefix = f"pbx{os.getpid()}-{next(_numbers)}-"
        self._made: list[str] = []
        self._ports = itertools.count(1)
        try:
            self.namespace("probe")
        except AssertionError as refused:
            if in_ci():
                raise
            raise unittest.SkipTest(f"network namespaces cannot be made here: {refused}") from None

    def __enter__(self) -> Networks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """What still runs inside keeps its namespace until it ends: stop the phones first."""
        for name in reversed(self._made):
            run_program(["ip", "netns", "delete", name], seconds=30.0)
        self._made.clear()

    def namespace(self, role: str) -> str:
        name = self._prefix + role
        run("ip", "netns", "add", name)
        self._made.append(name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def switch(self, role: str) -> str:
        name = self.namespace(role)
        run("ip", "-n", name, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", name, "link", "set", "br0", "up")
        return name

    def plug(self, namespace: str, device: str, switch: str, address: str) -> None:
        """A network cable from the host's new ``device`` to the switch; ``address`` with its prefix length."""
        port = f"port{next(self._ports)}"
        run("ip", "link", "add", device, "netns", namespace, "type", "veth", "peer", "name", port, "netns", switch)
        run("ip", "-n", switch, "link", "set", port, "master", "br0", "up")
        run("ip", "-n", namespace, "address", "add", address, "dev", device)
        run("ip", "-n", namespace, "link", "set", device, "up")

    def host(self, role: str, switch: str, address: str, gateway: str = "") -> str:
        """The namespace of a machine with one cable, ``lan``."""
        name = self.namespace(role)
        self.plug(name, "lan", switch, address)
        if gateway:
            run("ip", "-n", name, "route", "add", "default", "via", gateway)
        return name

    def router(
        self, role: str, wan: str, wan_address: str, lan: str, lan_address: str, *, symmetric: bool = False,
        forgets: int = 30, forwards: Sequence[tuple[str, str]] = (), to: str = "",
    ) -> Router:
        """A home router: masquerades ``lan`` behind its address in ``wan``. ``symmetric``: another port for each
        destination, else the phone's own port where it is free. ``forgets``: seconds after which an unused UDP mapping
        is gone. ``forwards``: pairs of protocol and ports that go to the inside host ``to``."""
        name = self.namespace(role)
        self.plug(name, "wan", wan, wan_address)
        self.plug(name, "lan", lan, lan_address)
        kind = "fully-random" if symmetric else "persistent"
        inward = "".join(
            f'add rule ip nat inward iifname "wan" {protocol} dport {ports} dnat to {to}\n'
            for protocol, ports in forwards
        )
        run("ip", "netns", "exec", name, "nft", "-f", "-", text_in=(
            "add table ip nat\n"
            "add chain ip nat inward { type nat hook prerouting priority dstnat; }\n"
            "add chain ip nat outward { type nat hook postrouting priority srcnat; }\n"
            f'add rule ip nat outward oifname "wan" masquerade {kind}\n{inward}'
            # What nobody inside has asked for does not come in.
            "add table ip filter\n"
            "add chain ip filter forward { type filter hook forward priority filter; }\n"
            'add rule ip filter forward iifname "wan" ct state new ct status & dnat == 0 drop\n'
        ))
        with inside(name):
            for setting, value in (
                ("ipv4/ip_forward", 1),
                ("netfilter/nf_conntrack_udp_timeout", forgets),
                ("netfilter/nf_conntrack_udp_timeout_stream", forgets),
            ):
                (Path("/proc/sys/net") / setting).write_text(str(value))
                told = run("ip", "netns", "exec", name, "cat", f"/proc/sys/net/{setting}")
                assert int(told) == value, f"{setting} is {told}"
        return Router(name)

    def unplug(self, namespace: str, device: str = "lan") -> None:
        """Its cable is pulled: from now on nothing goes in or out."""
        run("ip", "-n", namespace, "link", "set", device, "down")


class Router:
    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def move(self, before: str, after: str) -> None:
        """It gets another address in its provider's network, as a phone does that changes from Wi-Fi to mobile data;
        all its mappings are gone with the old one. Both with their prefix length."""
        run("ip", "-n", self.namespace, "address", "delete", before, "dev", "wan")
        run("ip", "-n", self.namespace, "address", "add", after, "dev", "wan")
