"""What arrives and what does not: the way between the phone and the PBX."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pbx.diagnosis.causes.credentials import of_cause
from pbx.diagnosis.evidence import AttemptFacts, NumberEvidence
from pbx.diagnosis.lines import attempt_lines, shown
from pbx.diagnosis.remedies import switch_off_alg, try_again, try_mobile_data
from pbx.diagnosis.verdict import Confidence, Severity, Stage, Verdict
from pbx.diagnosis.wire import host_of, path_lines

SURE_REPEATS = 4
"""A message repeated so often although it was answered: no network loses that many by chance."""


def unnamed(evidence: NumberEvidence) -> Verdict | None:
    """A cause that only a newer engine knows."""
    if not evidence.attempts or of_cause(evidence, "blocked", "rate_limited"):
        return None
    row = evidence.attempts[0]
    names = {"number": shown(evidence.number), "cause": shown(row.cause)}
    return Verdict(
        row.cause, Severity.ERROR,
        _("An attempt of the phone of %(number)s failed.") % names,
        _("The SIP server notes as the reason: %(cause)s. This program does not know that reason, so it is older than "
          "the SIP server that runs.") % names,
        _("Restart the whole PBX, so that all its parts are of one version."),
        attempt_lines(evidence.attempts, evidence.now), stopped_at=Stage.CHALLENGE,
    )


def wrong_transport(evidence: NumberEvidence) -> Verdict | None:
    rows = of_cause(evidence, "wrong_transport")
    strange = [] if rows else [row for row in evidence.nameless if row.cause == "wrong_transport"]
    if not rows and not strange:
        return None
    names = {"number": shown(evidence.number), "port": evidence.server.port}
    what = _("The phone of %(number)s tries to connect by TLS, which does not work on this port.") % names
    why = _("Port %(port)d takes UDP and TCP without encryption. A phone that is set to TLS gets no answer there that "
            "it understands.") % names
    if strange:
        what = _("A phone, probably that of %(number)s, tries to connect by TLS, which does not work on this port.")
        what %= names
        why += " " + _("Such a try carries no number, so it may also have been another phone or a stranger; nothing "
                       "else has come from %(number)s.") % names
    return Verdict(
        "wrong_transport", Severity.ERROR, what, why,
        _("In the account settings of the phone choose the transport UDP instead of TLS, and port %(port)d.") % names
        + " " + try_again(),
        attempt_lines(rows or strange, evidence.now),
        confidence=Confidence.CERTAIN if rows else Confidence.LIKELY, stopped_at=Stage.OUR_PORT,
    )


def malformed(evidence: NumberEvidence) -> Verdict | None:
    rows = of_cause(evidence, "malformed")
    strange = [] if rows else [row for row in evidence.nameless if row.cause == "malformed"]
    found = rows or strange
    if not found:
        return None
    asked = found[0].asked
    names = {
        "number": shown(evidence.number), "fault": shown(asked.fault), "said": asked.content_length,
        "came": asked.body_bytes,
    }
    cut = asked.content_length is not None and asked.content_length > asked.body_bytes
    if cut:
        why = _("The message says that %(said)d bytes follow, but only %(came)d came. Something on the way has cut or "
                "rewritten it; usually that is the “SIP ALG” of the router.") % names
    else:
        why = _("Something in it breaks the rules of SIP. Either the software of the phone is faulty, or a router on "
                "the way rewrites the messages and damages them.")
    if strange:
        why += " " + _("The message carried no readable number, so it may also have been another phone or a stranger.")
    lines = attempt_lines(found, evidence.now)
    if names["fault"]:
        lines += (_("What was wrong: %(fault)s") % names,)
    return Verdict(
        "malformed", Severity.ERROR,
        _("A message of the phone of %(number)s came, but the PBX could not read it.") % names, why,
        " ".join([switch_off_alg(), _("If that does not help, update the software of the phone, or let the account "
                                      "use TCP instead of UDP: routers rewrite that less often.")]),
        lines, confidence=Confidence.LIKELY, stopped_at=Stage.CHALLENGE,
    )


def wrong_domain(evidence: NumberEvidence) -> Verdict | None:
    rows = of_cause(evidence, "wrong_domain")
    if not rows:
        return None
    asked, server = rows[0].asked, evidence.server
    sent = next(
        (host for host in map(host_of, (asked.to_uri, asked.request_uri, asked.from_uri))
         if host and host.lower() not in server.domains),
        host_of(asked.request_uri),
    )
    names = {"number": shown(evidence.number), "sent": shown(sent), "domain": server.domain, "port": server.port}
    lines = attempt_lines(rows, evidence.now)
    if server.aliases:
        lines += (_("Other names that the PBX answers to: %(names)s") % {"names": ", ".join(server.aliases)},)
    return Verdict(
        "wrong_domain", Severity.ERROR,
        _("The phone of %(number)s looks for another server: “%(sent)s”.") % names,
        _("Its messages arrive here, but they are addressed to “%(sent)s”, and this PBX is called “%(domain)s”. So it "
          "refuses them without asking for the password.") % names,
        _("Write %(domain)s into the phone as its domain (server), port %(port)d. If phones should use “%(sent)s” as "
          "well, add it to SIP_ALIASES in .env and restart the PBX.") % names + " " + try_again(),
        lines, stopped_at=Stage.CHALLENGE,
    )


def challenge_unanswered(evidence: NumberEvidence) -> Verdict | None:
    rows = of_cause(evidence, "challenge_unanswered")
    if not rows:
        return None
    names = {"number": shown(evidence.number), "count": rows[0].count}
    why = ngettext(
        "The PBX asked for the password, as always, and no answer to that question came (%(count)d time).",
        "The PBX asked for the password, as always, and no answer to that question came (%(count)d times).",
        rows[0].count,
    ) % names
    return Verdict(
        "challenge_unanswered", Severity.ERROR,
        _("The phone of %(number)s does not answer when the PBX asks for the password.") % names,
        why + " " + _("Either no password is set in the phone, or it has been refused before and gave up, or our "
                      "question does not get back to it: a router or a firewall on its side lets messages out but no "
                      "answers in."),
        " ".join([_("Look whether a password is set in the account settings of the phone, and switch the account off "
                    "and on."), _("If there is one, something on the way is to blame."), switch_off_alg(),
                  try_mobile_data()]),
        attempt_lines(rows, evidence.now) + path_lines(rows[0]),
        confidence=Confidence.LIKELY, stopped_at=Stage.CHALLENGE,
    )


def reply_lost(evidence: NumberEvidence) -> Verdict | None:
    rows = of_cause(evidence, "reply_lost")
    if not rows:
        return None
    repeats = max(row.repeats for row in rows)
    names = {"number": shown(evidence.number), "count": repeats}
    sure = repeats >= SURE_REPEATS
    why = ngettext(
        "Its messages get here and are answered at once, but it sent the same message again %(count)d time, as a phone "
        "does that hears nothing.",
        "Its messages get here and are answered at once, but it sent the same message again %(count)d times, as a "
        "phone does that hears nothing.",
        repeats,
    ) % names
    causes = _("Our answers are stopped on the way back: by a firewall on this server that lets nothing out, by the "
               "router in front of the phone, or by a VPN or a firewall in the phone.")
    if not sure:
        causes += " " + _("It may also be a network that loses very many packets.")
    return Verdict(
        "reply_lost", Severity.ERROR,
        _("The answers of the PBX do not reach the phone of %(number)s.") % names, why + " " + causes,
        " ".join([
            _("On the server, run ./check-sip-connection.sh: it looks whether the firewall lets UDP out."),
            _("At the phone, switch off a VPN."), switch_off_alg(), try_mobile_data(),
        ]),
        attempt_lines(rows, evidence.now) + path_lines(rows[0]),
        confidence=Confidence.CERTAIN if sure else Confidence.LIKELY, stopped_at=_lost_stage(rows[0]),
    )


def _lost_stage(attempt: AttemptFacts) -> Stage:
    """A phone that never hears the 200 was already let in."""
    answers = [message.text for message in attempt.messages if message.sent]
    return Stage.REGISTERED if answers and answers[-1].startswith("SIP/2.0 200") else Stage.CHALLENGE


def nonce_loop(evidence: NumberEvidence) -> Verdict | None:
    rows = of_cause(evidence, "nonce_loop")
    if not rows:
        return None
    places = list(dict.fromkeys(rows[0].sources))
    hosts = list(dict.fromkeys(place.rpartition(":")[0] for place in places))
    names = {"number": shown(evidence.number), "places": ", ".join(map(shown, hosts[:4]))}
    if len(hosts) > 1:
        why = _("Its address changes from one message to the next (%(places)s). What the PBX asks is good for one "
                "address only, so the answer is always worth nothing. That happens with two internet lines at once, "
                "with a VPN that comes and goes, and with some mobile networks.") % names
        do = _("Let the phone use one way to the internet: switch off the VPN, or either Wi-Fi or mobile data. In a "
               "router with two lines, bind the phone or the address of the PBX to one of them. Some networks stay at "
               "one address when the account uses TCP instead of UDP.")
        confidence = Confidence.CERTAIN
    else:
        why = _("Its answers are made for a question that is too old or was already answered. Either the phone keeps "
                "using an old question, which is a fault of its software, or its answers are held up on the way for "
                "very long.")
        do = _("Restart the phone, and update its software.") + " " + try_mobile_data()
        confidence = Confidence.LIKELY
    lines = attempt_lines(rows, evidence.now)
    if len(places) > 1:
        lines += (_("Addresses of its last messages: %(places)s") % {"places": ", ".join(map(shown, places[:8]))},)
    return Verdict(
        "nonce_loop", Severity.ERROR,
        _("The phone of %(number)s and the PBX go round in circles: its answers to the question for the password are "
          "never good.") % names,
        why, do, lines, confidence=confidence, stopped_at=Stage.CHALLENGE,
    )
