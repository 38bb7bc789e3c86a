"""Phones that are registered, were, or are not let in for want of room or time."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pbx.diagnosis.causes.credentials import of_cause
from pbx.diagnosis.evidence import DeviceFacts, NumberEvidence
from pbx.diagnosis.lines import attempt_lines, clock, device_line, duration, hour, phone_name, place, shown
from pbx.diagnosis.networks import is_private
from pbx.diagnosis.phone_apps import app_of
from pbx.diagnosis.reading import living, silent
from pbx.diagnosis.remedies import only_try_again, set_lost_password, set_password, switch_off_alg, try_again
from pbx.diagnosis.verdict import Confidence, Repair, Severity, Stage, Verdict
from sipcore.protocol.errors import SipError
from sipcore.protocol.uri import parse_uri

NEEDS_A_SERVER = frozenset({
    "registered", "expired", "nat_keepalive_lost", "nothing_received", "signed_off", "stun_enabled",
})
"""Verdicts that say nothing while the server itself does not run."""

MOST_LINES = 6
FLAPS = 3
"""So many ends in 24 hours are a habit."""


def registered(evidence: NumberEvidence) -> Verdict | None:
    alive, quiet, now = living(evidence), silent(evidence), evidence.now
    extension = evidence.extension
    if not alive or extension is None:
        return None
    names = {"number": extension.number, "count": len(alive)}
    if len(alive) == 1:
        what = _("%(number)s is registered.") % names
    else:
        what = ngettext(
            "%(number)s is registered with %(count)d phone.", "%(number)s is registered with %(count)d phones.",
            len(alive),
        ) % names
    lines = tuple(device_line(device, now) for device in (*alive, *quiet)[:MOST_LINES])
    unusable = extension.credential_state.value != "ready"
    old = list(alive) if unusable else [device for device in alive if device.old_password]
    if old:
        names |= {"until": hour(min(device.expires_at for device in old), now), "phone": phone_name(old[0].user_agent)}
        if unusable:
            why = _("It works for now, but the extension has no password any more that fits: at %(until)s the phone "
                    "has to sign in again and will be refused.") % names
            do = set_password(extension.number)
        else:
            why = _("It works for now, but %(phone)s still has the old password: at %(until)s it has to sign in again "
                    "and will be refused.") % names
            do = _("Put the new password into that phone before then.") + " " + set_lost_password(extension.number)
        return Verdict("registered", Severity.WARNING, what, why, do, lines, repair=Repair.PASSWORD)
    why = _("Its password is right, it renews its registration in time, and it can be called.")
    if quiet:
        why += " " + ngettext(
            "%(count)d other phone of this number is still registered but does not answer.",
            "%(count)d other phones of this number are still registered but do not answer.",
            len(quiet),
        ) % {"count": len(quiet)}
    return Verdict("registered", Severity.OK, what, why, _("Nothing has to be done."), lines)


def ended(evidence: NumberEvidence) -> Verdict | None:
    """The phone was registered and is not any more: it said good-bye, or it did not come back."""
    if not evidence.devices or evidence.extension is None:
        return None
    return signed_off(evidence) if evidence.devices[0].signed_off else expired(evidence)


def signed_off(evidence: NumberEvidence) -> Verdict | None:
    last = evidence.devices[0] if evidence.devices else None
    if last is None or not last.signed_off:
        return None
    names = {"number": shown(evidence.number), "time": hour(last.expires_at, evidence.now)}
    return Verdict(
        "signed_off", Severity.INFO,
        _("The phone of %(number)s signed off by itself at %(time)s.") % names,
        _("It said good-bye, as phones do when the app is closed, the account is switched off or the phone is shut "
          "down. That is no fault."),
        _("If it should ring, open the app or switch the account on again."),
        _devices(evidence), stopped_at=Stage.PHONE,
    )


def expired(evidence: NumberEvidence) -> Verdict | None:
    last = evidence.devices[0] if evidence.devices else None
    if last is None or last.lives(evidence.now) or last.signed_off:
        return None
    now = evidence.now
    names = {
        "number": shown(evidence.number), "time": hour(last.expires_at, now), "seen": hour(last.refreshed_at, now),
        "ago": duration((now - last.expires_at).total_seconds()),
    }
    app = app_of(last.user_agent)
    if last.transport in ("TCP", "TLS", "WS", "WSS"):
        lost = _("Its connection ended at %(time)s, and it has not come back for %(ago)s.") % names
    else:
        lost = _("It last renewed its registration at %(seen)s, which was good until %(time)s; since then nothing has "
                 "come, for %(ago)s.") % names
    if app.is_desk_phone:
        cause = _("A phone that does not renew has lost its power or its network.")
        do = _("Look whether the phone has power and the network cable is plugged in, and restart it.")
    else:
        cause = _("Most often the telephone has put the app to sleep to save its battery. It may also be closed, "
                  "switched off or without a network.")
        do = _("Open the app once: it registers at once. So that it does not happen again, allow it to run in the "
               "background: in the settings of the telephone under Apps, the app, Battery, choose “Unrestricted”.")
    ends = sum(period.ending in ("expired", "connection_lost", "silent") for period in evidence.periods)
    lines = _devices(evidence)
    if ends >= FLAPS:
        cause += " " + ngettext(
            "In the last 24 hours it was lost like this %(count)d time.",
            "In the last 24 hours it was lost like this %(count)d times.",
            ends,
        ) % {"count": ends}
    if last.silent_since is not None:
        lines += (_("It had not answered since %(time)s") % {"time": clock(last.silent_since, now)},)
    return Verdict(
        "expired", Severity.ERROR,
        _("The phone of %(number)s was registered until %(time)s and has not come back.") % names,
        lost + " " + cause, do, lines, confidence=Confidence.LIKELY, stopped_at=Stage.PHONE,
    )


def nat_keepalive_lost(evidence: NumberEvidence) -> Verdict | None:
    quiet = silent(evidence)
    if not quiet or living(evidence) or evidence.extension is None:
        return None
    now, last = evidence.now, quiet[0]
    assert last.silent_since is not None
    names = {
        "number": evidence.extension.number, "place": place(last.source, last.port),
        "since": hour(last.silent_since, now),
    }
    why = _("The PBX asks %(place)s regularly whether the phone is there, and since %(since)s no answer has come, "
            "neither to that nor to a call.") % names
    what = _("The phone of %(number)s is registered but does not answer any more: calls do not reach it.") % names
    if _is_near(last):
        return Verdict(
            "nat_keepalive_lost", Severity.ERROR, what,
            why + " " + _("It is in the same network as the PBX. It was switched off, has crashed or lost its power, "
                          "or has left the Wi-Fi or the network cable."),
            _("Look whether the phone is on and connected to the network, and restart it or open the app: it registers "
              "again and can be reached. If it is not used any more, press “Forget devices”: callers are then told at "
              "once that it is not there."),
            _devices(evidence), confidence=Confidence.LIKELY, repair=Repair.FORGET_DEVICES, stopped_at=Stage.REACHABLE,
        )
    causes = _("Either the router in front of the phone has forgotten the way to it, or the app was put to sleep, or "
               "the phone is off or has gone to another network.")
    if app_of(last.user_agent).is_desk_phone:
        causes = _("Either the router in front of the phone has forgotten the way to it, or the phone has lost its "
                   "power or its network.")
    return Verdict(
        "nat_keepalive_lost", Severity.ERROR, what, why + " " + causes,
        " ".join([
            _("Open the app, or restart the phone: it registers again and can be reached."),
            _("If it happens again and again, set the registration time in the phone to 60 or 120 seconds and switch "
              "its keep-alive on; an app has to be allowed to run in the background."),
            switch_off_alg(),
        ]),
        _devices(evidence), confidence=Confidence.LIKELY, stopped_at=Stage.REACHABLE,
    )


def _is_near(device: DeviceFacts) -> bool:
    """No router lies between: it knows its own address, which means something in its own network only."""
    try:
        contact = parse_uri(device.contact)
    except SipError:
        return False
    return is_private(device.source) and (contact.host, contact.port or 5060) == (device.source, device.port)


def expires_too_short(evidence: NumberEvidence) -> Verdict | None:
    rows = of_cause(evidence, "expires_too_short")
    if not rows:
        return None
    names = {"number": shown(evidence.number), "asked": rows[0].asked.expires, "least": evidence.server.min_expires}
    why = _("The PBX takes registrations of %(least)d seconds or more. Most phones that are told so ask for more; this "
            "one does not.") % names
    if names["asked"] is not None:
        why = _("It asks to be registered for %(asked)d seconds at a time.") % names + " " + why
    return Verdict(
        "expires_too_short", Severity.ERROR,
        _("The phone of %(number)s wants to register for too short a time.") % names, why,
        _("In the account settings of the phone, set the registration time (“Expires”, “Registration expiry”) to "
          "%(least)d seconds or more.") % names + " " + try_again(),
        attempt_lines(rows, evidence.now), stopped_at=Stage.REGISTERED,
    )


def too_many_devices(evidence: NumberEvidence) -> Verdict | None:
    rows = of_cause(evidence, "too_many_devices")
    if not rows or evidence.extension is None:
        return None
    alive = [device for device in evidence.devices if device.lives(evidence.now)]
    names = {"number": evidence.extension.number, "limit": evidence.extension.max_devices}
    if len(alive) < evidence.extension.max_devices:
        why = _("When it tried, as many phones were registered as this extension may have. Now there is room again, "
                "but it has not tried since.")
        do = only_try_again()
    else:
        why = ngettext(
            "Its password is right, but this extension may have %(limit)d phone at a time, and there is one already. "
            "An app that was installed anew also counts as another phone until the old registration ends.",
            "Its password is right, but this extension may have %(limit)d phones at a time, and so many are registered "
            "already. An app that was installed anew also counts as another phone until the old registration ends.",
            evidence.extension.max_devices,
        ) % names
        do = _("Open the extension %(number)s and press “Forget this device” beside the phone that is no longer used, "
               "or raise the device limit there.") % names + " " + try_again()
    return Verdict(
        "too_many_devices", Severity.ERROR,
        _("A phone of %(number)s is not let in, because too many are registered already.") % names, why, do,
        attempt_lines(rows, evidence.now) + tuple(device_line(device, evidence.now) for device in alive[:MOST_LINES]),
        repair=Repair.FORGET_DEVICES, stopped_at=Stage.REGISTERED,
    )


def guessed_at(evidence: NumberEvidence) -> Verdict | None:
    """``evidence`` with nothing but the attempts of strangers."""
    rows = evidence.attempts
    if not rows or evidence.extension is None:
        return None
    tries = sum(row.count for row in rows)
    names = {"number": evidence.extension.number, "count": tries, "source": rows[0].source}
    what = ngettext(
        "Somebody else tried %(count)d time to sign in as %(number)s, from %(source)s.",
        "Somebody else tried %(count)d times to sign in as %(number)s, from %(source)s.",
        tries,
    ) % names
    if is_private(rows[0].source):
        why = _("It did not work. The address is inside the local network: probably it is another phone with this "
                "number whose settings are wrong, but it may also be somebody there who tries out passwords.")
    else:
        why = _("It did not work, and the phone of %(number)s is not affected. Usually this is a stranger on the "
                "internet who tries numbers and passwords; it can also be another phone of yours with wrong settings.")
        why %= names
    return Verdict(
        "guessed_at", Severity.INFO, what, why,
        _("Nothing has to be done against strangers, as long as the password of %(number)s is a long one that was made "
          "by the PBX: it slows guessers down and blocks them. If it is a phone of yours, correct its user name and "
          "password.") % names,
        attempt_lines(rows, evidence.now), confidence=Confidence.LIKELY,
    )


def _devices(evidence: NumberEvidence) -> tuple[str, ...]:
    devices: tuple[DeviceFacts, ...] = evidence.devices[:MOST_LINES]
    return tuple(device_line(device, evidence.now) for device in devices)
