"""Who the phone says it is, and how it proves it: RFC 7616 and the credentials of the extension."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pbx.diagnosis.evidence import AttemptFacts, NumberEvidence
from pbx.diagnosis.lines import attempt_lines, clock, hour, shown
from pbx.diagnosis.reading import GUESSED_NUMBERS, is_mended, is_of, living
from pbx.diagnosis.remedies import only_try_again, set_lost_password, set_password, try_again
from pbx.diagnosis.verdict import Repair, Severity, Stage, Verdict


def of_cause(evidence: NumberEvidence, *causes: str) -> list[AttemptFacts]:
    """The failed attempts of these causes, newest first."""
    return [attempt for attempt in evidence.attempts if attempt.cause in causes]


def unknown_extension(evidence: NumberEvidence) -> Verdict | None:
    rows = of_cause(evidence, "unknown_extension")
    if evidence.extension is None:
        return _no_such_number(evidence, rows)
    if not rows:
        return None
    number, written = evidence.extension.number, shown(rows[0].number or rows[0].asked.digest_username)
    names = {"number": number, "written": written}
    if written and written != number:
        return Verdict(
            "unknown_extension", Severity.ERROR,
            _("The phone signs in as %(written)s, but the extension is written %(number)s.") % names,
            _("Capital and small letters count when a phone signs in: the number is part of what the phone encrypts "
              "together with the password."),
            _("Write the number into the phone exactly like this: %(number)s.") % names + " " + try_again(),
            attempt_lines(rows, evidence.now), stopped_at=Stage.PASSWORD,
        )
    names["time"] = hour(rows[0].last_at, evidence.now)
    return Verdict(
        "unknown_extension", Severity.WARNING,
        _("When the phone last tried, there was no extension %(number)s yet; now there is.") % names,
        _("Its last attempt was at %(time)s, and the extension was made after that. It has not tried again since.")
        % names,
        only_try_again(), attempt_lines(rows, evidence.now), stopped_at=Stage.PASSWORD,
    )


def _no_such_number(evidence: NumberEvidence, rows: list[AttemptFacts]) -> Verdict:
    names = {"number": shown(evidence.number), "similar": ", ".join(evidence.similar)}
    if rows:
        what = _("A phone signs in as %(number)s, but there is no extension with this number.") % names
    else:
        what = _("There is no extension with the number %(number)s.") % names
    if evidence.renamed_to:
        names["now"] = evidence.renamed_to
        return Verdict(
            "unknown_extension", Severity.ERROR, what,
            _("The extension that had this number has another one now: %(now)s.") % names,
            _("Write %(now)s into the phone as its user name.") % names + " " + set_password(evidence.renamed_to) + " "
            + try_again(),
            attempt_lines(rows, evidence.now), stopped_at=Stage.PASSWORD if rows else Stage.PHONE,
        )
    if rows and all(row.numbers_from_source >= GUESSED_NUMBERS and not row.source_known for row in rows):
        return _guessed_number(evidence, rows)
    if evidence.similar:
        why = _("It is probably a typing error. A number that looks like it: %(similar)s.") % names
        do = _("Write the right number into the phone as its user name. If %(number)s is right, press “Add extension” "
               "and make it.") % names
    else:
        why = _("Either the user name in the phone is wrong, or the extension was never made, was renamed or was "
                "deleted.")
        do = _("Look at the user name in the phone. If %(number)s is right, press “Add extension” and make it.") % names
    lines = attempt_lines(rows, evidence.now)
    if evidence.dialled is not None:
        names |= {"by": shown(evidence.dialled.by), "time": hour(evidence.dialled.at, evidence.now)}
        lines = (*lines, _("%(by)s dialled %(number)s at %(time)s.") % names)
        if not rows:  # no phone has used it to sign in: the one who dialled it is who asks
            why = _("%(by)s dialled it at %(time)s.") % names + " " + why
            do = _("Was it dialled by mistake? Then dial the right number.") + " " + do
    return Verdict(
        "unknown_extension", Severity.ERROR, what, why, do + (" " + try_again() if rows else ""),
        lines, repair=Repair.ADD_EXTENSION,
        stopped_at=Stage.PASSWORD if rows else Stage.PHONE,
    )


def _guessed_number(evidence: NumberEvidence, rows: list[AttemptFacts]) -> Verdict:
    guessed = max(row.numbers_from_source for row in rows)
    return Verdict(
        "unknown_extension", Severity.INFO,
        _("Somebody guessed at the number %(number)s; there is no extension with this number.") % {
            "number": shown(evidence.number)},
        ngettext(
            "The same address has tried %(count)d number: that is how a stranger guesses, not how a phone behaves.",
            "The same address has tried %(count)d numbers: that is how a stranger guesses, not how a phone behaves.",
            guessed,
        ) % {"count": guessed},
        _("If no phone of yours should have this number, nothing has to be done: the PBX slows guessers down and "
          "blocks them."),
        attempt_lines(rows, evidence.now), stopped_at=Stage.PASSWORD,
    )


def disabled(evidence: NumberEvidence) -> Verdict | None:
    rows = of_cause(evidence, "disabled")
    if evidence.extension is None:
        return None
    names = {"number": evidence.extension.number}
    if evidence.extension.enabled:
        if not rows:
            return None
        return Verdict(
            "disabled", Severity.WARNING,
            _("Extension %(number)s was disabled when its phone last tried; now it is enabled.") % names,
            _("The password in the phone was right. The phone has not tried again since."),
            only_try_again(), attempt_lines(rows, evidence.now), stopped_at=Stage.PASSWORD,
        )
    if rows:
        why = _("The phone does everything right, its password too, but while the extension is disabled nobody can "
                "register or call with it.")
    else:
        why = _("While an extension is disabled, nobody can register or call with it.")
    return Verdict(
        "disabled", Severity.ERROR, _("Extension %(number)s is disabled.") % names, why,
        _("If the phone should work, open the extension %(number)s and press “Enable”.") % names + " " + try_again(),
        attempt_lines(rows, evidence.now), repair=Repair.ENABLE, stopped_at=Stage.PASSWORD,
    )


def no_credential(evidence: NumberEvidence) -> Verdict | None:
    rows = of_cause(evidence, "no_credential")
    if evidence.extension is None:
        return None
    number = evidence.extension.number
    if evidence.extension.credential_state.value == "ready":
        return _given_since(evidence, rows, "no_credential")
    return Verdict(
        "no_credential", Severity.ERROR,
        _("Extension %(number)s has no password with which a phone could sign in.") % {"number": number},
        _("The password in the phone is not to blame: the PBX has none to compare it with. The extension was added or "
          "imported without a password, or the kinds of password it offers (SIP_DIGEST_ALGORITHMS) were changed."),
        set_password(number) + " " + try_again(),
        attempt_lines(rows, evidence.now), repair=Repair.PASSWORD, stopped_at=Stage.PASSWORD,
    )


def stale_credential(evidence: NumberEvidence) -> Verdict | None:
    rows = of_cause(evidence, "stale_credential")
    if evidence.extension is None:
        return None
    number, former = evidence.extension.number, evidence.extension.former_number
    if evidence.extension.credential_state.value == "ready":
        return _given_since(evidence, rows, "stale_credential")
    names = {"number": number, "former": former, "realm": evidence.server.realm}
    if former:
        why = _("The extension was called %(former)s when its password was set. The number is encrypted together with "
                "the password, so under the new number no password can be right.") % names
        do = " ".join([set_password(number), _("In the phone, the user name has to be %(number)s.") % names])
    else:
        why = _("The realm of this PBX was changed to %(realm)s after the password was set (SIP_REALM). It is "
                "encrypted together with the password, so no password can be right any more.") % names
        do = set_password(number)
    return Verdict(
        "stale_credential", Severity.ERROR,
        _("The password of %(number)s has to be set once more.") % names,
        why, do + " " + try_again(), attempt_lines(rows, evidence.now), repair=Repair.PASSWORD,
        stopped_at=Stage.PASSWORD,
    )


def _given_since(evidence: NumberEvidence, rows: list[AttemptFacts], code: str) -> Verdict | None:
    if not rows or evidence.extension is None:
        return None
    names = {"number": evidence.extension.number, "time": hour(rows[0].last_at, evidence.now)}
    return Verdict(
        code, Severity.WARNING,
        _("%(number)s has its password now, but the phone has not tried again since.") % names,
        _("When the phone last tried, at %(time)s, the PBX had no password to compare with.") % names,
        _("Put the password into the phone.") + " " + try_again(),
        attempt_lines(rows, evidence.now), stopped_at=Stage.PASSWORD,
    )


def wrong_password(evidence: NumberEvidence) -> Verdict | None:
    rows = of_cause(evidence, "wrong_password")
    if not rows or evidence.extension is None:
        return None
    number, changed, now = evidence.extension.number, evidence.extension.password_changed_at, evidence.now
    names = {
        "number": number, "changed": hour(changed, now) if changed else "", "tried": hour(rows[0].last_at, now),
    }
    lines = attempt_lines(rows, now)
    if changed:
        lines += (_("Password of %(number)s last set: %(changed)s") % (names | {"changed": clock(changed, now)}),)
    if is_mended(rows[0], evidence):
        return Verdict(
            "wrong_password", Severity.WARNING,
            _("The password of %(number)s was changed at %(changed)s; the phone has not tried since.") % names,
            _("Its last attempt, at %(tried)s, was made with a wrong password.") % names,
            _("Put the new password into the phone.") + " " + try_again(), lines, stopped_at=Stage.PASSWORD,
        )
    before = [
        device for device in evidence.devices
        if changed and device.refreshed_at < changed
        and (is_of(rows[0], device) or (device.source, device.user_agent) == (rows[0].source, rows[0].user_agent))
    ]
    if changed and before:
        names["seen"] = hour(before[0].refreshed_at, now)
        why = _("The password of %(number)s was changed at %(changed)s. The phone last signed in before that, at "
                "%(seen)s, so it still has the old password.") % names
        do = _("Put the new password into the phone.") + " " + set_lost_password(number)
    elif changed and rows[0].first_at < changed:
        why = _("The password of %(number)s was changed at %(changed)s, and the phone has failed before that and "
                "after: probably the new password has not been put into it yet, or with a typing error.") % names
        do = _("Put the new password into the phone.") + " " + set_lost_password(number)
    else:
        why = _("It answered when the PBX asked for the password, but not with the password of %(number)s. Usually "
                "it is a typing error: a capital letter, a space at the end, a letter that looks like another, or "
                "the password of another extension.") % names
        do = set_password(number)
    alive = living(evidence)
    if alive and not any(is_of(rows[0], device) for device in alive):
        what = _("Another phone gives a wrong password for %(number)s.") % names
        why = _("It comes from another phone than the one that is registered.") + " " + why
        do = _("Put the password that the registered phone has into this one too. If nobody knows it any more, open "
               "the extension %(number)s, press “Password” and put the new one into both phones.") % names
    else:
        what = _("The phone gives a wrong password for %(number)s.") % names
    return Verdict(
        "wrong_password", Severity.ERROR, what, why, do + " " + try_again(), lines, repair=Repair.PASSWORD,
        stopped_at=Stage.PASSWORD,
    )


def wrong_realm(evidence: NumberEvidence) -> Verdict | None:
    rows = of_cause(evidence, "wrong_realm")
    if not rows:
        return None
    names = {
        "number": shown(evidence.number), "sent": shown(rows[0].asked.digest_realm), "realm": evidence.server.realm,
    }
    if names["sent"]:
        why = _("A phone encrypts its password together with a realm, a name that the PBX tells it. This phone uses "
                "“%(sent)s”, but ours is “%(realm)s”. Somebody has written a realm into its settings, or it still "
                "remembers another server.") % names
    else:
        why = _("A phone encrypts its password together with a realm, a name that the PBX tells it. This phone uses "
                "another one than ours, “%(realm)s”.") % names
    return Verdict(
        "wrong_realm", Severity.ERROR,
        _("The phone of %(number)s signs in for another server: its realm is wrong.") % names, why,
        _("Empty the field “Realm” in the account settings of the phone (some call it “Auth realm” or “Authentication "
          "domain”), or write “%(realm)s” into it.") % names + " " + try_again(),
        attempt_lines(rows, evidence.now), stopped_at=Stage.CHALLENGE,
    )


def unsupported_algorithm(evidence: NumberEvidence) -> Verdict | None:
    rows = of_cause(evidence, "unsupported_algorithm")
    if not rows:
        return None
    asked = rows[0].asked
    names = {
        "number": shown(evidence.number), "algorithm": shown(asked.digest_algorithm),
        "offered": ", ".join(evidence.server.algorithms),
    }
    accepted = (asked.digest_algorithm or "MD5").upper() in {name.upper() for name in evidence.server.algorithms}
    if accepted:
        why = _("It answers in a way from before 2002 (without “qop”), with which a stranger could repeat what he has "
                "overheard. So the password was not even looked at.")
        do = _("Update the software of the phone. If there is no newer one, use another phone or app.")
    else:
        why = _("It encrypts the password with %(algorithm)s, and the PBX takes %(offered)s. So the password was not "
                "even looked at.") % names
        do = _("Update the software of the phone, or choose %(offered)s in its settings if they have such a choice. "
               "A PBX that should take SHA-256 too needs the line SIP_DIGEST_ALGORITHMS=SHA-256,MD5 in .env.") % names
    return Verdict(
        "unsupported_algorithm", Severity.ERROR,
        _("The phone of %(number)s encrypts its password in a way that the PBX does not take.") % names,
        why, do, attempt_lines(rows, evidence.now), stopped_at=Stage.CHALLENGE,
    )
