"""Calls for the tests of this room, as the engine writes them."""

from __future__ import annotations

import time

from pbx.calls.models import CallRecord
from pbx.calls.store import DjangoCallStore
from sipcore.calls.records import CallRow, LegRow, MediaRow

NODE = "pbx1"


def leg(number: str = "1002", **more) -> LegRow:
    values = {"device": "Zoiper", "remote": "203.0.113.9:5062", "user_agent": "Zoiper", "state": "ringing", **more}
    return LegRow(number, **values)


def heard(from_number: str, to_number: str, packets: int, foreign: int = 0) -> MediaRow:
    return MediaRow(from_number, to_number, packets, packets * 160, foreign_packets=foreign)


def row(uniqueid: str = "pbx1-1.1", **more) -> CallRow:
    """A call from 1001 to 1002 that began a minute ago and is ringing."""
    values = {
        "node": NODE, "src": "1001", "dst": "1002", "clid": '"Front desk" <1001>', "start": time.time() - 60, **more,
    }
    return CallRow(uniqueid, **values)


def ended(uniqueid: str = "pbx1-1.1", *, talked: float = 30, ago: float = 100, **more) -> CallRow:
    """An answered call that began ``ago`` seconds ago, rang for five, and was hung up by the caller."""
    start = time.time() - ago
    return row(uniqueid, **{
        "start": start, "answer": start + 5, "end": start + 5 + talked, "disposition": "ANSWERED", "cause": "normal",
        "hung_up_by": "caller", **more,
    })


def write(*rows: CallRow) -> CallRecord:
    """Stores them; returns the first as it was stored."""
    DjangoCallStore().write_calls(rows)
    return CallRecord.objects.get(uniqueid=rows[0].uniqueid)
