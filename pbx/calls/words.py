"""Why a call ended and what was heard in it, in words. The codes are stable and public; the texts are translated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from sipcore.calls.records import LegRow, MediaRow

JUDGED_AFTER = 2.0
"""Seconds of talk before missing sound means anything."""

STRAY_PACKETS = 10
STRAY_SHARE = 0.01
"""So many packets from elsewhere, or this share of all, are strays and no fact."""

CAUSES: Mapping[str, Promise] = MappingProxyType({
    "normal": pgettext_lazy("why a call ended", "hung up"),
    "cancelled": pgettext_lazy("why a call ended", "caller gave up"),
    "busy": pgettext_lazy("why a call ended", "busy"),
    "declined": pgettext_lazy("why a call ended", "declined"),
    "no_answer": pgettext_lazy("why a call ended", "nobody answered"),
    "not_registered": pgettext_lazy("why a call ended", "no phone registered"),
    "unknown_number": pgettext_lazy("why a call ended", "unknown number"),
    "disabled": pgettext_lazy("why a call ended", "extension disabled"),
    "ack_lost": pgettext_lazy("why a call ended", "answer never confirmed"),
    "session_expired": pgettext_lazy("why a call ended", "phone vanished"),
    "media_timeout": pgettext_lazy("why a call ended", "sound stopped"),
    "codec_mismatch": pgettext_lazy("why a call ended", "no common codec"),
    "too_many_calls": pgettext_lazy("why a call ended", "too many calls"),
    "transferred": pgettext_lazy("why a call ended", "transferred"),
    "hung_up_by_administrator": pgettext_lazy("why a call ended", "ended by an administrator"),
    "pbx_stopped": pgettext_lazy("why a call ended", "PBX was stopped"),
    "pbx_crashed": pgettext_lazy("why a call ended", "PBX broke off"),
    "failed": pgettext_lazy("why a call ended", "failed"),
})
"""Each cause in two or three words, for lists."""

_SENTENCES: Mapping[str, Promise] = MappingProxyType({
    "normal": gettext_lazy("The call ended normally."),
    "cancelled": gettext_lazy("%(src)s hung up before anybody answered."),
    "busy": gettext_lazy("%(dst)s was busy."),
    "declined": gettext_lazy("%(dst)s declined the call."),
    "no_answer": gettext_lazy("%(dst)s rang, but nobody answered."),
    "not_registered": gettext_lazy("No phone was registered with %(dst)s: it was off, asleep or not signed in."),
    "unknown_number": gettext_lazy("This PBX has no number %(dst)s."),
    "disabled": gettext_lazy("%(dst)s is disabled in this PBX."),
    "ack_lost": gettext_lazy(
        "The phone of %(src)s never confirmed that the call was answered, so the PBX ended it after 32 seconds. What "
        "that phone sends gets lost on the way."
    ),
    "session_expired": gettext_lazy("One of the two phones vanished: the PBX asked, and no answer came any more."),
    "media_timeout": gettext_lazy("No sound came from a phone for too long, so the PBX ended the call."),
    "codec_mismatch": gettext_lazy("The two phones found no common way to send sound: no codec that both have, or "
                                   "one insists on encryption (SRTP) that the other cannot do."),
    "too_many_calls": gettext_lazy("The limit of calls at the same time was reached."),
    "transferred": gettext_lazy("The call was transferred."),
    "hung_up_by_administrator": gettext_lazy("An administrator ended the call."),
    "pbx_stopped": gettext_lazy("The PBX was stopped during the call."),
    "pbx_crashed": gettext_lazy("The PBX broke off during the call. The end is the last moment at which it was seen "
                                "alive."),
    "failed": gettext_lazy("The call failed."),
})

_REMEDIES: Mapping[str, Promise] = MappingProxyType({
    "not_registered": gettext_lazy("See on the page of the extension whether and when its phone last registered."),
    "unknown_number": gettext_lazy("Look at the number that was dialled, or add an extension with it."),
    "disabled": gettext_lazy("Enable the extension if it should take calls."),
    "ack_lost": gettext_lazy("Look at the router and the firewall in front of that phone: SIP helpers (ALG) must be "
                             "off."),
    "session_expired": gettext_lazy("Look at the network of the phone: Wi-Fi, mobile data, power."),
    "media_timeout": gettext_lazy("Look below at who sent no sound, and at the network of that phone."),
    "codec_mismatch": gettext_lazy("Switch on the codec PCMA (G.711 A-law) in both phones, and set media encryption "
                                   "to “none” or “optional”."),
    "pbx_crashed": gettext_lazy("The log of the SIP server says what happened."),
})


def short_reason(cause: str) -> str:
    """Two or three words; a cause from a newer engine is shown as its code."""
    return str(CAUSES.get(cause, cause))


def why_it_ended(cause: str, *, src: str, dst: str, hung_up_by: str = "", legs: Sequence[LegRow] = ()) -> str:
    """One or two sentences; empty while the call lives (no cause)."""
    names = {"src": src, "dst": dst}
    if not cause:
        return ""
    if cause == "normal" and hung_up_by in ("caller", "callee"):
        return _("%(number)s hung up.") % {"number": src if hung_up_by == "caller" else dst}
    if cause == "no_answer" and legs and all(leg.silent for leg in legs):
        return _("The phone of %(dst)s gave no answer at all, not even to say that it rings.") % names
    sentence = _SENTENCES.get(cause)
    text = str(sentence) % names if sentence is not None else _("The call ended: %(code)s.") % {"code": cause}
    if cause == "failed" and (answer := last_refusal(legs)):
        text += " " + _("The phone of %(number)s answered %(answer)s.") % {
            "number": answer.number, "answer": sip_answer(answer)
        }
    return text


def what_to_do(cause: str) -> str:
    """A sentence for the administrator; empty when there is nothing to mend."""
    return str(_REMEDIES.get(cause, ""))


def last_refusal(legs: Iterable[LegRow]) -> LegRow | None:
    refused = [leg for leg in legs if leg.state == "failed" and leg.code]
    return refused[-1] if refused else None


def sip_answer(leg: LegRow) -> str:
    """``486 Busy Here``."""
    if leg.silent:
        return _("no answer at all from the phone")
    return f"{leg.code or ''} {leg.reason}".strip()


@dataclass(frozen=True, slots=True)
class MediaFact:
    """``code`` is one of no_audio_one_way, no_audio, media_from_elsewhere."""

    code: str
    number: str  # from whom nothing came, or whose sound came from elsewhere
    other: str
    packets: int = 0  # from elsewhere


def media_facts(media: Sequence[MediaRow], talked: float) -> list[MediaFact]:
    """What the counters of a call say; ``talked`` in seconds. Nothing before the sound had time to come."""
    if talked < JUDGED_AFTER:
        return []
    came: dict[tuple[str, str], int] = {}
    foreign: dict[tuple[str, str], int] = {}
    for row in media:
        way = (row.from_number, row.to_number)
        came[way] = came.get(way, 0) + row.packets
        foreign[way] = foreign.get(way, 0) + row.foreign_packets
    facts: list[MediaFact] = []
    told: set[tuple[str, str]] = set()
    for way, packets in came.items():
        if packets or way in told:
            continue
        back = (way[1], way[0])
        both = back != way and came.get(back) == 0
        told |= {way, back} if both else {way}
        facts.append(MediaFact("no_audio" if both else "no_audio_one_way", *way))
    for way, packets in foreign.items():
        if packets and (came[way] == 0 or packets > max(STRAY_PACKETS, STRAY_SHARE * came[way])):
            facts.append(MediaFact("media_from_elsewhere", *way, packets=packets))
    return facts


def in_words(fact: MediaFact) -> str:
    names = {"number": fact.number, "other": fact.other}
    if fact.code == "no_audio":
        return _("No audio in either direction: neither %(number)s nor %(other)s sent a packet of sound that "
                 "arrived.") % names
    if fact.code == "no_audio_one_way":
        return _("No audio from %(number)s: not one packet of its sound arrived, so %(other)s heard nothing.") % names
    return ngettext(
        "%(count)d packet that claimed to be the sound of %(number)s came from another address and was not passed on.",
        "%(count)d packets that claimed to be the sound of %(number)s came from another address and were not passed "
        "on.", fact.packets,
    ) % {"count": fact.packets, **names}


def fact_remedy(fact: MediaFact) -> str:
    """What to do about it."""
    if fact.code == "media_from_elsewhere":
        return _("If that phone really sends its sound from another address, switch on “media may come from another "
                 "address” in its extension.")
    return _("A firewall or router between that phone and the PBX drops its sound (UDP), or the app may not use "
             "the microphone. Dial *43 from it: you hear yourself when the way is free.")
