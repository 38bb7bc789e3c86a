"""baresip as a real process without screen or sound card, driven through its ``ctrl_tcp`` module."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

from tests.support import wire
from tests.support.listening import Ear
from tests.support.network_namespaces import inside
from tests.support.processes import PATIENCE, DeadlinePassed, Program, free_port, scratch_directory, wait_until
from tests.support.programs import require_program

CONFIGURATION = """sip_listen {address}:{sip_port}
module_path {modules}
module g711.so
module aubridge.so
module_tmp uuid.so
module_tmp account.so
module_app contact.so
module_app menu.so
module_app ctrl_tcp.so
{more}
ctrl_tcp_listen 127.0.0.1:{control_port}
audio_player aubridge,nil
audio_source {source}
audio_alert aubridge,nil
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
snd_path {directory}
call_max_calls {calls}
rtp_ports {rtp_ports}
call_local_timeout 600
"""

RECORDS_SECONDS = 240
"""How long after its start calls may begin that are recorded."""


class Baresip:
    """One baresip with one account. It starts registering as soon as it is made.

    ``server`` is where it sends, ``domain`` what stands in its SIP address (the server's address and port when None,
    as a person types who has no domain)."""

    def __init__(
        self, server: tuple[str, int], number: str, password: str, *, domain: str | None = None, expires: int = 60,
        modules: tuple[str, ...] = (), plays: Path | None = None, address: str = "127.0.0.1",
        namespace: str | None = None, options: str = "", sip_port: int | None = None, calls_at_once: int = 4,
        rtp_ports: str = "10000-40000",
        contacts: tuple[str, ...] = (),
    ) -> None:
        """``plays``: a WAV file of 8 kHz that it says all the time; then it also keeps what it hears, see
        :meth:`heard`. ``options`` are appended to its account line. ``calls_at_once``: more are refused with 486.
        ``contacts``: lines of its contacts file."""
        program = require_program("baresip", "baresip-core")
        self.number, self.expires, self.server, self.domain = number, expires, server, domain
        self.directory = scratch_directory("baresip")
        # It takes port N for UDP and TCP, and N+1 for TLS.
        self.sip_port = sip_port or free_port(span=2)
        self.control_port = free_port()
        places = [Path("/usr/lib/baresip/modules"), *Path("/usr/lib").glob("*/baresip/modules")]
        (self.directory / "config").write_text(CONFIGURATION.format(
            sip_port=self.sip_port, control_port=self.control_port,
            modules=next(place for place in places if place.is_dir()),
            more="\n".join(f"module_app {module}.so" for module in modules)
            + ("\nmodule aufile.so\nmodule sndfile.so" if plays else ""),
            calls=calls_at_once, rtp_ports=rtp_ports,
            address=address, directory=self.directory,
            source=f"aufile,{plays}" if plays else "aubridge,nil",
        ))
        # The account is typed in below: events of before the control connection would be lost.
        (self.directory / "accounts").touch()
        (self.directory / "contacts").write_text("".join(f"{line}\n" for line in contacts))
        if plays:
            self._forbid_own_recordings()
        self.events: list[dict[str, Any]] = []
        self._said: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._options, self._namespace = options, namespace
        command = [program, "-4", "-s", "-f", str(self.directory)]
        if namespace is not None:
            command = ["ip", "netns", "exec", namespace, *command]
        self.program = Program(command, log_path=self.directory / "log", name="baresip")
        try:
            self._control = wait_until(self._connect, "baresip's control port")
        except DeadlinePassed as late:
            log = self.program.tail()
            self.program.stop()
            raise DeadlinePassed(f"{late}\n{log}") from None
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()
        self.type_new_password(password)

    def _forbid_own_recordings(self) -> None:
        """After a hold it begins no new recording of what it hears while it has one of what it says (audio.c of 1.0.0,
        aufilt_setup), so it is made unable to open that one: a directory stands in the way of each second's file."""
        for second in range(RECORDS_SECONDS):
            stamp = time.strftime("%Y-%m-%d-%H-%M-%S", time.localtime(time.time() + second))
            (self.directory / f"dump-{stamp}-enc.wav").mkdir()

    def account(self, password: str) -> str:
        """A line of baresip's accounts file."""
        host, port = self.server
        address = f"{self.number}@{self.domain or f'{host}:{port}'};transport=udp"
        outbound = f'outbound="sip:{host}:{port};transport=udp"'
        return f"<sip:{address}>;auth_pass={password};regint={self.expires};{outbound}{self._options}"

    def __enter__(self) -> Baresip:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- its control port: netstrings with JSON -----------------------------------------------------------

    def _connect(self) -> socket.socket | None:
        if not self.program.running:
            raise DeadlinePassed(f"baresip ended with {self.program.process.returncode}")
        with contextlib.suppress(OSError), inside(self._namespace):
            return socket.create_connection(("127.0.0.1", self.control_port), 5)
        return None

    def _listen(self) -> None:
        data = b""
        with contextlib.suppress(OSError):
            self._control.settimeout(None)
            while chunk := self._control.recv(65536):
                data += chunk
                while b":" in data:
                    length, _, rest = data.partition(b":")
                    if len(rest) <= int(length):
                        break
                    told = json.loads(rest[:int(length)])
                    data = rest[int(length) + 1:]
                    with self._changed:
                        (self.events if told.get("event") else self._said).append(told)
                        self._changed.notify_all()

    def command(self, name: str, parameters: str = "") -> dict[str, Any]:
        """Run a command of baresip's menu and return what it said."""
        before = len(self._said)
        text = json.dumps({"command": name, "params": parameters, "token": str(before)})
        self._control.sendall(f"{len(text)}:{text},".encode())
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._said) > before, 10):
                raise DeadlinePassed(f"baresip did not answer {name}:\n{self.program.tail()}")
            return self._said[before]

    def heard(self) -> list[Path]:
        """What it heard in each of its calls so far, in order: recordings of 8 kHz."""
        return sorted(self.directory.glob("*-dec.wav"))

    @property
    def ear(self) -> Ear:
        return Ear(f"baresip {self.number}", self.heard)

    def wait_event(self, kind: str, seconds: float = PATIENCE, after: int = 0) -> dict[str, Any]:
        """The first event of a type, not counting the first ``after`` events of any type."""

        def found() -> dict[str, Any] | None:
            return next((event for event in self.events[after:] if event.get("type") == kind), None)

        with self._changed:
            if self._changed.wait_for(found, seconds):
                return found() or {}
        raise DeadlinePassed(
            f"baresip {self.number}: no {kind} in {seconds:.0f} s, but {[one.get('type') for one in self.events]}:\n"
            + self.program.tail(60)
        )

    # --- what a person does ------------------------------------------------------------------------------

    def wait_registered(self, seconds: float = PATIENCE, after: int = 0) -> dict[str, Any]:
        return self.wait_event("REGISTER_OK", seconds, after)

    def wait_refused(self, seconds: float = PATIENCE, after: int = 0) -> dict[str, Any]:
        """REGISTER_FAIL; its ``param`` is the reason, such as "403 Forbidden"."""
        return self.wait_event("REGISTER_FAIL", seconds, after)

    def switch_off_account(self) -> None:
        """Deletes the account, which unregisters it."""
        self.command("uadel", self.address)

    def type_new_password(self, password: str) -> None:
        """Makes the account with this password, which registers."""
        self.command("uanew", self.account(password))

    @property
    def address(self) -> str:
        return f"sip:{self.number}@{self.domain or f'{self.server[0]}:{self.server[1]}'}"

    def quit(self) -> int:
        """As a person closes it: it unregisters and ends. The exit status."""
        with contextlib.suppress(OSError, DeadlinePassed):
            self.command("quit")
        return self.program.wait(PATIENCE)

    # --- calls --------------------------------------------------------------------------------------------

    def dial(self, number: str) -> int:
        """Call a number; the mark for :meth:`wait_event`."""
        mark = len(self.events)
        self.command("dial", f"sip:{number}@{self.domain or f'{self.server[0]}:{self.server[1]}'}")
        return mark

    def answer_next(self, after: int = 0, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait until it rings and take the call."""
        rings = self.wait_event("CALL_INCOMING", seconds, after)
        self.command("accept")
        return rings

    # --- what was on the wire ----------------------------------------------------------------------------

    @property
    def registers(self) -> list[wire.Message]:
        return wire.registers(self.program.log)

    @property
    def answers(self) -> list[int]:
        return wire.answers(self.program.log)

    def wait_silent(self, seconds: float = 2.0) -> None:
        """Until it has sent no new REGISTER for ``seconds``: whatever burst there was is over."""
        last, since = len(self.registers), time.monotonic()

        def silent() -> bool:
            nonlocal last, since
            if len(self.registers) != last:
                last, since = len(self.registers), time.monotonic()
            return time.monotonic() - since > seconds

        wait_until(silent, "baresip to stop sending REGISTER", PATIENCE, pause=0.1)

    def stop(self) -> None:
        self.program.stop()
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        self._reader.join(5)
