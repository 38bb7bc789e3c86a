"""All verdicts on one number, in the order in which to mend them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import DatabaseError
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from pbx.diagnosis.calls import call_faults
from pbx.diagnosis.causes import credentials, delivery, presence, silence, tampering
from pbx.diagnosis.causes.blocked import blocked, rate_limited
from pbx.diagnosis.evidence import AttemptFacts, NumberEvidence
from pbx.diagnosis.gather import gather_number
from pbx.diagnosis.reading import is_guess, is_of, living, open_attempts, silent, with_attempts
from pbx.diagnosis.server import server_verdicts
from pbx.diagnosis.verdict import Severity, Stage, Verdict

CALLS_OF = timedelta(hours=1)
"""How far back the calls of a number are looked at for faults of their sound."""

BEFORE_ALL = ("database_down", "migrations_pending", "sip_not_running", "port_taken")
"""Faults of the server with which no phone registers, whatever else is wrong."""

WHEN_NOBODY_LIVES = ("disk_full", "firewall_closed")
"""Faults of the server that are none to a phone that is registered."""

WHEN_NOTHING_CAME = ("advertises_bind_address", "domain_not_resolving", "domain_wrong_address")
"""Faults of the server's name or address, which a phone that is heard has overcome."""

CAUSES = {
    "unknown_extension": credentials.unknown_extension,
    "disabled": credentials.disabled,
    "no_credential": credentials.no_credential,
    "stale_credential": credentials.stale_credential,
    "wrong_password": credentials.wrong_password,
    "wrong_realm": credentials.wrong_realm,
    "unsupported_algorithm": credentials.unsupported_algorithm,
    "third_party": tampering.third_party,
    "alg_tampering": tampering.alg_tampering,
    "malformed": delivery.malformed,
    "wrong_domain": delivery.wrong_domain,
    "wrong_transport": delivery.wrong_transport,
    "challenge_unanswered": delivery.challenge_unanswered,
    "reply_lost": delivery.reply_lost,
    "nonce_loop": delivery.nonce_loop,
    "expires_too_short": presence.expires_too_short,
    "too_many_devices": presence.too_many_devices,
}
"""By the cause of an attempt: who says it in words."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """``evidence`` is None when the database could not be read. There is always at least one verdict; what to fix
    first comes first."""

    number: str
    evidence: NumberEvidence | None
    verdicts: tuple[Verdict, ...]

    @property
    def first(self) -> Verdict:
        return self.verdicts[0]

    @property
    def registered(self) -> bool:
        """Whether a phone of this number is registered and can be called."""
        return any(verdict.code == "registered" for verdict in self.verdicts)

    @property
    def stopped_at(self) -> Stage | None:
        """The first stage that was not passed; None when all were, or when nothing says how far it came."""
        if self.first.code == "registered":
            return None
        return next((verdict.stopped_at for verdict in self.verdicts if verdict.stopped_at is not None), None)

    def as_json(self) -> dict[str, object]:
        """The public form of ``why --json``, in the language that is active."""
        return {
            "number": self.number,
            "language": (get_language() or "en").partition("-")[0],
            "verdicts": [verdict.as_json() for verdict in self.verdicts],
        }


def explain_number(number: str, now: datetime | None = None) -> Explanation:
    """Never raises for a database that is away: that is a verdict."""
    now = now or timezone.now()
    server = server_verdicts(quick=True)
    try:
        evidence = gather_number(number, now)
        calls = call_faults(evidence.number, now - CALLS_OF)
    except DatabaseError:
        return Explanation(number, None, without_database(server))
    return Explanation(evidence.number, evidence, verdicts_of(evidence, server, calls))


def verdicts_of(
    evidence: NumberEvidence, server: Iterable[Verdict] = (), calls: Iterable[Verdict] = ()
) -> tuple[Verdict, ...]:
    """Pure: the verdicts of this evidence among those of the server and of the number's calls."""
    # A warning, such as a disk that is only almost full, explains no phone.
    faults = [one for one in server if one.severity is Severity.ERROR and one.stopped_at is not None]
    own = number_verdicts(evidence)
    above = [one for one in faults if one.code in BEFORE_ALL]
    if above:  # what a phone has or has not done since says nothing about the phone
        own = [one for one in own if one.code not in presence.NEEDS_A_SERVER]
    if not living(evidence):
        above += [one for one in faults if one.code in WHEN_NOBODY_LIVES]
    if not own or own[0].code == "nothing_received":
        above += [one for one in faults if one.code in WHEN_NOTHING_CAME]
    return tuple(_once([*above, *own, *calls]))


