"""How long it takes from the start of the process to the first 200, with many registrations stored."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass
from datetime import datetime

from tests.support.many_bindings import store_bindings
from tests.support.pbx import ROOT, RunningPbx, Store
from tests.support.phone import Phone, authorization
from tests.support.processes import PATIENCE, DeadlinePassed, run_program, wait_until

LISTENING = re.compile(r"^(\S+ \S+) INFO .*\bListening\b", re.MULTILINE)
FLOORS = {
    "python": ["-c", "pass"],
    "with Django": ["-c", "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'pbx.settings'; "
                          "import django; django.setup()"],
    "runsip imported": ["-c", "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'pbx.settings'; "
                              "import django; django.setup(); import sipcore.management.commands.runsip"],
}


@dataclass(frozen=True)
class Start:
    """Seconds from the start of the process."""

    listening: float
    first_answer: float


def starts(store: Store, count: int, times: int) -> list[Start]:
    """Kill and start ``times`` times with ``count`` registrations."""
    with RunningPbx(store) as pbx:
        pbx.create_extensions({"1001": "s3cret-pass"})
        with Phone(pbx.server, "1001", "s3cret-pass", pbx.domain) as phone:
            assert phone.register().status == 200
            store_bindings(store, like="1001", count=count)
            return [start_again(pbx, phone) for _ in range(times)]


def floors(pbx_env: dict[str, str]) -> str:
    """What the interpreter and the imports alone take at this moment."""
    told = []
    for name, arguments in FLOORS.items():
        begin = time.monotonic()
        run_program([sys.executable, *arguments], env=pbx_env, cwd=ROOT)
        told.append(f"{name} {time.monotonic() - begin:.2f}")
    return ", ".join(told)


def start_again(pbx: RunningPbx, phone: Phone) -> Start:
    """Kill it and start it."""
    pbx.kill9()
    assert phone.challenge is not None
    phone.nc += 1
    data = phone.request("REGISTER", [
        f"Contact: <{phone.contact_uri}>", "Expires: 3600",
        "Authorization: " + authorization(
            phone.challenge, username=phone.number, password=phone.password, method="REGISTER",
            uri=f"sip:{phone.domain}", nc=phone.nc,
        ),
    ])
    begin, wall = time.monotonic(), time.time()
    pbx.start(wait=False)
    first = _first_answer(phone, data, f"\r\nCSeq: {phone.cseq} ".encode(), begin)
    said = wait_until(lambda: LISTENING.search(pbx.log), "the line about listening")
    listening = datetime.strptime(said[1] + "+0000", "%Y-%m-%d %H:%M:%S,%f%z").timestamp() - wall
    return Start(listening, first)


def _first_answer(phone: Phone, data: bytes, mark: bytes, begin: float) -> float:
    """The same REGISTER every 5 ms until something comes back: no phone is so impatient, this one only looks."""
    while (now := time.monotonic()) - begin < PATIENCE:
        try:
            phone.socket.sendto(data, phone.server)
            while True:
                answer = phone.socket.recv(65535)
                if mark not in answer:
                    continue  # a repeated answer of the process before
                if answer.startswith(b"SIP/2.0 200 "):
                    return time.monotonic() - begin
                if not answer.startswith((b"OPTIONS ", b"SIP/2.0 100 ")):
                    raise AssertionError(f"the first answer is {answer[:40]!r}")
        except (BlockingIOError, ConnectionRefusedError):
            time.sleep(0.005)
    raise DeadlinePassed(f"no answer {now - begin:.0f} s after the start")
