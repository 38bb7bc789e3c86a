"""The two engines that carry the sound, as mix-ins of test cases: our own relay, which ``runsip`` starts, and a real
rtpengine."""

from __future__ import annotations

import itertools
import os
from typing import ClassVar

from tests.support.cases import PbxCase
from tests.support.processes import Program, free_port, scratch_directory
from tests.support.programs import require_program

_turns = itertools.count(os.getpid())


def rtp_ports(count: int = 400) -> tuple[int, int]:
    """First and last of some ports below those that the kernel gives out, others in each run and class."""
    first = 20000 + next(_turns) % 30 * count
    return first, first + count - 1


class OnOurRelay(PbxCase):
    rtp_range: ClassVar[tuple[int, int]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.rtp_range = rtp_ports()

    @classmethod
    def setUpClass(cls) -> None:
        first, last = cls.rtp_range
        cls.settings = {**cls.settings, "RTPENGINE_URLS": "", "RTP_PORTS": f"{first}-{last}"}
        super().setUpClass()


class OnRtpengine(PbxCase):
    @classmethod
    def setUpClass(cls) -> None:
        program = require_program("rtpengine", "rtpengine-daemon")
        first, last = rtp_ports()
        port = free_port()
        engine = Program(
            [
                program, "--table=-1", "--config-file=none", "--foreground", "--log-stderr", "--interface=127.0.0.1",
                f"--listen-ng=127.0.0.1:{port}", f"--port-min={first}", f"--port-max={last}",
            ],
            log_path=scratch_directory("rtpengine") / "log", name="rtpengine",
        )
        cls.addClassCleanup(engine.stop)
        cls.settings = {**cls.settings, "RTPENGINE_URLS": f"udp:127.0.0.1:{port}"}
        super().setUpClass()
