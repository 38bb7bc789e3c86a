"""What never arrived is evidence too."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from django.utils.translation import gettext as _

from pbx.diagnosis.causes.credentials import of_cause
from pbx.diagnosis.causes.delivery import malformed, wrong_transport
from pbx.diagnosis.evidence import NumberEvidence, ServerFacts
from pbx.diagnosis.lines import attempt_lines, hour, shown
from pbx.diagnosis.networks import is_loopback, is_private
from pbx.diagnosis.remedies import only_try_again, server_settings
from pbx.diagnosis.verdict import Severity, Stage, Verdict

DAY = timedelta(hours=24)
JUST_NOW = timedelta(minutes=10)


def nothing_received(evidence: NumberEvidence) -> Verdict | None:
    if evidence.extension is None or evidence.attempts or evidence.devices:
        return None
    server, now = evidence.server, evidence.now
    started = server.started_at
    names = {"number": evidence.extension.number, "domain": server.domain, "port": server.port}
    if started is not None and started > now - DAY:
        names["since"] = hour(started, now)
        heard = _("Since the SIP server was started at %(since)s, not one message with the number %(number)s has "
                  "arrived that it could read.") % names
    else:
        heard = _("For 24 hours not one message with the number %(number)s has arrived that the PBX could read.")
        heard %= names
    do = [server_settings(server.domain, server.port), _reach(server.domain)]
    do.append(_("If all that is right, press “Test from outside” on the page of the extension and open the link on "
                "that phone: it shows whether the PBX can be reached from there. On the server, run "
                "./check-sip-connection.sh: it looks at the port and the firewall."))
    return Verdict(
        "nothing_received", Severity.ERROR,
        _("Nothing has arrived from the phone of %(number)s.") % names,
        " ".join([heard, _(
            "So the password is not the question yet. Either the app is not set up, switched off or without a network, "
            "or its server name or port is wrong, so that it talks to somebody else, or a firewall on the way stops "
            "port %(port)d/UDP."
        ) % names, _others(server)]),
        " ".join(part for part in do if part),
        _listening(server.listening),
        stopped_at=Stage.PHONE,
    )


def _others(server: ServerFacts) -> str:
    """What other phones prove about the way."""
    if server.phones_outside:
        return _("Other phones are registered from outside at this moment, so the port of the PBX is open: look at "
                 "this phone and its network first.")
    if server.phones_inside:
        return _("Phones in the local network are registered at this moment, but none from outside: if this one is "
                 "outside, look at the firewall and the port forwarding of the router in front of the PBX first.")
    return _("No phone at all is registered at this moment, so the server or its firewall may just as well be the "
             "reason.")


def _reach(domain: str) -> str:
    if is_loopback(domain):
        return _("%(domain)s is this computer itself: no other device can reach it. Set SIP_DOMAIN in .env to the "
                 "address or name of the server.") % {"domain": domain}
    if is_private(domain):
        return _("%(domain)s is an address of the local network: a phone somewhere else, on mobile data for example, "
                 "cannot reach it.") % {"domain": domain}
    return ""


def _listening(places: str) -> tuple[str, ...]:
    """Of the heartbeat's own words, "udp and tcp 0.0.0.0:5060", the addresses."""
    if not places:
        return ()
    addresses = ", ".join(part.rpartition(" ")[2] for part in places.split(","))
    return (_("The SIP server listens on %(listening)s") % {"listening": shown(addresses)},)


def let_in_again(evidence: NumberEvidence) -> Verdict | None:
    """The phone stood before a closed door, which has been opened since."""
    rows = of_cause(evidence, "blocked", "rate_limited")
    if not rows:
        return None
    names = {"number": shown(evidence.number), "time": hour(rows[0].last_at, evidence.now)}
    return Verdict(
        "nothing_received", Severity.WARNING,
        _("The phone of %(number)s was blocked when it last tried; it is not blocked any more.") % names,
        _("Its last message came at %(time)s and was not answered, because too much had failed from its address. The "
          "phone has not tried since.") % names,
        only_try_again(), attempt_lines(rows, evidence.now), stopped_at=Stage.PHONE,
    )


def nameless(evidence: NumberEvidence) -> Verdict | None:
    """Something came lately that had no number in it, and it may have been this phone. The internet is full of broken
    messages and of probes by TLS: from far away only what came just now counts, and is no broken message."""
    near = tuple(
        attempt for attempt in evidence.nameless
        if is_private(attempt.source) or attempt.source_known
        or (attempt.cause == "wrong_transport" and evidence.now - attempt.last_at < JUST_NOW)
    )
    view = replace(evidence, nameless=near)
    return wrong_transport(view) or malformed(view)
