"""What the parent tells a worker: who it is, and which files it has been given. It goes through the environment."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass

VARIABLE = "SIP_WORKER"


@dataclass(frozen=True, slots=True)
class Membership:
    """Worker ``number`` of ``workers``. All else are file descriptors: ``sockets``, a UDP and a TCP one for each
    address; ``inlet``, where others write to us; ``outlets``, where we write to each worker, our own among them."""

    number: int
    workers: int
    sockets: list[list[int]]
    inlet: int
    outlets: list[int]

    @property
    def files(self) -> list[int]:
        return [file for pair in self.sockets for file in pair] + [self.inlet, *self.outlets]

    def to_environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}


def take_membership(environment: MutableMapping[str, str]) -> Membership | None:
    """None for a process that nobody has started as a worker. It is taken out: our own children are none."""
    text = environment.pop(VARIABLE, "")
    return Membership(**json.loads(text)) if text else None
