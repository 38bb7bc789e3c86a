"""The media tests' two engines, behind one client."""

from __future__ import annotations

import asyncio
import os
import threading
import unittest
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

from sipcore.media.ng import Path
from sipcore.media.pool import NgPool
from sipcore.media.processes import RelayProcesses
from tests.media.phones import Phone
from tests.support.engines import RtpEngine
from tests.support.processes import scratch_directory

Result = TypeVar("Result")
ADDRESSES = ["127.0.0.1", "::1"]
SPAN = 1000


def port_range() -> tuple[int, int]:
    """One below the ephemeral ports, most likely of no other test run at the same time."""
    first = 12_000 + os.getpid() % 18 * SPAN
    return first, first + SPAN - 1


class Background:
    """An event loop in a thread, so that the tests can be plain functions with plain sockets."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()


class EngineCase(unittest.TestCase):
    """``ours``: whether the stricter promises of our own relay hold."""

    ours: ClassVar[bool] = False
    background: ClassVar[Background]
    pool: ClassVar[NgPool]
    _calls = 0

    @classmethod
    def start_engine(cls) -> list[str]:
        raise unittest.SkipTest("a base class")

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.background = Background()
        cls.addClassCleanup(cls.background.stop)
        urls = cls.start_engine()
        cls.pool = NgPool(urls)
        cls.background.run(cls.pool.start())
        cls.addClassCleanup(lambda: cls.background.run(cls.pool.close()))

    def setUp(self) -> None:
        EngineCase._calls += 1
        self.call_id = f"{type(self).__name__}-{EngineCase._calls}@test"
        self.addCleanup(self.wait, self.pool.delete(self.call_id))

    def wait(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return self.background.run(coroutine)

    def phone(self, ip: str, ssrc: int, named: str = "") -> Phone:
        phone = Phone(ip, ssrc=ssrc, named=named)
        self.addCleanup(phone.close)
        return phone

    def path(self, phone: Phone) -> Path:
        """Of a phone alone: its own answer goes back to it."""
        return Path(received_from=phone.ip, media_address=near(phone))

    def join(self, caller: Phone, callee: Phone, *, branch: str = "z9hG4bK-1", anywhere: bool = False) -> None:
        """Offer by the caller, answer by the callee; both are told where to send."""
        self.offer(caller, callee, branch=branch, anywhere=anywhere)
        self.answer(caller, callee, branch=branch, anywhere=anywhere)

    def offer(self, sender: Phone, receiver: Phone, *, branch: str = "", to_tag: str = "", from_tag: str = "caller",
              sdp: bytes = b"", anywhere: bool = False) -> bytes:  # fmt: skip
        path = Path(received_from=sender.ip, media_address=near(receiver), from_anywhere=anywhere)
        told = self.wait(
            self.pool.offer(
                self.call_id, from_tag, sdp or sender.describe(), via_branch=branch, to_tag=to_tag, path=path
            )
        )
        receiver.told(told)
        return told

    def answer(self, caller: Phone, callee: Phone, *, branch: str = "", from_tag: str = "caller",
               to_tag: str = "callee", sdp: bytes = b"", anywhere: bool = False) -> bytes:  # fmt: skip
        """By the callee, unless it is the caller's answer to a later offer: then the tags are exchanged."""
        path = Path(received_from=callee.ip, media_address=near(caller), from_anywhere=anywhere)
        told = self.wait(
            self.pool.answer(self.call_id, from_tag, to_tag, sdp or callee.describe(), via_branch=branch, path=path)
        )
        caller.told(told)
        return told


class OnOurRelay(EngineCase):
    ours = True
    relays: ClassVar[RelayProcesses]
    quarantine: ClassVar[str] = "1"

    @classmethod
    def start_engine(cls) -> list[str]:
        # The kernel ties a relay's life to the thread that starts it, and that is the loop's here.
        cls.relays = RelayProcesses(ports=port_range(), addresses=ADDRESSES, options=["--quarantine", cls.quarantine])
        urls = cls.background.run(cls.relays.start())
        cls.addClassCleanup(lambda: cls.background.run(cls.relays.stop()))
        return urls


class OnRtpEngine(EngineCase):
    @classmethod
    def start_engine(cls) -> list[str]:
        engine = RtpEngine(scratch_directory("rtpengine"), ports=port_range(), addresses=ADDRESSES)
        cls.addClassCleanup(engine.stop)
        return [engine.url]


def near(phone: Phone) -> str:
    """What the engine is to advertise to that phone."""
    return ADDRESSES[1] if ":" in phone.ip else ADDRESSES[0]
