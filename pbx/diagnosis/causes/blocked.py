"""The guard stands between the phone and the PBX: ``sipcore.guard`` blocks who guesses and slows who fails."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from pbx.diagnosis.block_words import numbers_of, tries_since, why_blocked
from pbx.diagnosis.evidence import AttemptFacts, BlockFacts, NumberEvidence
from pbx.diagnosis.lines import attempt_lines, clock, phone_name, shown
from pbx.diagnosis.reading import SCANNERS, is_cured, is_guess, living
from pbx.diagnosis.remedies import try_again
from pbx.diagnosis.verdict import Confidence, Repair, Severity, Stage, Verdict
from sipcore.guard.blocks import ADMINISTRATOR, GUESSING, WRONG_PASSWORD, source_key

SLOWED_FOR = timedelta(seconds=90)
"""The longest wait is a minute: who was sent away longer ago is not slowed any more."""


def blocked(evidence: NumberEvidence) -> Verdict | None:
    """ERROR when the block keeps out the number's only phone, WARNING when another one of it is registered."""
    for block in evidence.blocks:
        if _waits_for_a_password(block, evidence):
            continue
        lives = [device for device in living(evidence) if source_key(device.source) == block.source]
        tried = _tried(block, evidence)
        if living(evidence):
            if block.reason == ADMINISTRATOR and lives:
                return _verdict(block, tried, evidence, Severity.ERROR)
            if lives and tried:
                return _verdict(block, tried, evidence, Severity.WARNING)
        elif _concerns(block, tried, evidence):
            return _verdict(block, tried, evidence, Severity.ERROR)
    return None


def _waits_for_a_password(block: BlockFacts, evidence: NumberEvidence) -> bool:
    """What keeps it out is that it has none: giving it one ends the block as well."""
    extension = evidence.extension
    return block.reason == WRONG_PASSWORD and extension is not None and extension.credential_state.value != "ready"


def _tried(block: BlockFacts, evidence: NumberEvidence) -> list[AttemptFacts]:
    """What this number sent in vain since the block, but for programs that only guess."""
    return [
        attempt for attempt in evidence.attempts
        if attempt.cause == "blocked" and attempt.last_at >= block.since and source_key(attempt.source) == block.source
        and not any(name in attempt.user_agent.lower() for name in SCANNERS)
    ]


def _concerns(block: BlockFacts, tried: list[AttemptFacts], evidence: NumberEvidence) -> bool:
    """Whether it is a phone of this number that is kept out, as far as one can tell: a stranger who had guessed at the
    number among others concerns nobody."""
    if block.number or tried:
        return True
    return any(source_key(device.source) == block.source for device in evidence.devices)


def _verdict(
    block: BlockFacts, tried: list[AttemptFacts], evidence: NumberEvidence, severity: Severity
) -> Verdict:
    names = {
        "number": shown(evidence.number), "address": block.source, "time": clock(block.until, evidence.now),
        "phone": phone_name(tried[0].user_agent if tried else block.user_agent),
    }
    if block.number:
        what = _("The PBX does not answer the number %(number)s from the address %(address)s until %(time)s.") % names
    else:
        what = _("The PBX answers nothing that comes from the address %(address)s until %(time)s.") % names
    unsure = block.reason == GUESSING and not any(
        source_key(device.source) == block.source for device in evidence.devices
    )
    why = [why_blocked(block), tries_since(block, evidence.now)]
    if unsure:
        why.append(_("It may be a phone of yours with wrong settings, or a stranger at an address that is not yours."))
    return Verdict(
        "blocked", severity, what, " ".join(why), _remedy(block, unsure, evidence, names),
        _lines(block, tried, evidence), confidence=Confidence.LIKELY if unsure else Confidence.CERTAIN,
        repair=Repair.UNBLOCK, repair_key=block.id, stopped_at=Stage.OUR_PORT,
    )


def _remedy(block: BlockFacts, unsure: bool, evidence: NumberEvidence, names: dict[str, str]) -> str:
    if block.reason == ADMINISTRATOR:
        return _("If that was a mistake, press “Unblock”.") + " " + try_again()
    if not block.number:
        repair = _(
            "Find the phone or program there that tried these numbers (%(numbers)s), and put the right number and "
            "password into it or switch it off. Then press “Unblock”. By itself the block ends at %(time)s."
        ) % (names | {"numbers": numbers_of(block)})
    elif evidence.extension is None:
        repair = _(
            "There is no extension %(number)s: write the right number and password into the phone (%(phone)s), then "
            "press “Unblock”."
        ) % names
    else:
        repair = _(
            "Put the right password of extension %(number)s into the phone (%(phone)s), then press “Unblock”. If "
            "nobody knows the password, press “Password”: a new one ends the block at once. By itself it ends at "
            "%(time)s."
        ) % names
    if unsure:
        repair = _("If the address %(address)s is not yours, leave it as it is.") % names + " " + repair
    return repair + " " + try_again()


def _lines(block: BlockFacts, tried: list[AttemptFacts], evidence: NumberEvidence) -> tuple[str, ...]:
    names = {"since": clock(block.since, evidence.now), "until": clock(block.until, evidence.now),
             "address": block.source, "numbers": ", ".join(shown(number) for number in block.numbers)}
    line = _("%(address)s blocked from %(since)s to %(until)s, numbers tried: %(numbers)s") % names
    return (line, *attempt_lines(tried, evidence.now))


def rate_limited(evidence: NumberEvidence) -> Verdict | None:
    """ERROR, WARNING when another phone of the number is registered."""
    rows = [
        attempt for attempt in evidence.attempts
        if attempt.cause == "rate_limited" and evidence.now - attempt.last_at < SLOWED_FOR
        and not is_cured(attempt, evidence) and not is_guess(attempt, evidence) and not _repaired(attempt, evidence)
    ]
    if not rows:
        return None
    names = {"number": shown(evidence.number), "address": rows[0].source, "phone": phone_name(rows[0].user_agent),
             "time": clock(_last_failure(rows[0], evidence), evidence.now)}
    if evidence.extension is None:
        do = _("There is no extension %(number)s: write the right number and password into the phone (%(phone)s).")
    else:
        do = _(
            "Put the right password of extension %(number)s into the phone (%(phone)s); if nobody knows it, press "
            "“Password”: a new password ends the waiting at once."
        )
    return Verdict(
        "rate_limited", Severity.WARNING if living(evidence) else Severity.ERROR,
        _("The phone %(phone)s failed so often that the PBX makes it wait: its tries with the number %(number)s "
          "are refused without a look for up to a minute.") % names,
        _("Its credentials were refused again and again, the last time at %(time)s. It is slowed, not blocked, and the "
          "other phones of the address %(address)s are not affected.") % names,
        do % names, attempt_lines(rows, evidence.now), repair=Repair.PASSWORD if evidence.extension else Repair.NONE,
        stopped_at=Stage.PASSWORD,
    )


def _repaired(attempt: AttemptFacts, evidence: NumberEvidence) -> bool:
    changed = evidence.extension.password_changed_at if evidence.extension else None
    return changed is not None and changed > attempt.last_at


def _last_failure(row: AttemptFacts, evidence: NumberEvidence) -> datetime:
    """When it was last really looked at."""
    failures = [one.last_at for one in evidence.attempts if one.source == row.source and one.cause != "rate_limited"]
    return max(failures, default=row.last_at)
