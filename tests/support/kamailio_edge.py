"""The Kamailio of ``deploy/kamailio-edge.cfg`` between phones and PBX."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.support.processes import Program, free_port, scratch_directory, wait_until
from tests.support.programs import require_program

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy" / "kamailio-edge.cfg"
HOST = "127.0.0.20"


class KamailioEdge:
    """It listens at ``server`` and hands on to ``pbx``. Raises ``unittest.SkipTest`` where there is no Kamailio."""

    def __init__(self, pbx: tuple[str, int]) -> None:
        kamailio = require_program("kamailio", "kamailio")
        self.server = (HOST, free_port(host=HOST))
        directory = scratch_directory("edge")
        modules = next(Path("/usr/lib").glob("*/kamailio/modules"), Path("/usr/lib/kamailio/modules"))
        (directory / "dispatcher.list").write_text(f"1 sip:{pbx[0]}:{pbx[1]}\n")
        text = CONFIGURATION.read_text()
        for shipped, here in (
            ("203.0.113.5:5060", f"{HOST}:{self.server[1]}"),
            ("/etc/kamailio/", f"{directory}/"),
            ("/run/kamailio/", f"{directory}/"),
            ("/usr/lib/x86_64-linux-gnu/kamailio/modules/", f"{modules}/"),
        ):
            assert shipped in text, f"{shipped} stands no more in {CONFIGURATION.name}"
            text = text.replace(shipped, here)
        (directory / "kamailio.cfg").write_text(text)
        self._program = Program(
            [kamailio, "-f", str(directory / "kamailio.cfg"), "-DD", "-E", "-m", "64", "-M", "8", "-Y", str(directory)],
            log_path=directory / "log",
            death_signal="TERM",
            name="kamailio",
        )
        wait_until(self._answers, "Kamailio answers")

    def _answers(self) -> bool:
        assert self._program.running, self._program.tail()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.2)
            probe.connect(self.server)
            via = f"Via: SIP/2.0/UDP {HOST}:9;rport;branch=z9hG4bKup\r\nMax-Forwards: 0\r\n"
            head = "From: <sip:up@up.test>;tag=1\r\nTo: <sip:up@up.test>\r\nCall-ID: up\r\nCSeq: 1 OPTIONS\r\n"
            try:
                probe.send(f"OPTIONS sip:up@up.test SIP/2.0\r\n{via}{head}Content-Length: 0\r\n\r\n".encode())
                return probe.recv(2000).startswith(b"SIP/2.0 483")
            except OSError:
                return False

    @property
    def log(self) -> str:
        return self._program.log

    def stop(self) -> None:
        self._program.stop()
