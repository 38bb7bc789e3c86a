"""Phones that call each other while something happens to the PBX."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.caller import Caller, Dialog, UdpWire
from tests.support.media_engines import rtp_ports
from tests.support.pbx import RunningPbx
from tests.support.processes import wait_until

PASSWORD = "s3cret-pass"


def settings(**more: str) -> Mapping[str, str]:
    """Of a ``runsip`` whose relay takes ports that no other test has."""
    first, last = rtp_ports()
    return {"RTP_PORTS": f"{first}-{last}", **more}


@contextlib.contextmanager
def phones(pbx: RunningPbx, *numbers: str, host: str = "127.0.0.1") -> Iterator[list[Caller]]:
    """Registered once; the extensions are made here."""
    pbx.create_extensions(dict.fromkeys(numbers, PASSWORD))
    with contextlib.ExitStack() as at_end:
        made = []
        for number in numbers:
            phone = Caller(UdpWire(host), pbx.server, number, PASSWORD, pbx.domain)
            at_end.callback(phone.close)
            phone.register()
            made.append(phone)
        yield made


def connect(a: Caller, b: Caller) -> tuple[Dialog, Dialog]:
    """``a`` calls ``b``, who answers: both sides of the call."""
    call = a.invite(b.number)
    ringing = b.expect("INVITE", 10)
    b.ring(ringing)
    theirs = b.answer(ringing, ack=False)
    ours = call.connected(10)
    b.expect("ACK", 10, call_id=ringing.call_id)
    return ours, theirs


def hang_up(a: Caller, ours: Dialog, b: Caller, theirs: Dialog) -> None:
    sent = a.request(ours, "BYE")
    b.take_bye(theirs, 10)
    a.final(sent, 10)


def records(pbx: RunningPbx, src: str, dst: str) -> list[dict[str, Any]]:
    """What the call records say of these two, oldest first."""
    return pbx.store.rows("SELECT * FROM calls_callrecord WHERE src = %s AND dst = %s ORDER BY id", src, dst)


def ended_record(pbx: RunningPbx, src: str, dst: str, seconds: float = 10.0) -> dict[str, Any]:
    """The newest one, once it has an end."""

    def ended() -> dict[str, Any] | None:
        rows = records(pbx, src, dst)
        return rows[-1] if rows and rows[-1]["end"] else None

    row = wait_until(ended, f"the end of the record of {src} to {dst}", seconds)
    assert row is not None
    return row
