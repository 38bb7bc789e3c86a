"""A verdict: what is wrong with a phone, a call or the server, why, and what to press."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


class Severity(Enum):
    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Confidence(Enum):
    """``LIKELY`` verdicts say in ``why`` what else it could be."""

    CERTAIN = "certain"
    LIKELY = "likely"


class Repair(Enum):
    """The button that mends it, where one does."""

    NONE = ""
    PASSWORD = "password"
    ENABLE = "enable"
    UNBLOCK = "unblock"
    FORGET_DEVICES = "forget_devices"
    ADD_EXTENSION = "add_extension"


class Stage(IntEnum):
    """How far a phone has come: where did it stop?"""

    PHONE = 0
    INTERNET = 1
    OUR_PORT = 2
    CHALLENGE = 3
    PASSWORD = 4
    REGISTERED = 5
    REACHABLE = 6


@dataclass(frozen=True, slots=True)
class Verdict:
    """``code`` is stable and public; ``what``, ``why`` and ``do`` are sentences in the language that was active when
    it was made; ``evidence`` are short lines for a technician, in that language too. ``stopped_at``: the stage that
    was not passed, None for what concerns no stage."""

    code: str
    severity: Severity
    what: str
    why: str
    do: str
    evidence: tuple[str, ...] = ()
    confidence: Confidence = Confidence.CERTAIN
    repair: Repair = Repair.NONE
    repair_key: int | None = None  # the row the button acts on, where the extension alone does not say it
    stopped_at: Stage | None = None

    def as_json(self) -> dict[str, object]:
        """The public form of ``why --json``."""
        return {
            "code": self.code, "severity": self.severity.value, "confidence": self.confidence.value,
            "what": self.what, "why": self.why, "do": self.do, "evidence": list(self.evidence),
        }