def number_verdicts(evidence: NumberEvidence) -> list[Verdict]:
    """What the evidence of the number alone says."""
    attempts = open_attempts(evidence)
    guesses = tuple(one for one in attempts if is_guess(one, evidence))
    real = tuple(one for one in attempts if one not in guesses)
    own = tuple(one for one in real if _is_of_registered_phone(one, evidence))
    other = tuple(one for one in real if one not in own)
    here = bool(living(evidence))

    guarded = [one for one in (blocked(evidence), rate_limited(evidence)) if one is not None]
    found: list[Verdict | None] = [one for one in guarded if one.severity is Severity.ERROR]
    found += _state(with_attempts(evidence, real)) if not here else []
    found += _named(own, evidence)
    if here:
        found.append(presence.registered(evidence))
        found += guarded  # of another phone at the same address
    elif silent(evidence):
        found.append(presence.nat_keepalive_lost(evidence))
    found += _named(other, evidence)
    if here:
        found += _state(evidence)
        found.append(tampering.stun_enabled(evidence))
    elif not any(found):
        found += _nothing(with_attempts(evidence, real))
    elif evidence.devices and not silent(evidence):
        found.append(presence.ended(evidence))
    found.append(tampering.rewritten(with_attempts(evidence, real)) if not here else None)
    if guarded:  # what the guard did not look at is told by the guard
        guesses = tuple(one for one in guesses if one.cause not in ("blocked", "rate_limited"))
    found.append(presence.guessed_at(with_attempts(evidence, guesses)))
    return _once(verdict for verdict in found if verdict is not None)


def _is_of_registered_phone(attempt: AttemptFacts, evidence: NumberEvidence) -> bool:
    """Failures of the very phone that is registered, and of an owner whom the limit keeps out, stand before
    ``registered``."""
    if attempt.cause == "too_many_devices" and attempt.proven:
        return True
    if attempt.cause in ("alg_tampering", "malformed") and attempt.asked.method != "REGISTER":
        return False  # what happens to its calls does not touch its registration
    return any(is_of(attempt, device) for device in (*living(evidence), *silent(evidence)))


def _state(evidence: NumberEvidence) -> list[Verdict | None]:
    """What is wrong with the extension itself, whether a phone has tried or not."""
    if evidence.extension is None:
        return [credentials.unknown_extension(evidence)]
    found: list[Verdict | None] = []
    if not evidence.extension.enabled:
        found.append(credentials.disabled(evidence))
    match evidence.extension.credential_state.value:
        case "missing":
            found.append(credentials.no_credential(evidence))
        case "stale":
            found.append(credentials.stale_credential(evidence))
    return found


def _named(attempts: tuple[AttemptFacts, ...], evidence: NumberEvidence) -> list[Verdict | None]:
    """Cause by cause, that of the newest attempt first."""
    causes = dict.fromkeys(one.cause for one in attempts)
    view = with_attempts(evidence, attempts)
    return [CAUSES[cause](view) for cause in causes if cause in CAUSES]


def _nothing(evidence: NumberEvidence) -> list[Verdict | None]:
    """No failure that counts, no phone: it was here once, or never."""
    if evidence.attempts:
        return [silence.let_in_again(evidence), delivery.unnamed(evidence)]
    if evidence.devices:
        # A phone that was here is known by its address: what strangers send says nothing about it.
        places = {device.source for device in evidence.devices}
        near = replace(evidence, nameless=tuple(one for one in evidence.nameless if one.source in places))
        return [silence.nameless(near), presence.ended(evidence)]
    return [silence.nameless(evidence), silence.nothing_received(evidence)]


def _once(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The first of each code."""
    found: dict[str, Verdict] = {}
    for verdict in verdicts:
        found.setdefault(verdict.code, verdict)
    return list(found.values())


def without_database(server: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """What can be said when the database could not be asked."""
    found = [verdict for verdict in server if verdict.code in BEFORE_ALL]
    if not any(verdict.code in ("database_down", "migrations_pending") for verdict in found):
        found.insert(0, _database_failed())  # it was there when the server was looked at
    return tuple(found)


def _database_failed() -> Verdict:
    return Verdict(
        "database_down", Severity.ERROR, _("The database did not answer for a moment."),
        _("It is there again now, but this question could not be answered."), _("Ask once more."),
        stopped_at=Stage.OUR_PORT,
    )
