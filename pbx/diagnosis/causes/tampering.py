"""The passive detective: what routers and STUN do to a phone's messages, seen from what arrives."""

from __future__ import annotations

from django.utils.translation import gettext as _

from pbx.diagnosis.causes.credentials import of_cause
from pbx.diagnosis.evidence import AttemptFacts, NumberEvidence
from pbx.diagnosis.lines import attempt_lines, place, shown
from pbx.diagnosis.networks import is_private
from pbx.diagnosis.phone_apps import app_of
from pbx.diagnosis.reading import living
from pbx.diagnosis.remedies import switch_off_alg, try_again
from pbx.diagnosis.verdict import Confidence, Severity, Stage, Verdict
from pbx.diagnosis.wire import host_of, learns_its_address, sent_by_of, stun_address, uri_of


def alg_tampering(evidence: NumberEvidence) -> Verdict | None:
    """What was signed with the password is not what arrived, or the length that it gives is not its length."""
    rows = of_cause(evidence, "alg_tampering")
    if not rows:
        return None
    asked = rows[0].asked
    names = {
        "number": shown(evidence.number), "signed": shown(asked.digest_uri), "came": shown(asked.request_uri),
        "said": asked.content_length, "bytes": asked.body_bytes,
    }
    if asked.content_length is not None and asked.content_length != asked.body_bytes:
        why = _("The phone says that %(said)d bytes follow, but %(bytes)d came: something on the way has put another "
                "address into its message without correcting the length.") % names
    else:
        why = _("The phone signed a message to “%(signed)s” with its password, but the message that arrived is "
                "addressed to “%(came)s”. So the signature cannot be right, whatever the password.") % names
    return Verdict(
        "alg_tampering", Severity.ERROR,
        _("Something on the way rewrites the messages of the phone of %(number)s.") % names,
        why + " " + _("Usually it is the router in front of the phone that means to help (“SIP ALG”); rarely it is a "
                      "faulty phone."),
        " ".join([switch_off_alg(), try_again()]),
        attempt_lines(rows, evidence.now) + _signs(rows[0]),
        confidence=Confidence.LIKELY, stopped_at=Stage.CHALLENGE,
    )


def third_party(evidence: NumberEvidence) -> Verdict | None:
    """The number in From, in To and in the credentials is not the same one."""
    rows = of_cause(evidence, "third_party")
    if not rows:
        return None
    asked = rows[0].asked
    sender, target = uri_of(asked.from_uri), uri_of(asked.to_uri)
    names = {
        "from": shown(sender.user or "") if sender else "", "to": shown(target.user or "") if target else "",
        "user": shown(asked.digest_username), "number": shown(evidence.number),
    }
    return Verdict(
        "alg_tampering", Severity.ERROR,
        _("The phone of %(number)s gives two different numbers in one message.") % names,
        _("It registers the number “%(to)s”, as “%(from)s”, but signs in with the user name “%(user)s”. Either two "
          "different numbers stand in its account settings, or the router in front of it rewrites its messages (“SIP "
          "ALG”).") % names,
        " ".join([
            _("In the phone, the user name has to be %(number)s, and the field for another name to sign in with "
              "(“Authentication username”, “Login”, “Authenticate ID”) has to be empty or the same.") % names,
            _("If it is so already, the router is to blame."), switch_off_alg(), try_again(),
        ]),
        attempt_lines(rows, evidence.now) + _signs(rows[0]),
        confidence=Confidence.LIKELY, stopped_at=Stage.PASSWORD,
    )


def rewritten(evidence: NumberEvidence) -> Verdict | None:
    """Marks of a router that rewrites, in attempts that failed for what seems another reason."""
    causes = ("malformed", "challenge_unanswered", "reply_lost", "nonce_loop", "wrong_domain")
    for attempt in of_cause(evidence, *causes):
        signs = _signs(attempt)
        if signs:
            return Verdict(
                "alg_tampering", Severity.WARNING,
                _("A router seems to rewrite the messages of the phone of %(number)s.")
                % {"number": shown(evidence.number)},
                _("What arrives does not fit together, as if only a part of it had been replaced on the way. Such a "
                  "router (“SIP ALG”) means to help, but it often breaks registrations and sound. A computer with "
                  "several networks or a VPN can look like this too."),
                switch_off_alg(), signs, confidence=Confidence.LIKELY, stopped_at=Stage.CHALLENGE,
            )
    return None


def stun_enabled(evidence: NumberEvidence) -> Verdict | None:
    """A phone that gives a public address which is not the one its packets come from has asked a STUN server."""
    for device in living(evidence):
        own = stun_address(device)
        if own is None:
            continue
        app = app_of(device.user_agent)
        names = {
            "number": shown(evidence.number), "own": shown(place(*own)), "source": place(device.source, device.port),
            "field": app.labels.get("stun", "STUN"),
        }
        return Verdict(
            "stun_enabled", Severity.WARNING,
            _("The phone of %(number)s has STUN switched on and guesses its public address wrong.") % names,
            _("It says that it is at %(own)s, but its packets come from %(source)s. Signing in works all the same, "
              "because the PBX answers to where the packets come from; the sound of calls may stay away. A router that "
              "rewrites messages (“SIP ALG”) can look like this too.") % names,
            _("In the account settings of the phone switch STUN off (“%(field)s”). This PBX finds phones behind "
              "routers without it.") % names,
            (_("Contact: %(own)s, source: %(source)s") % names,), confidence=Confidence.LIKELY,
        )
    return None


def _signs(attempt: AttemptFacts) -> tuple[str, ...]:
    """What in one message does not fit together."""
    asked, lines = attempt.asked, []
    via, contact = sent_by_of(asked.via) if asked.vias <= 1 else None, uri_of(asked.contact)
    if asked.content_length is not None and asked.content_length != asked.body_bytes:
        lines.append(
            _("Content-Length says %(said)d, %(came)d bytes came")
            % {"said": asked.content_length, "came": asked.body_bytes}
        )
    if via is not None and contact is not None and via[0] != contact.host:
        names = {"via": shown(via[0]), "contact": shown(contact.host), "source": attempt.source}
        if is_private(via[0]) and is_private(contact.host):
            lines.append(_("Two different local addresses in one message: Via %(via)s, Contact %(contact)s") % names)
        elif via[0] == attempt.source and is_private(contact.host):
            lines.append(_("Via was replaced by the public address %(via)s, Contact is still %(contact)s") % names)
        elif contact.host == attempt.source and is_private(via[0]) and not learns_its_address(attempt.user_agent):
            lines.append(_("Contact was replaced by the public address %(contact)s, Via is still %(via)s") % names)
    hosts = {host_of(asked.from_uri), host_of(asked.to_uri)} - {""}
    if len(hosts) > 1:
        names = {"from": shown(host_of(asked.from_uri)), "to": shown(host_of(asked.to_uri))}
        lines.append(_("Two different servers in one message: From %(from)s, To %(to)s") % names)
    return tuple(lines)
