"""Why a call failed or had no sound: one function for each code, from plain evidence to a verdict, or None where it
does not apply. What happened is said in the words of ``pbx.calls.words``; here are why, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pbx.calls.durations import clock as length
from pbx.calls.timeline import device_of
from pbx.calls.words import MediaFact, fact_remedy, in_words, sip_answer, what_to_do, why_it_ended
from pbx.diagnosis.call_evidence import CallEvidence, SideFacts, Unanswered
from pbx.diagnosis.lines import clock, shown
from pbx.diagnosis.networks import is_private, is_public
from pbx.diagnosis.remedies import switch_off_alg
from pbx.diagnosis.verdict import Confidence, Severity, Verdict

ECHO = "*43"
MOST_LEGS = 6
SILENT = ("recvonly", "inactive")
OWN_ANSWERS = (None, 408, 487, 503)
"""Final answers of a leg that the PBX may have made up itself: nothing came from the phone."""


def ended(evidence: CallEvidence) -> str:
    """What happened, in one or two sentences."""
    return why_it_ended(
        evidence.cause, src=shown(evidence.src), dst=shown(evidence.dst), hung_up_by=evidence.hung_up_by,
        legs=evidence.legs,
    )


# Sound

def media_from_elsewhere(evidence: CallEvidence) -> Verdict | None:
    facts = [fact for fact in evidence.facts if fact.code == "media_from_elsewhere"]
    if not facts:
        return None
    fact = facts[0]
    heard = dict(evidence.packets).get(fact.number, 0)
    why = _("The PBX takes the sound of a call only from the address that the phone's messages come from, so that "
            "nobody can speak into the calls of others.")
    if not heard:
        why += " " + _("No sound of %(number)s came from that address.") % {"number": shown(fact.number)}
    else:
        why += " " + _("Sound of %(number)s came from that address too: it could also be a stranger who sends packets "
                       "to ports that are in use.") % {"number": shown(fact.number)}
    return Verdict(
        "media_from_elsewhere", Severity.WARNING if heard else Severity.ERROR, in_words(fact), why, fact_remedy(fact),
        _sound_lines(evidence), Confidence.LIKELY if heard else Confidence.CERTAIN,
    )


def no_audio(evidence: CallEvidence) -> Verdict | None:
    fact = next((fact for fact in evidence.facts if fact.code == "no_audio"), None)
    if fact is None:
        return None
    sides = [evidence.side(fact.number), evidence.side(fact.other)]
    names = {"ports": evidence.rtp_ports, "number": shown(fact.number), "other": shown(fact.other)}
    lost = [side for side in sides if _was_told_wrong_address(side)]
    held = [side for side in sides if side.direction in SILENT]
    if lost:
        why, do, sure = _wrong_address(lost[0], evidence)
    elif held:
        why = _("%(number)s itself said that it sends no sound (hold, or a muted microphone).") % {
            "number": shown(held[0].number)
        }
        do, sure = _("Take the call back from hold in that phone, and call again."), Confidence.LIKELY
    else:
        why = _("The messages of both phones came through, but of the sound of both nothing. Most likely a firewall in "
                "front of the PBX drops it: sound needs the UDP ports %(ports)s besides the port of SIP. If both "
                "phones are behind the same router, it may be that router instead.") % names
        do = _("Open UDP %(ports)s to this machine in its firewall and in the router in front of it. Then dial *43 "
               "from each phone: you hear yourself when the way is free.") % names
        sure = Confidence.LIKELY
    return Verdict("no_audio", Severity.ERROR, in_words(fact), why, do, _sound_lines(evidence), sure)


def no_audio_one_way(evidence: CallEvidence) -> Verdict | None:
    fact = next((fact for fact in evidence.facts if fact.code == "no_audio_one_way"), None)
    if fact is None:
        return None
    side = evidence.side(fact.number)
    why, do, sure = _why_silent(fact, side, evidence)
    return Verdict("no_audio_one_way", Severity.ERROR, in_words(fact), why, do, _sound_lines(evidence), sure)


def _why_silent(fact: MediaFact, side: SideFacts, evidence: CallEvidence) -> tuple[str, str, Confidence]:
    names = {"number": shown(fact.number), "ports": evidence.rtp_ports}
    if any(other.code == "media_from_elsewhere" and other.number == fact.number for other in evidence.facts):
        why = _("Its sound came, but from another address than its messages, and was therefore not passed on.")
        return why, fact_remedy(MediaFact("media_from_elsewhere", fact.number, fact.other)), Confidence.CERTAIN
    if side.direction in SILENT:
        why = _("%(number)s itself said that it sends no sound (hold, or a muted microphone).") % names
        return why, _("Take the call back from hold in that phone, and call again."), Confidence.LIKELY
    if _was_told_wrong_address(side):
        return _wrong_address(side, evidence)
    if fact.number == fact.other:
        why = _("The phone called the echo, and nothing came back to it because nothing of it arrived. A firewall or "
                "router drops its sound (UDP), or the app is not allowed to use the microphone.")
    elif is_private(side.remote):
        why = _("The other phone's sound came through, so the PBX itself can be reached. In the phone's own network "
                "something drops its sound (a firewall, or a router between two networks), or the app is not allowed "
                "to use the microphone.")
    else:
        why = _("The other phone's sound came through, so the PBX itself can be reached. The router or firewall in "
                "front of %(number)s drops its sound (UDP), or the app is not allowed to use the microphone."
                ) % names
    do = _("In the phone's settings allow the app to use the microphone. In the firewall in front of it allow UDP to "
           "the ports %(ports)s of the PBX, and switch off SIP ALG in its router. Then dial *43 from it: you hear "
           "yourself when the way is free.") % names
    return why, do, Confidence.LIKELY


def _was_told_wrong_address(side: SideFacts) -> bool:
    """A phone out in the world was told to send its sound to an address that exists in the office only."""
    return is_public(side.remote) and is_private(side.told_host)


def _wrong_address(side: SideFacts, evidence: CallEvidence) -> tuple[str, str, Confidence]:
    names = {"number": shown(side.number), "address": side.told_host, "remote": side.remote}
    why = _("%(number)s is outside (%(remote)s), but was told to send its sound to %(address)s, an address that exists "
            "only in the network of the PBX.") % names
    if evidence.external_ip:
        do = _("LOCAL_NETS in .env counts the address of that phone among your own networks. Correct it, restart the "
               "PBX and call again.")
    else:
        do = _("Write the address that the PBX has in the Internet into .env as EXTERNAL_IP=…, restart the PBX and "
               "call again.")
    return why, do, Confidence.CERTAIN


def _sound_lines(evidence: CallEvidence) -> tuple[str, ...]:
    lines = [_call_line(evidence)]
    for number, packets in evidence.packets:
        lines.append(ngettext(
            "sound of %(number)s: %(count)d packet arrived", "sound of %(number)s: %(count)d packets arrived", packets
        ) % {"number": shown(number), "count": packets})
    for fact in evidence.facts:
        if fact.code == "media_from_elsewhere":
            lines.append(ngettext(
                "from another address, as if of %(number)s: %(count)d packet",
                "from another address, as if of %(number)s: %(count)d packets", fact.packets,
            ) % {"number": shown(fact.number), "count": fact.packets})
    for side in evidence.sides:
        if side.media_host and side.remote:
            lines.append(_("%(number)s: messages from %(remote)s, sound announced from %(host)s, sent to %(told)s") % {
                "number": shown(side.number), "remote": side.remote, "host": shown(side.media_host),
                "told": shown(side.told_host) or "?",
            })
    return tuple(lines)


# Why it did not come to a talk

def fragmented(evidence: CallEvidence) -> Verdict | None:
    if evidence.answered and evidence.cause != "ack_lost":
        return None
    large = evidence.unanswered[0] if evidence.unanswered else _from_record(evidence)
    if large is None:
        return None
    names = {"number": shown(large.number), "message": large.label}
    if large.size:
        what = ngettext(
            "Our message %(message)s to the phone of %(number)s has %(count)d byte and was never answered.",
            "Our message %(message)s to the phone of %(number)s has %(count)d bytes and was never answered.",
            large.size,
        ) % {**names, "count": large.size}
    else:
        what = _("Our large message %(message)s to the phone of %(number)s was never answered.") % names
    return Verdict(
        "fragmented", Severity.ERROR, what,
        _("Messages of more than about 1300 bytes are cut in pieces on the way, and many routers and mobile networks "
          "drop the pieces; small messages pass. It could also be that the phone was switched off or out of reach at "
          "that moment."),
        _("Set the transport of that phone to TCP instead of UDP, or switch off codecs that are not needed in the "
          "phone that calls: fewer codecs make a smaller message. PCMA and PCMU are enough."),
        _large_lines(evidence, large), Confidence.LIKELY,
    )


def _from_record(evidence: CallEvidence) -> Unanswered | None:
    """The engine notes it in the leg, also where no messages were kept."""
    leg = next((leg for leg in evidence.legs if leg.reason == "fragmented" and leg.ringing_at is None), None)
    return Unanswered(leg.number, "INVITE", 0, 0) if leg is not None else None


def _large_lines(evidence: CallEvidence, large: Unanswered) -> tuple[str, ...]:
    lines = [_call_line(evidence)]
    if large.sendings:
        lines.append(ngettext(
            "%(message)s, %(size)d bytes, sent %(count)d time", "%(message)s, %(size)d bytes, sent %(count)d times",
            large.sendings,
        ) % {"message": large.label, "size": large.size, "count": large.sendings})
    return (*lines, *_leg_lines(evidence))


def ack_lost(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "ack_lost":
        return None
    lines = [_call_line(evidence)]
    if evidence.answer_repeats:
        lines.append(ngettext(
            "the answer (200 OK) was sent again %(count)d time", "the answer (200 OK) was sent again %(count)d times",
            evidence.answer_repeats,
        ) % {"count": evidence.answer_repeats})
    caller = evidence.side(evidence.src)
    if _was_told_wrong_address(caller):
        why = _("%(number)s is outside (%(remote)s), but was told to send its confirmation to %(address)s, an address "
                "that exists only in the network of the PBX.")
        names = {"number": shown(caller.number), "address": caller.told_host, "remote": caller.remote}
        return Verdict(
            "ack_lost", Severity.ERROR, ended(evidence), why % names, _wrong_address(caller, evidence)[1],
            (*lines, *_side_lines(evidence, evidence.src)),
        )
    return Verdict(
        "ack_lost", Severity.ERROR, ended(evidence),
        _("The confirmation (ACK) goes to the address that the PBX gives the phone in its answer. A router with SIP "
          "ALG that rewrites addresses, or a wrong EXTERNAL_IP, sends it astray; or our answer did not reach the "
          "phone."),
        switch_off_alg() + " " + _("If many phones outside have this, look at EXTERNAL_IP in .env."),
        (*lines, *_side_lines(evidence, evidence.src)), Confidence.LIKELY,
    )


def codec_mismatch(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "codec_mismatch":
        return None
    src, dst = evidence.side(evidence.src), evidence.side(evidence.dst)
    if src.codecs and dst.codecs and not {c.lower() for c in src.codecs} & {c.lower() for c in dst.codecs}:
        why = _("%(src)s can send %(offered)s, %(dst)s only %(answered)s.") % {
            "src": shown(evidence.src), "dst": shown(evidence.dst), "offered": shown(", ".join(src.codecs)),
            "answered": shown(", ".join(dst.codecs)),
        }
    elif "SAVP" in src.profile or "SAVP" in dst.profile:
        why = _("One of them insists on encrypted sound (SRTP).")
    elif src.codecs:
        why = _("%(src)s offers %(offered)s, and the other phone refused it.") % {
            "src": shown(evidence.src), "offered": shown(", ".join(src.codecs)),
        }
    else:
        why = _("The phone that was called refused what was offered to it.")
    return Verdict(
        "codec_mismatch", Severity.ERROR, ended(evidence), why, what_to_do("codec_mismatch"),
        (_call_line(evidence), *_codec_lines(evidence), *_leg_lines(evidence)),
    )


def _codec_lines(evidence: CallEvidence) -> tuple[str, ...]:
    return tuple(
        f"{shown(side.number)}: {shown(', '.join(side.codecs))} ({shown(side.profile)})"
        for side in evidence.sides if side.codecs
    )


def busy(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "busy":
        return None
    if any(leg.code in (486, 600) for leg in evidence.legs):
        why = _("The phone itself said so: it is in a call, or somebody pressed “decline”, which many phones report as "
                "busy.")
    elif evidence.src == evidence.dst:
        return _quiet(
            evidence, "busy",
            _("%(number)s called its own number, and it has no other phone that could ring.")
            % {"number": shown(evidence.src)},
            _("Nothing is broken. Call another number, or *43 to hear your own voice."),
        )
    else:
        why = _("All its phones are in calls, or it has as many calls as one extension may have.")
    return _quiet(evidence, "busy", why, _("Nothing is broken. Call again later."))


def declined(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "declined":
        return None
    return _quiet(
        evidence, "declined", _("Somebody pressed “decline”, or “do not disturb” is switched on in that phone."),
        _("Nothing is broken. If nobody declined it, look for “do not disturb” in that phone."),
    )


def no_answer(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "no_answer":
        return None
    rang = [leg for leg in evidence.legs if leg.ringing_at is not None]
    names = {"dst": shown(evidence.dst)}
    if not rang and any(leg.code not in OWN_ANSWERS for leg in evidence.legs):
        return _quiet(
            evidence, "no_answer", _("The phone said by itself that it cannot be reached now: “do not disturb”, or no "
                                     "connection of its own."),
            _("Nothing is broken in the PBX. Look for “do not disturb” in that phone."),
        )
    if rang or not evidence.legs:
        return _quiet(
            evidence, "no_answer", _("The phone rang until the time to ring was over."),
            _("Nothing is broken. How long it rings can be set in the extension %(dst)s.") % names,
        )
    return Verdict(
        "no_answer", Severity.WARNING, _("No phone of %(dst)s answered, not even to say that it rings.") % names,
        _("It is registered, but what the PBX sends does not reach it any more: it is switched off or has left its "
          "network, the app sleeps, or the router in front of it has closed the way back."),
        _("Look at the page of the extension %(dst)s. In the phone let the app run in the background and switch off "
          "its battery saving, and have it register every 60 seconds or so.") % names,
        (_call_line(evidence), *_leg_lines(evidence)), Confidence.LIKELY,
    )


def not_registered(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "not_registered":
        return None
    return Verdict(
        "not_registered", Severity.WARNING, ended(evidence),
        _("The PBX can only ring a phone that has registered and renewed that in time."),
        _("Run `manage.py why %(dst)s`, or open the page of the extension: it says what keeps the phone away.")
        % {"dst": shown(evidence.dst)},
        (_call_line(evidence),),
    )


def unknown_number(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "unknown_number":
        return None
    if evidence.dst in evidence.numbers:
        why = _("At that moment there was no such extension; now there is.")
    else:
        why = _("No extension has this number.")
    return Verdict(
        "unknown_number", Severity.WARNING, ended(evidence), why, what_to_do("unknown_number"), (_call_line(evidence),)
    )


def disabled(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "disabled":
        return None
    return Verdict(
        "disabled", Severity.WARNING, ended(evidence),
        _("An administrator disabled it: its phones may not register and are not called."), what_to_do("disabled"),
        (_call_line(evidence),),
    )


def cancelled(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "cancelled":
        return None
    if evidence.legs and all(leg.ringing_at is None for leg in evidence.legs):
        why = _("No phone of %(dst)s had begun to ring by then.") % {"dst": shown(evidence.dst)}
        do = _("If that happens often, look at the page of the extension %(dst)s: its phone may be hard to reach.") % {
            "dst": shown(evidence.dst)
        }
        return _quiet(evidence, "cancelled", why, do)
    return _quiet(evidence, "cancelled", _("It was still ringing."), _("Nothing has to be done."))


def session_expired(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "session_expired":
        return None
    return Verdict(
        "session_expired", Severity.ERROR, ended(evidence),
        _("The phone was switched off, lost its network, or moved to another one and its router closed the way back."),
        what_to_do("session_expired"), (_call_line(evidence), *_sound_lines(evidence)[1:]), Confidence.LIKELY,
    )


def media_timeout(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "media_timeout":
        return None
    return Verdict(
        "media_timeout", Severity.ERROR, ended(evidence),
        _("The phone did not answer the question whether it is still there, either: it lost its network, or it was "
          "switched off during the call."),
        what_to_do("media_timeout"), _sound_lines(evidence), Confidence.LIKELY,
    )


def too_many_calls(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "too_many_calls":
        return None
    return Verdict(
        "too_many_calls", Severity.WARNING, ended(evidence),
        _("The number had as many calls as one extension may have at the same time."),
        _("If that is wanted, raise SIP_MAX_CALLS_PER_EXTENSION in .env and restart the PBX."), (_call_line(evidence),),
    )


def pbx_crashed(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "pbx_crashed":
        return None
    return Verdict(
        "pbx_crashed", Severity.ERROR, ended(evidence),
        _("The SIP server was killed, or the machine went down, while this call went on."), what_to_do("pbx_crashed"),
        (_call_line(evidence),),
    )


def pbx_stopped(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "pbx_stopped":
        return None
    return _quiet(evidence, "pbx_stopped", _("Somebody stopped or restarted the PBX."), _("Nothing has to be done."))


def hung_up_by_administrator(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "hung_up_by_administrator":
        return None
    return _quiet(
        evidence, "hung_up_by_administrator", _("It was ended on the page of calls, or with `manage.py calls`."),
        _("Nothing has to be done."),
    )


def failed(evidence: CallEvidence) -> Verdict | None:
    if evidence.cause != "failed":
        return None
    refused = [leg for leg in evidence.legs if leg.state == "failed" and leg.code]
    if evidence.disposition == "CONGESTION":
        why = _("The PBX could not serve it: its database or its media engine did not answer.")
        do = _("Run `manage.py doctor`: it says which part of the PBX does not work.")
    elif refused:
        why = _("The phone that was called refused it for a reason of its own.")
        do = _("Look at the answer of the phone below; restarting the phone often helps.")
    else:
        why = _("The caller's phone sent something that could not be served.")
        do = _("Look below at what was said. Restart the calling phone and try again.")
    return Verdict(
        "failed", Severity.ERROR, ended(evidence), why, do, (_call_line(evidence), *_leg_lines(evidence))
    )


def transferred(evidence: CallEvidence) -> Verdict | None:
    return _well(evidence) if evidence.cause == "transferred" else None


def normal(evidence: CallEvidence) -> Verdict | None:
    return _well(evidence) if evidence.cause == "normal" else None


def _well(evidence: CallEvidence) -> Verdict:
    if evidence.facts:
        return Verdict(
            evidence.cause, Severity.INFO, ended(evidence),
            _("That is how it ended; what was wrong with it is said above."),
            _("There is nothing to mend about the end itself."), (_call_line(evidence),),
        )
    was_heard = bool(evidence.packets) and all(count for _number, count in evidence.packets)
    why = _("Both sides heard each other.") if was_heard else _("Nothing is known of its sound.")
    return Verdict(
        evidence.cause, Severity.OK, ended(evidence), why, _("Nothing has to be done."), _sound_lines(evidence)
    )


def in_progress(evidence: CallEvidence) -> Verdict | None:
    if not evidence.lives:
        return None
    if evidence.answered:
        what = _("%(src)s and %(dst)s are talking.") % {"src": shown(evidence.src), "dst": shown(evidence.dst)}
    else:
        what = _("%(src)s calls %(dst)s; nobody has answered yet.") % {
            "src": shown(evidence.src), "dst": shown(evidence.dst),
        }
    return Verdict(
        "in_progress", Severity.OK, what, _("The call is going on."), _("Nothing has to be done."),
        (_call_line(evidence), *_leg_lines(evidence)),
    )


def other(evidence: CallEvidence) -> Verdict | None:
    """A cause of a newer engine."""
    if not evidence.cause:
        return None
    return Verdict(
        shown(evidence.cause), Severity.WARNING, ended(evidence), _("This version has no words for that code."),
        _("Look below at what was said."), (_call_line(evidence), *_leg_lines(evidence)), Confidence.LIKELY,
    )


SOUND: tuple[Callable[[CallEvidence], Verdict | None], ...] = (media_from_elsewhere, no_audio, no_audio_one_way)
"""In the order in which to mend them."""

ENDS: Mapping[str, Callable[[CallEvidence], Verdict | None]] = {
    function.__name__: function
    for function in (
        normal, cancelled, busy, declined, no_answer, not_registered, unknown_number, disabled, ack_lost,
        session_expired, media_timeout, codec_mismatch, too_many_calls, transferred, hung_up_by_administrator,
        pbx_stopped, pbx_crashed, failed,
    )
}
"""By the cause of the record."""


def _quiet(evidence: CallEvidence, code: str, why: str, do: str) -> Verdict:
    return Verdict(
        code, Severity.INFO, ended(evidence), why, do, (_call_line(evidence), *_leg_lines(evidence))
    )


def _call_line(evidence: CallEvidence) -> str:
    names = {
        "src": shown(evidence.src), "dst": shown(evidence.dst), "time": clock(evidence.start, evidence.now),
        "id": shown(evidence.uniqueid), "talked": length(evidence.talked),
    }
    if evidence.answered:
        return _("call %(id)s: %(src)s to %(dst)s at %(time)s, talked %(talked)s") % names
    return _("call %(id)s: %(src)s to %(dst)s at %(time)s") % names


def _leg_lines(evidence: CallEvidence) -> tuple[str, ...]:
    lines = []
    for leg in evidence.legs[:MOST_LEGS]:
        answer = sip_answer(leg) or (_("answered") if leg.state == "answered" else _("no answer"))
        rang = _("rang at %(time)s") % {"time": clock(_moment(leg.ringing_at), evidence.now)} if leg.ringing_at else _(
            "did not ring"
        )
        lines.append(_("%(number)s, %(device)s: %(rang)s; %(answer)s") % {
            "number": shown(leg.number), "device": shown(device_of(leg)), "rang": rang, "answer": shown(answer),
        })
    return tuple(lines)


def _side_lines(evidence: CallEvidence, number: str) -> tuple[str, ...]:
    side = evidence.side(number)
    if not side.remote:
        return ()
    return (_("%(number)s: messages from %(remote)s, told to write to %(told)s") % {
        "number": shown(number), "remote": side.remote, "told": shown(side.told_host) or "?",
    },)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(min(max(seconds, 0.0), 2**36), UTC)
