"""What the parent tells a worker: who it is, and which files it has been given. It goes through the environment."""

from __future__ import annotations

import ctypes
import json
import os
import signal
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass

VARIABLE = "PBX_RUNSIP_WORKER"
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Membership:
    """Worker ``number`` of ``workers``, started by process ``parent``. ``addresses`` are those to listen on, host and
    port. All else are file descriptors: ``sockets``, a UDP and a TCP one for each address; ``inlet``, where others
    write to us; ``outlets``, where we write to each worker, our own among them."""

    number: int
    workers: int
    parent: int
    addresses: list[tuple[str, int]]
    sockets: list[list[int]]
    inlet: int
    outlets: list[int]

    @property
    def files(self) -> list[int]:
        return [file for pair in self.sockets for file in pair] + [self.inlet, *self.outlets]

    def to_environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}


def take_membership(environment: MutableMapping[str, str]) -> Membership | None:
    """None for a process that nobody has started as a worker. It is taken out: our own children are none.

    From then on we end when our parent does, and at once: whoever starts the PBX anew needs the port."""
    text = environment.pop(VARIABLE, "")
    if not text:
        return None
    told = json.loads(text)
    membership = Membership(**{**told, "addresses": [(host, port) for host, port in told["addresses"]]})
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != membership.parent:
        raise SystemExit(0)
    for file in membership.files:
        os.set_inheritable(file, False)
    return membership
