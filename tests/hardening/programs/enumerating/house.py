"""A PBX with numbers of every kind that a stranger could want to tell apart."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from tests.hardening.conformance.peer import Peer
from tests.support.pbx import RunningPbx, Store, manage

PASSWORD = "a long password of its own"

KINDS = {
    "unknown": "2009",
    "registered": "2001",
    "not registered": "2002",
    "disabled": "2003",
    "without a password": "2004",
    "stale (another realm)": "2005",
}
"""All of one length: what is sent for one is as long as for the other."""

CROWD_OF_KNOWN = [str(number) for number in range(3000, 3100)]
CROWD_OF_UNKNOWN = [str(number) for number in range(3100, 3200)]


def open_house(store: Store, at_end: contextlib.ExitStack, settings: Mapping[str, str] | None = None) -> RunningPbx:
    pbx = at_end.enter_context(RunningPbx(store, settings={"RTPENGINE_URLS": "", **(settings or {})}))
    _add(pbx, f"2001,{PASSWORD},yes", f"2002,{PASSWORD},yes", f"2003,{PASSWORD},no", "2004,,yes")
    _add(pbx, f"2005,{PASSWORD},yes", SIP_REALM="another-realm")
    _add(pbx, *(f"{number},{PASSWORD},yes" for number in CROWD_OF_KNOWN))
    with Peer(pbx.server, pbx.domain, "2001", PASSWORD) as phone:
        answer = phone.prove()
        assert answer.status == 200, answer
    return pbx


def _add(pbx: RunningPbx, *rows: str, **settings: str) -> None:
    table = pbx.directory / "numbers.csv"
    table.write_text("number,password,enabled\n" + "\n".join(rows) + "\n")
    manage("importextensions", str(table), env={**pbx.env, **settings})


class At(Peer):
    """A stranger at an address of his own; his identifiers are the same each time but for the number."""

    def __init__(self, pbx: RunningPbx, number: str, address: str = "127.0.0.1") -> None:
        self.address = address
        super().__init__(pbx.server, pbx.domain, number, "a wrong password")
        self.call_id, self.tag = "the-same-for-all", "one"
