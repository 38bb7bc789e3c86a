"""Each arrow of a ladder in words for somebody who knows no SIP. What a message means depends on those before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from pbx.diagnosis.reasons import REASONS, reason_of
from pbx.diagnosis.sip_text import SipText, parameter, seconds, user_of

NORMAL, GOOD, BAD = "normal", "good", "bad"
STEP_CAUSES = ("wrong_realm", "nonce_loop", "challenge_unanswered", "unsupported_algorithm", "reply_lost")
"""Causes of which a 401 is the last that the phone heard of us: the 401 itself was right."""


@dataclass(frozen=True, slots=True)
class Caption:
    text: str
    tone: str = NORMAL


@dataclass(slots=True)
class Told:
    """What the arrows so far have said. ``cause``: why it failed, and ``refusal``: the message that is about it."""

    cause: str = ""
    refusal: SipText | None = None
    asked: dict[tuple[str, int, str, bool], SipText] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    ringing: set[str] = field(default_factory=set)
    ended: set[tuple[str, int]] = field(default_factory=set)
    """INVITEs that were refused or taken back, by Call-ID and CSeq: their ACK confirms that."""

    def request_of(self, response: SipText) -> SipText | None:
        return self.asked.get((response.call_id, response.cseq, response.method, not response.sent))


def caption_of(told: Told, text: SipText, repeated: int, phone: str) -> Caption:
    """``phone``: the number of the phone at the other end; ``repeated``: how often this message came or went again."""
    if not text.method:
        return Caption(_("A damaged message that cannot be read."), BAD)
    caption = _response(told, text, phone) if text.status else _request(told, text, phone)
    if not text.status:
        told.asked[text.call_id, text.cseq, text.method, text.sent] = text
    if repeated:
        again, bad = _again(told, text, repeated)
        return Caption(f"{caption.text} {again}", BAD if bad else caption.tone)
    return caption


def _again(told: Told, text: SipText, repeated: int) -> tuple[str, bool]:
    """What the repetitions mean, and whether they are a fault."""
    bad = repeated > 1
    if text.status:
        if text.method == "INVITE" and 200 <= text.status < 300 and text.sent:
            return _("The same again: the phone did not confirm it in time."), bad
        return (_("The same again, because the question came again.") if text.sent
                else _("The same again: our confirmation did not arrive.") if text.method == "INVITE"
                else _("The same again.")), False
    if text.sent:
        return _("The same again: the phone did not answer in time."), bad
    return _("The same again: our answer did not arrive."), bad


# Requests

_FROM_PHONE: Mapping[str, Promise] = {
    "ACK": gettext_lazy("%(phone)s confirms."),
    "BYE": gettext_lazy("%(phone)s hangs up."),
    "CANCEL": gettext_lazy("%(phone)s gives up before anybody has answered."),
    "OPTIONS": gettext_lazy("The phone asks whether the PBX is there."),
    "NOTIFY": gettext_lazy("The phone reports something."),
    "REFER": gettext_lazy("%(phone)s asks to transfer the other party to %(target)s."),
    "SUBSCRIBE": gettext_lazy("The phone wants to be told of changes: lamps, presence or new messages."),
    "PUBLISH": gettext_lazy("The phone tells its own presence."),
    "MESSAGE": gettext_lazy("A text message of %(phone)s. Its words are not kept."),
    "INFO": gettext_lazy("A key was pressed, or a note within the call. Digits are not kept."),
    "UPDATE": gettext_lazy("The phone renews or changes the call."),
    "PRACK": gettext_lazy("The phone confirms that it heard of the ringing."),
}
_FROM_US: Mapping[str, Promise] = {
    "ACK": gettext_lazy("The PBX confirms."),
    "BYE": gettext_lazy("The PBX hangs up on %(phone)s."),
    "CANCEL": gettext_lazy("The PBX tells %(phone)s to ring no more."),
    "OPTIONS": gettext_lazy("The PBX asks whether the phone is there, and keeps its way through the router open."),
    "NOTIFY": gettext_lazy("The PBX tells the phone what has changed."),
    "REFER": gettext_lazy("The PBX asks the phone to call %(target)s."),
    "MESSAGE": gettext_lazy("The PBX delivers a text message. Its words are not kept."),
    "INFO": gettext_lazy("The PBX passes on a key that was pressed, or a note within the call. Digits are not kept."),
    "UPDATE": gettext_lazy("The PBX renews or changes the call."),
}


def _request(told: Told, text: SipText, phone: str) -> Caption:
    special = _REQUESTS.get(text.method)
    if special is not None and (caption := special(told, text, phone)) is not None:
        return caption
    known = (_FROM_US if text.sent else _FROM_PHONE).get(text.method)
    names = {"phone": phone, "target": user_of(text.headers.get("refer-to", "")) or "?", "method": text.method}
    if known is None:
        return Caption(_("A message of the kind %(method)s.") % names)
    return Caption(str(known) % names)


def _register(told: Told, text: SipText, phone: str) -> Caption:
    if text.sent:
        return Caption(_("The PBX registers elsewhere."))
    if text.has_credentials:
        if _leaves(text):
            return Caption(_("Step 2 of 2: the phone proves its password, to sign off."))
        before = told.asked.get((text.call_id, text.cseq - 1, "REGISTER", False))
        if before is not None and before.has_credentials:
            return Caption(_("The phone proves its password once more."))
        return Caption(_("Step 2 of 2: the phone proves its password."))
    if _leaves(text):
        return Caption(_("Step 1 of 2: the phone wants to sign off."))
    knocked = any(one.method == "REGISTER" and one.call_id == text.call_id for one in told.asked.values())
    if knocked and told.cause == "challenge_unanswered":
        return Caption(_("The phone knocks anew and has not answered the question for its password."), BAD)
    return Caption(_("Step 1 of 2: the phone knocks."))


def _invite(told: Told, text: SipText, phone: str) -> Caption:
    if text.in_dialog:
        return _reinvite(told, text, phone)
    told.held[text.call_id] = text.direction
    if text.sent:
        caller = user_of(text.headers.get("from", ""))
        return Caption(_("The PBX rings %(phone)s: %(caller)s calls.") % {"phone": phone, "caller": caller})
    names = {"phone": phone, "dialled": user_of(text.uri) or "?"}
    if text.has_credentials:
        return Caption(_("%(phone)s calls %(dialled)s and proves its password.") % names)
    return Caption(_("%(phone)s calls %(dialled)s.") % names)


def _reinvite(told: Told, text: SipText, phone: str) -> Caption:
    before, now = told.held.get(text.call_id, ""), text.direction
    told.held[text.call_id] = now or before
    held = ("sendonly", "inactive")
    if now in held and before not in held:
        return Caption(_("The PBX puts %(phone)s on hold.") % {"phone": phone} if text.sent
                       else _("%(phone)s puts the other party on hold.") % {"phone": phone})
    if now == "sendrecv" and (before in held or before == "recvonly"):
        return Caption(_("The PBX takes %(phone)s back from hold.") % {"phone": phone} if text.sent
                       else _("%(phone)s takes the other party back from hold.") % {"phone": phone})
    if not now:
        return Caption(_("The PBX asks the phone how its sound is to be sent now.") if text.sent
                       else _("The phone asks how the sound is to be sent now."))
    return Caption(_("The PBX tells the phone where its sound is to go from now on.") if text.sent
                   else _("The phone changes how or where its sound is sent."))


def _ack(told: Told, text: SipText, phone: str) -> Caption | None:
    asked = told.asked.get((text.call_id, text.cseq, "INVITE", text.sent))
    if (text.call_id, text.cseq) in told.ended or (asked is not None and asked.in_dialog):
        return Caption(_("Heard, says the PBX.") if text.sent else _("Heard, says the phone."))
    return Caption(_("The PBX confirms: %(phone)s is connected.") % {"phone": phone} if text.sent
                   else _("%(phone)s confirms: it is connected.") % {"phone": phone}, GOOD)


def _cancel(told: Told, text: SipText, phone: str) -> Caption | None:
    if text.sent and "elsewhere" in text.headers.get("reason", ""):
        return Caption(_("%(phone)s need not ring any more: another phone has answered.") % {"phone": phone})
    return None


def _bye(told: Told, text: SipText, phone: str) -> Caption | None:
    reason = text.headers.get("reason", "")
    for cause, sentence in _BYE_REASONS.items():
        if text.sent and cause in reason:
            return Caption(str(sentence), BAD)
    return None


_BYE_REASONS: Mapping[str, Promise] = {
    "ack_lost": gettext_lazy("The PBX ends the call: the phone never confirmed that it was answered."),
    "session_expired": gettext_lazy("The PBX ends the call: the other phone has vanished."),
    "media_timeout": gettext_lazy("The PBX ends the call: no sound came any more."),
    "codec_mismatch": gettext_lazy("The PBX ends the call: the phones have no common way to send sound."),
}

_REQUESTS: Mapping[str, Callable[[Told, SipText, str], Caption | None]] = {
    "REGISTER": _register, "INVITE": _invite, "ACK": _ack, "CANCEL": _cancel, "BYE": _bye,
}


# Responses

def _response(told: Told, text: SipText, phone: str) -> Caption:
    if text.method == "INVITE" and text.status >= 300:
        told.ended.add((text.call_id, text.cseq))
    about_cause = text is told.refusal and told.cause in REASONS
    if about_cause and text.status != 401:
        return Caption(_("Refused: %(reason)s.") % {"reason": reason_of(told.cause)}, BAD)
    if text.status in (401, 407):
        return _challenge(told, text)
    if text.method == "REGISTER":
        return _registered(told, text)
    if text.method == "INVITE":
        return _invited(told, text, phone)
    return _other(told, text)


def _challenge(told: Told, text: SipText) -> Caption:
    if not text.sent:
        return Caption(_("The phone asks the PBX for a password, which no phone should do."), BAD)
    if told.cause in STEP_CAUSES and text is told.refusal and told.cause in ("wrong_realm", "unsupported_algorithm"):
        return Caption(_("We ask for the password again: %(reason)s.") % {"reason": reason_of(told.cause)}, BAD)
    asked = told.request_of(text)
    stale = "stale=true" in text.headers.get("www-authenticate", "").lower().replace('"', "").replace(" ", "")
    if stale or (asked is not None and asked.has_credentials):
        return Caption(_("Normal: the last question was too old, so we ask for the password anew."))
    if text.method == "REGISTER":
        return Caption(_("Normal, step 1 of 2: we ask for the password."))
    return Caption(_("Normal: we ask for the password first."))


def _registered(told: Told, text: SipText) -> Caption:
    if 200 <= text.status < 300:
        asked = told.request_of(text)
        if asked is not None and _leaves(asked):
            return Caption(_("Signed off, as the phone wished."))
        if asked is not None and "contact" not in asked.headers:
            return Caption(_("This is what is registered now."), GOOD)
        until = _until(text, asked)
        if until is None:
            return Caption(_("Registered."), GOOD)
        return Caption(_("Registered until %(time)s, if the phone does not renew it before.") % {"time": until}, GOOD)
    return Caption(_refused(_REGISTER_REFUSED, text), NORMAL if text.status in (423, 100) else BAD)


def _until(text: SipText, asked: SipText | None) -> str | None:
    """When the registration of this phone ends."""
    length = None
    if asked is not None:
        uri = asked.headers.get("contact", "").partition("<")[2].partition(">")[0]
        # Our 200 names every phone in a Contact of its own; only the first line of a name is kept here.
        whole = text.message.text
        if uri and f"<{uri}>" in whole:
            rest = whole.partition(f"<{uri}>")[2].partition("\n")[0].partition(",")[0]
            length = seconds(parameter(f"x{rest}", "expires"))
    if length is None:
        length = seconds(parameter(text.headers.get("contact", ""), "expires"))
    if length is None:
        return None
    end = datetime.fromtimestamp(min(max(text.message.at, 0.0), 2**36), UTC) + timedelta(seconds=min(length, 2**31))
    return date_format(localtime(end), "H:i:s")


_REGISTER_REFUSED: Mapping[int, Promise] = {
    100: gettext_lazy("Wait, the PBX is at it."),
    400: gettext_lazy("Refused: the message is damaged."),
    403: gettext_lazy("Refused: the number, its password or its permission is not right. The phone is not told which."),
    404: gettext_lazy("Refused: the phone has another server name (domain) than this PBX."),
    420: gettext_lazy("Refused: the phone insists on something that this PBX does not know."),
    423: gettext_lazy("Too short: the PBX asks the phone to register for longer."),
    500: gettext_lazy("An error in the PBX."),
    503: gettext_lazy("Not now: the PBX or its database is busy or stopping. The phone is to come back in a moment."),
}


def _invited(told: Told, text: SipText, phone: str) -> Caption:
    if text.status == 100:
        return Caption(_("Received, please wait, says the PBX.") if text.sent
                       else _("Received, please wait, says the phone."))
    asked = told.request_of(text)
    within = asked is not None and asked.in_dialog
    if text.status < 200:
        if text.sent:
            return Caption(_("The PBX tells %(phone)s: it rings there, and passes on what is heard.") % {"phone": phone}
                           if text.direction else _("The PBX tells %(phone)s: it rings there.") % {"phone": phone})
        told.ringing.add(text.call_id)
        return Caption(_("%(phone)s rings and sends sound already.") % {"phone": phone} if text.direction
                       else _("%(phone)s rings.") % {"phone": phone})
    if text.status < 300:
        if within:
            return Caption(_("Agreed, says the PBX.") if text.sent else _("Agreed, says the phone."))
        return Caption(_("The PBX tells %(phone)s: somebody has answered.") % {"phone": phone} if text.sent
                       else _("%(phone)s answers the call.") % {"phone": phone}, GOOD)
    if text.status == 487:
        return Caption(_("The call was taken back before anybody answered.") if text.sent
                       else _("%(phone)s has stopped ringing, as it was told.") % {"phone": phone})
    table = _WE_REFUSE_A_CALL if text.sent else _PHONE_REFUSES_A_CALL
    return Caption(_refused(table, text, phone), NORMAL if text.status == 491 else BAD)


_PHONE_REFUSES_A_CALL: Mapping[int, Promise] = {
    302: gettext_lazy("%(phone)s sends the call on to another number."),
    404: gettext_lazy("The phone says that it does not know the number %(phone)s."),
    408: gettext_lazy("The phone says that nobody answered in time."),
    480: gettext_lazy("%(phone)s cannot be reached: nobody answered, or “do not disturb” is switched on."),
    481: gettext_lazy("The phone does not know this call any more."),
    486: gettext_lazy("%(phone)s is busy, or somebody pressed “decline”."),
    488: gettext_lazy("%(phone)s has no way to send sound in common with the caller (codec or encryption)."),
    491: gettext_lazy("Both changed the call at the same moment: it is tried again."),
    500: gettext_lazy("%(phone)s has an error of its own."),
    503: gettext_lazy("%(phone)s cannot take calls now."),
    600: gettext_lazy("%(phone)s is busy everywhere."),
    603: gettext_lazy("Somebody pressed “decline” on %(phone)s."),
    606: gettext_lazy("%(phone)s has no way to send sound in common with the caller (codec or encryption)."),
}
_WE_REFUSE_A_CALL: Mapping[int, Promise] = {
    400: gettext_lazy("Refused: the message is damaged."),
    403: gettext_lazy("Refused: the number, its password or its permission is not right. The phone is not told which."),
    404: gettext_lazy("Not connected: there is no such number."),
    408: gettext_lazy("Not connected: nobody answered in time."),
    415: gettext_lazy("Not connected: the phone describes its sound in an unknown way."),
    420: gettext_lazy("Refused: the phone insists on something that this PBX does not know."),
    422: gettext_lazy("The PBX asks for a longer time between two signs of life. The phone tries again with it."),
    480: gettext_lazy("Not connected: nobody answered there, or no phone is registered with that number."),
    481: gettext_lazy("The PBX does not know this call any more."),
    482: gettext_lazy("Refused: the call went in a circle."),
    483: gettext_lazy("Refused: the call has passed through too many servers."),
    486: gettext_lazy("Not connected: it is busy there, or the call was declined."),
    488: gettext_lazy("Not connected: the two phones have no common way to send sound (codec or encryption)."),
    491: gettext_lazy("Both changed the call at the same moment: the phone is to try again."),
    500: gettext_lazy("An error in the PBX."),
    503: gettext_lazy("Not now: the PBX or its database is busy or stopping. The phone is to come back in a moment."),
    603: gettext_lazy("Not connected: the call was declined."),
}


def _other(told: Told, text: SipText) -> Caption:
    if text.method == "OPTIONS" and not text.sent:
        return Caption(_("The phone is there."), GOOD)  # whatever it says: it answers
    if text.status < 200:
        return Caption(_("Received, please wait, says the PBX.") if text.sent
                       else _("Received, please wait, says the phone."))
    if text.status < 300:
        if text.method == "OPTIONS":
            return Caption(_("The PBX is there."), GOOD)
        return Caption(_("Understood, says the PBX.") if text.sent else _("Understood, says the phone."))
    if text.method in ("BYE", "CANCEL") and text.status in (481, 487):
        return Caption(_("That call is over already."))
    if text.method == "NOTIFY" and text.status in (481, 489):
        return Caption(_("The phone does not want to be told any more."))
    return Caption(_refused(_OTHER_REFUSED, text), BAD)


_OTHER_REFUSED: Mapping[int, Promise] = {
    400: gettext_lazy("Refused: the message is damaged."),
    403: gettext_lazy("Refused: the number, its password or its permission is not right. The phone is not told which."),
    404: gettext_lazy("There is no such number."),
    405: gettext_lazy("Refused: this cannot be done here."),
    408: gettext_lazy("No answer came in time."),
    415: gettext_lazy("Refused: this kind of message is not understood."),
    480: gettext_lazy("Nobody can be reached there now."),
    481: gettext_lazy("Refused: that call is not known here."),
    489: gettext_lazy("Refused: this kind of report is not known here."),
    501: gettext_lazy("Refused: this kind of message is not known here."),
    503: gettext_lazy("Not now: the PBX or its database is busy or stopping. The phone is to come back in a moment."),
}


def _refused(table: Mapping[int, Promise], text: SipText, phone: str = "") -> str:
    known = table.get(text.status)
    if known is not None:
        return str(known) % {"phone": phone}
    sentence = _("The PBX refuses: %(answer)s.") if text.sent else _("The phone refuses: %(answer)s.")
    return sentence % {"answer": f"{text.status} {text.reason}".strip()}


def _leaves(text: SipText) -> bool:
    """Whether this REGISTER signs off."""
    contact = text.headers.get("contact", "")
    length = parameter(contact, "expires") or text.headers.get("expires", "")
    return bool(contact) and seconds(length) == 0
