"""sipp on both ends of many calls: one process calls, another is called."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support import sipp
from tests.support.processes import Program, cpu_seconds, free_port, scratch_directory
from tests.support.programs import require_program

SCENARIOS = Path(__file__).parents[1] / "calls_flow" / "scenarios"
REGISTER = Path(__file__).parents[1] / "clients" / "scenarios" / "register.xml"
BARE = {"TERM": "dumb", "PATH": "/usr/bin:/bin"}


@dataclass(frozen=True)
class Report:
    calls: int
    failed: int
    seconds: float
    """From the first INVITE to the end of the last call."""
    most_at_once: int
    errors: str

    @property
    def rate(self) -> float:
        return self.calls / self.seconds if self.seconds else 0.0


class Sipp(Program):
    """One sipp that plays ``scenario`` at ``port``. It answers whatever comes until it is stopped, or ends after
    ``count`` calls. Of one call it keeps all that was sent and received."""

    def __init__(
        self,
        scenario: str,
        server: tuple[str, int],
        port: int,
        *more: str,
        count: int = 0,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = scratch_directory("sipp")
        arguments = [
            require_program("sipp", "sip-tester"),
            f"{server[0]}:{server[1]}",
            "-sf",
            str(SCENARIOS / f"{scenario}.xml"),
            "-i",
            "127.0.0.1",
            "-p",
            str(port),
            "-mi",
            "127.0.0.1",
            "-mp",
            str(free_port(span=4)),
            "-t",
            "u1",
            "-cp",
            str(free_port()),
            "-nostdin",
            "-nd",
            "-trace_err",
            "-error_file",
            str(self.directory / "errors"),
            "-trace_stat",
            "-stf",
            str(self.directory / "statistics"),
            "-fd",
            "1",
            *more,
        ]
        if count:
            arguments += ["-m", str(count)]
        if count == 1:
            arguments += ["-trace_msg", "-message_file", str(self.directory / "messages")]
        for name, value in (keys or {}).items():
            arguments += ["-key", name, value]
        super().__init__(arguments, log_path=self.directory / "log", env=BARE, name=f"sipp {scenario}")

    @property
    def errors(self) -> str:
        return self._text("errors")[-3000:]

    @property
    def messages(self) -> str:
        """Of its one call."""
        return self._text("messages")

    def _text(self, name: str) -> str:
        path = self.directory / name
        return path.read_text(errors="replace") if path.exists() else ""

    def report(self) -> Report:
        """After its end."""
        with (self.directory / "statistics").open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        last = rows[-1]
        begun, ended = (float(last[name].split()[-1]) for name in ("StartTime", "CurrentTime"))
        return Report(
            int(last["SuccessfulCall(C)"]),
            int(last["FailedCall(C)"]),
            ended - begun,
            max(int(row["CurrentCall"]) for row in rows),
            self.errors,
        )


def callee(
    server: tuple[str, int],
    domain: str,
    number: str,
    password: str,
    scenario: str = "callee",
    *,
    count: int = 0,
    keys: Mapping[str, str] | None = None,
) -> Sipp:
    """Register the number and begin to answer; with ``count`` it ends after so many calls."""
    port = free_port()
    numbers = sipp.write_numbers([(number, password)])
    done = sipp.play(REGISTER, server, numbers, 1, domain=domain, expires=3600, local_port=port)
    if done.returncode:
        raise AssertionError(f"{number} could not register: {sipp.errors(numbers)}")
    return Sipp(scenario, server, port, count=count, keys=keys)


def caller(
    server: tuple[str, int],
    domain: str,
    number: str,
    callers: Iterable[tuple[str, str]],
    *,
    count: int,
    rate: int,
    at_once: int,
    hold: int,
    scenario: str = "caller",
) -> Sipp:
    """Call ``number`` so often; ``rate``: calls begun a second at most, ``hold``: milliseconds of talk."""
    return Sipp(
        scenario,
        server,
        free_port(),
        "-inf",
        str(sipp.write_numbers(callers)),
        "-r",
        str(rate),
        "-l",
        str(at_once),
        "-auth_uri",
        f"{number}@{domain}",
        "-d",
        str(hold),
        "-timeout",
        "120s",
        "-timeout_error",
        count=count,
        keys={"domain": domain, "callee": number},
    )


def cpu_of(*programs: Program) -> float:
    return sum(cpu_seconds(program.pid) for program in programs)
