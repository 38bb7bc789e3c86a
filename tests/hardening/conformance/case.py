"""One ``runsip`` serves all checks of this directory; each check has sockets and numbers of its own.

A check is named by the section of the RFC that it holds to, and its first line says the rule."""

from __future__ import annotations

import functools
import unittest
from collections.abc import Callable
from typing import Any

from tests.hardening.conformance.peer import Peer, TcpPeer
from tests.support.caller import Caller, UdpWire
from tests.support.leaving import when_leaving
from tests.support.media_engines import rtp_ports
from tests.support.pbx import RunningPbx, SqliteStore

PASSWORD = "s3cret-pass"
NUMBERS = range(3001, 3401)

_numbers = iter(NUMBERS)


@functools.cache
def running() -> RunningPbx:
    first, last = rtp_ports()
    pbx = RunningPbx(SqliteStore(), settings={"RTPENGINE_URLS": "", "RTP_PORTS": f"{first}-{last}"})
    when_leaving(pbx.stop)
    pbx.create_extensions({str(number): PASSWORD for number in NUMBERS})
    return pbx


def for_each(**rows: Any) -> Callable[[Callable[..., None]], Any]:
    """One check for each row, named after it: the check takes the row."""

    def mark(check: Callable[..., None]) -> Callable[..., None]:
        check.rows = rows  # type: ignore[attr-defined]
        return check

    return mark


def _with_row(check: Callable[..., None], row: Any) -> Callable[..., None]:
    def one(case: ConformanceCase) -> None:
        check(case, row)

    one.__doc__ = check.__doc__
    return one


class ConformanceCase(unittest.TestCase):
    pbx: RunningPbx

    def __init_subclass__(cls) -> None:
        for name, check in list(vars(cls).items()):
            for row, value in getattr(check, "rows", {}).items():
                setattr(cls, f"{name}_{row}", _with_row(check, value))
            if hasattr(check, "rows"):
                delattr(cls, name)
        super().__init_subclass__()

    @classmethod
    def setUpClass(cls) -> None:
        cls.pbx = running()

    def new_number(self) -> str:
        return str(next(_numbers))

    def peer(self, number: str = "somebody", password: str = PASSWORD, kind: type[Peer] = Peer) -> Peer:
        peer = kind(self.pbx.server, self.pbx.domain, number, password)
        self.addCleanup(peer.close)
        return peer

    def stranger(self) -> Peer:
        """It has no number."""
        return self.peer()

    def owner(self) -> Peer:
        """It has a number, and its password; it is not registered yet."""
        return self.peer(self.new_number())

    def tcp(self, number: str = "somebody") -> TcpPeer:
        peer = self.peer(number, kind=TcpPeer)
        assert isinstance(peer, TcpPeer)
        return peer

    def phone(self, number: str = "", register: bool = True) -> Caller:
        """A user agent for calls, registered."""
        phone = Caller(UdpWire(), self.pbx.server, number or self.new_number(), PASSWORD, self.pbx.domain)
        self.addCleanup(phone.close)
        if register:
            phone.register()
        return phone

    def phones(self) -> tuple[Caller, Caller]:
        return self.phone(), self.phone()
