"""What the evidence of one number says before any cause is named: which phones live, and which failures still count."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from pbx.diagnosis.evidence import AttemptFacts, DeviceFacts, NumberEvidence
from pbx.diagnosis.networks import is_private
from pbx.diagnosis.verdict import Stage

GUESSED_NUMBERS = 5
"""So many different numbers failed from one unknown address: somebody is guessing."""

SCANNERS = ("friendly-scanner", "sipvicious", "sipcli", "pplsip", "sundayddr", "sip-scan", "vaxsipuseragent")

TOGETHER = timedelta(minutes=2)
"""Rows of one phone that are no further apart are about the same try."""

ONE_TRANSACTION = timedelta(seconds=40)
QUIET = timedelta(minutes=5)
"""A phone that never hears our 200 asks again long before."""

STAGES = {
    "wrong_transport": Stage.OUR_PORT, "rate_limited": Stage.OUR_PORT, "blocked": Stage.OUR_PORT,
    "malformed": Stage.CHALLENGE, "wrong_domain": Stage.CHALLENGE, "alg_tampering": Stage.CHALLENGE,
    "challenge_unanswered": Stage.CHALLENGE, "reply_lost": Stage.CHALLENGE, "nonce_loop": Stage.CHALLENGE,
    "wrong_realm": Stage.CHALLENGE, "unsupported_algorithm": Stage.CHALLENGE, "third_party": Stage.PASSWORD,
    "unknown_extension": Stage.PASSWORD, "no_credential": Stage.PASSWORD, "stale_credential": Stage.PASSWORD,
    "wrong_password": Stage.PASSWORD, "disabled": Stage.PASSWORD,
    "expires_too_short": Stage.REGISTERED, "too_many_devices": Stage.REGISTERED,
}  # fmt: skip
"""The stage that an attempt of this cause did not pass."""


def living(evidence: NumberEvidence) -> tuple[DeviceFacts, ...]:
    """Registered, and answering as far as anybody knows."""
    return tuple(one for one in evidence.devices if one.lives(evidence.now) and one.silent_since is None)


def silent(evidence: NumberEvidence) -> tuple[DeviceFacts, ...]:
    """Registered, but they have stopped answering."""
    return tuple(one for one in evidence.devices if one.lives(evidence.now) and one.silent_since is not None)


def is_of(attempt: AttemptFacts, device: DeviceFacts) -> bool:
    """Whether this very device made the attempt."""
    return (
        (bool(attempt.asked.call_id) and attempt.asked.call_id == device.call_id)
        or (attempt.source, attempt.port) == (device.source, device.port)
        or (bool(attempt.asked.contact) and _bare(attempt.asked.contact) == _bare(device.contact))
    )


def same_phone(one: AttemptFacts, other: AttemptFacts) -> bool:
    return (one.source, one.user_agent) == (other.source, other.user_agent)


def is_cured(attempt: AttemptFacts, evidence: NumberEvidence) -> bool:
    """Whether this phone has registered since. That another one from there, which was registered before already, has
    gone on renewing cures nothing."""
    return any(
        _heard_in_the_end(attempt, device, evidence)
        or (device.refreshed_at > attempt.last_at and _may_be(attempt, device))
        for device in evidence.devices
    )


def _may_be(attempt: AttemptFacts, device: DeviceFacts) -> bool:
    """Whether the phone of the attempt may have become this device since."""
    return is_of(attempt, device) or (
        device.source == attempt.source
        and (device.user_agent == attempt.user_agent or device.registered_at > attempt.last_at)
    )


def _heard_in_the_end(attempt: AttemptFacts, device: DeviceFacts, evidence: NumberEvidence) -> bool:
    """Some of our 200s got lost and the last did not: the phone is registered and has asked no more."""
    return (
        attempt.cause == "reply_lost"
        and device.lives(evidence.now) and device.silent_since is None and is_of(attempt, device)
        and attempt.last_at - device.refreshed_at < ONE_TRANSACTION
        and evidence.now - attempt.last_at > QUIET
    )


def is_mended(attempt: AttemptFacts, evidence: NumberEvidence) -> bool:
    """Whether the PBX was changed since, so that this failure would not come again; the phone has not tried yet."""
    extension = evidence.extension
    if extension is None:
        return False
    changed = extension.password_changed_at
    match attempt.cause:
        case "disabled":
            return extension.enabled
        case "unknown_extension":
            return extension.created_at > attempt.last_at
        case "no_credential" | "stale_credential":
            return extension.credential_state.value == "ready"
        case "wrong_password":
            return changed is not None and changed > attempt.last_at
    return False


def open_attempts(evidence: NumberEvidence) -> tuple[AttemptFacts, ...]:
    """Those that still count: not cured, and not overtaken by a later try of the same phone that came as far."""
    kept: list[AttemptFacts] = []
    for attempt in evidence.attempts:  # newest first
        if not is_cured(attempt, evidence) and not any(_overtakes(later, attempt, evidence) for later in kept):
            kept.append(attempt)
    return tuple(kept)


def _overtakes(later: AttemptFacts, attempt: AttemptFacts, evidence: NumberEvidence) -> bool:
    if not same_phone(later, attempt):
        return False
    if is_mended(attempt, evidence):
        return True
    if (later.cause, attempt.cause) == ("challenge_unanswered", "reply_lost"):
        # The phone did not answer because our answer never reached it.
        return later.last_at - attempt.last_at > TOGETHER
    if (later.cause, attempt.cause) == ("reply_lost", "challenge_unanswered"):
        return True
    return _stage(later) >= _stage(attempt)


def _stage(attempt: AttemptFacts) -> Stage:
    return STAGES.get(attempt.cause, Stage.OUR_PORT)


def is_guess(attempt: AttemptFacts, evidence: NumberEvidence) -> bool:
    """Whether a stranger made it, as far as one can tell: no phone of this number has to answer for it."""
    if evidence.extension is None or attempt.proven or any(is_of(attempt, device) for device in evidence.devices):
        return False
    if any(name in attempt.user_agent.lower() for name in SCANNERS):
        return True
    if living(evidence):
        return all(device.source != attempt.source for device in evidence.devices)
    if is_private(attempt.source) or attempt.source_known:
        return False
    return attempt.numbers_from_source >= GUESSED_NUMBERS


def with_attempts(evidence: NumberEvidence, attempts: tuple[AttemptFacts, ...]) -> NumberEvidence:
    return replace(evidence, attempts=attempts)


def _bare(contact: str) -> str:
    """The URI of a Contact without its name, brackets and parameters."""
    return contact.partition("<")[2].partition(">")[0].partition(";")[0] or contact.partition(";")[0].strip()
