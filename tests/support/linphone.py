"""linphonec (liblinphone 5) as a real process without screen or sound card, driven by typing at it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.support import wire
from tests.support.listening import Ear
from tests.support.processes import PATIENCE, DeadlinePassed, Program, free_port, scratch_directory, wait_until
from tests.support.programs import require_program

CONFIGURATION = """[sip]
sip_port={sip_port}
sip_tcp_port={tcp_port}
sip_tls_port={tls_port}
use_ipv6=0
default_proxy=0
register_only_when_network_is_up=0
[net]
firewall_policy=0
dns_srv_enabled=0
[rtp]
audio_rtp_port={rtp_port}
[proxy_0]
reg_proxy=<sip:{host}:{port};transport={transport}>
reg_identity=sip:{number}@{domain}
reg_expires={expires}
reg_sendregister=1
publish=0
{route}
"""

AUTHENTICATION = """[auth_info_0]
username={number}
passwd={password}
"""

RECORDING = "heard.wav"
RECORDS_AT = re.compile(r"configuring \S+-->MSFileRec:\S+ from rate \[\d+\] to rate \[(\d+)\]")


class Linphone:
    """One linphonec with one account. It starts registering as soon as it is made. It is given the server's address,
    so that it never asks a DNS server (it waits up to 10 s for a dead one)."""

    def __init__(
        self, server: tuple[str, int], number: str, password: str, *, domain: str, expires: int = 60,
        transport: str = "udp", plays: Path | None = None, route: bool = False, namespace: str | None = None,
    ) -> None:
        """``password`` empty: it has none, and asks the person for it. ``namespace``: of the network it is in.
        ``route``: it sends all its calls through the server, too, whose domain nobody can resolve here.
        ``plays``: a WAV file of 8 kHz that it says all the time; then it also keeps what it hears, see :attr:`ear`."""
        program = require_program("linphonec", "linphone-cli")
        self.server, self.number, self.domain = server, number, domain
        self.directory = scratch_directory("linphone")
        # Without this directory it cannot open its databases and ends.
        (self.directory / ".local" / "share" / "linphone").mkdir(parents=True)
        configuration = CONFIGURATION + (AUTHENTICATION if password else "")
        (self.directory / "rc").write_text(configuration.format(
            sip_port=free_port(), host=server[0], port=server[1], number=number, domain=domain, expires=expires,
            rtp_port=free_port(span=2),  # its default is the same for all, and they would share it
            route=f"reg_route=<sip:{server[0]}:{server[1]};transport={transport};lr>" if route else "",
            password=password, transport=transport, tcp_port=free_port() if transport == "tcp" else 0,
            tls_port=free_port() if transport == "tls" else 0,
        ))
        self._log = self.directory / "wire"
        inside = ["ip", "netns", "exec", namespace] if namespace else []
        self.program = Program(
            [*inside, program, "-c", "rc", "-d", "6", "-l", str(self._log)], log_path=self.directory / "log",
            cwd=self.directory, name="linphonec",
            env={"HOME": str(self.directory), "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"},
        )

        if plays is not None:
            for line in ("soundcard use files", f"play {plays}", f"record {self.directory / RECORDING}"):
                self.program.say(line)

    def __enter__(self) -> Linphone:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    @property
    def registers(self) -> list[wire.Message]:
        return wire.registers(self.log)

    @property
    def answers(self) -> list[int]:
        return wire.answers(self.log)

    def state(self) -> str:
        """What ``status register`` says: "registered, identity=..." or "registered=0" or another."""
        mark = self.program.mark()
        self.program.say("status register")
        return self.program.wait_for(r"^(?:linphonec> )?(registered\S.*|.*registered.*)$", after=mark)[1]

    def wait_registered(self, seconds: float = PATIENCE) -> None:
        self._wait_state("registered, identity=", seconds)

    def wait_password_asked(self, seconds: float = PATIENCE, after: int = 0) -> None:
        """It was refused, and asks the person for the password. From then on it takes no command."""
        self.program.wait_for(r"Password for \S+ on", seconds, after)

    def wait_not_registered(self, seconds: float = PATIENCE) -> None:
        self._wait_state("registered=0", seconds)

    def _wait_state(self, words: str, seconds: float) -> None:
        try:
            wait_until(lambda: words in self.state(), f"linphonec to say {words!r}", seconds, pause=0.2)
        except DeadlinePassed as late:
            raise DeadlinePassed(f"{late}\n{self.program.tail()}\n{self.log[-4000:]}") from None

    def wait_answer(self, status: int, seconds: float = PATIENCE, count: int = 1) -> None:
        """Until ``count`` answers with this status came to its REGISTERs."""
        wait_until(
            lambda: self.answers.count(status) >= count, f"linphonec to get {status}; it got {self.answers}", seconds
        )

    # --- calls: it gives each a number, from 1 --------------------------------------------------------------

    @property
    def ear(self) -> Ear:
        recording = self.directory / RECORDING
        return Ear(f"linphonec {self.number}", lambda: [recording] if recording.exists() else [], self._recording_rate)

    def _recording_rate(self) -> int:
        """Hertz: the codec's own."""
        told = RECORDS_AT.findall(self.log)
        return int(told[-1]) if told else 8000

    def dial(self, number: str) -> int:
        """Call a number; the mark for the waiting below."""
        return self.say(f"call sip:{number}@{self.domain}")

    def say(self, line: str) -> int:
        """Type a command; the mark of before."""
        mark = self.program.mark()
        self.program.say(line)
        return mark

    def wait_ringing(self, after: int = 0) -> None:
        """Somebody calls."""
        self.program.wait_for(r"is contacting you|Receiving new incoming call", after=after)

    def answer_next(self, after: int = 0) -> None:
        """Wait until it rings and take the call."""
        self.wait_ringing(after)
        self.program.say("answer")
        self.wait_connected(after)

    def wait_connected(self, after: int = 0, call: int | None = None) -> None:
        number = r"\d+" if call is None else str(call)
        self.program.wait_for(rf"Call {number} with .* connected\.", after=after)

    def wait_ended(self, after: int = 0) -> str:
        """The reason that it tells the person: "No error", "Busy here" and such."""
        return self.program.wait_for(r"Call \d+ with .* (?:ended|error)\.? ?\(([^)]*)\)", after=after)[1]

    def unregister(self) -> None:
        self.program.say("unregister")

    def quit(self) -> int:
        self.program.say("quit")
        return self.program.wait(PATIENCE)

    def stop(self) -> None:
        self.program.stop()
