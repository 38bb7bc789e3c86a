"""What the page of the test from outside shows: how far the phone of whoever holds the link has come.

The verdicts are those of the admin, but of less evidence: what came from the address of that page, or, because a
telephone may use two networks at once, what came since it was opened. Other phones of the extension, and the addresses
of strangers, are nobody's business there."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from pbx.diagnosis.blocks import blocks_for, source_key
from pbx.diagnosis.evidence import BlockFacts, NumberEvidence
from pbx.diagnosis.explain import Explanation, verdicts_of
from pbx.diagnosis.gather import gather_number
from pbx.diagnosis.models import ProbeLink
from pbx.diagnosis.networks import is_address, is_private
from pbx.diagnosis.reading import living
from pbx.diagnosis.server import server_verdicts
from pbx.diagnosis.verdict import Severity, Stage

PATIENCE = timedelta(seconds=45)
"""After so long without any message it is no longer "not yet" but "does not arrive"."""

NOT_YET = ("nothing_received", "expired", "signed_off")
ADDRESS = re.compile(r"(?<![\w.:-])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![\w.-])")


@dataclass(frozen=True, slots=True)
class Step:
    text: str
    state: str
    """``done``, ``now`` (waited for), ``failed`` or ``ahead``."""


@dataclass(frozen=True, slots=True)
class ProbeState:
    tone: str
    """``waiting``, ``warning``, ``error`` or ``good``."""
    headline: str
    why: str
    do: str
    steps: tuple[Step, ...]
    note: str
    """On the two networks of this page and of the phone; empty where there is nothing to say."""

    @property
    def is_done(self) -> bool:
        return self.tone == "good"


def state_of(link: ProbeLink, address: str, now: datetime | None = None) -> ProbeState:
    """``address``: of the browser that shows the page. Counts the time from when the link was first opened.

    :raises django.db.Error: when the database is away."""
    now = now or timezone.now()
    opened = link.opened_at or now
    everything = gather_number(link.extension.number, now)
    evidence = as_seen_from(everything, address, opened)
    alive = living(evidence)
    server = server_verdicts(quick=True)
    verdicts = verdicts_of(evidence, server)
    first = verdicts[0]
    if first in server:
        return _server_fault()
    if first.code == "registered" and first.severity is Severity.OK:
        return _good(evidence, address)
    if first.code in NOT_YET and not alive:
        if is_private(evidence.server.domain) and not is_private(address):
            return _inner_server(evidence)
        return _nothing_yet(evidence, everything, now - opened > PATIENCE)
    return ProbeState(
        tone="warning" if first.severity in (Severity.INFO, Severity.WARNING) else "error",
        headline=without_addresses(first.what, evidence, address), why=without_addresses(first.why, evidence, address),
        do=without_addresses(first.do, evidence, address),
        steps=_steps(Explanation(evidence.number, evidence, verdicts).stopped_at, failed=True),
        note="",
    )


def as_seen_from(evidence: NumberEvidence, address: str, opened: datetime) -> NumberEvidence:
    """The part of the evidence that is about the phone beside this page."""
    here = tuple(one for one in evidence.attempts if one.source == address)
    since = tuple(one for one in evidence.attempts if one.last_at >= opened)
    devices = tuple(one for one in evidence.devices if one.source == address or one.registered_at >= opened)
    return replace(
        evidence, attempts=here or since, devices=devices, periods=(),
        nameless=tuple(one for one in evidence.nameless if one.source == address),
        blocks=tuple(
            _in_public(block, evidence.number) for block in blocks_for(evidence.number, {address})
            if block.source == source_key(address)
        ),
    )


def _in_public(block: BlockFacts, number: str) -> BlockFacts:
    """Without the administrator's name and the numbers that others at this address have tried."""
    return replace(block, by="", numbers=tuple(tried for tried in block.numbers if tried == number.lower()))


def without_addresses(text: str, evidence: NumberEvidence, address: str) -> str:
    """The text, with dots in place of every address but that of the reader and our own."""
    known = {address, *evidence.server.domains}
    return ADDRESS.sub(
        lambda found: found[0] if found[0].lower() in known or not is_address(found[0]) else "…", text
    )


def _good(evidence: NumberEvidence, address: str) -> ProbeState:
    same = any(device.source == address for device in living(evidence))
    if same:
        note = _("The phone signed in from the same address as this page: %(address)s.") % {"address": address}
    else:
        note = _("The phone signed in from another network than the one that shows this page. That is usual where the "
                 "phone uses Wi-Fi and this page mobile data, or the other way round.")
    return ProbeState(
        tone="good",
        headline=_("%(number)s is registered.") % {"number": evidence.number},
        why=_("This phone reaches the PBX from here, its password is right, and calls reach it."),
        do=_("Dial *43: you have to hear yourself. That tests the sound on the same way."),
        steps=_steps(None), note=note,
    )


def _server_fault() -> ProbeState:
    """Which program holds which port is the administrator's business."""
    return ProbeState(
        "error",
        _("The PBX itself takes no registrations at this moment. Nothing is wrong with this phone."),
        "", _("Tell your administrator: the first page of the administration names the cause."),
        _steps(Stage.OUR_PORT, failed=True), "",
    )


def _inner_server(evidence: NumberEvidence) -> ProbeState:
    return ProbeState(
        "error",
        _("The server in the account, %(domain)s, is an address of an inner network: from outside no phone finds it.")
        % {"domain": evidence.server.domain},
        "", _("An administrator has to set SIP_DOMAIN in .env to the name or the public address of the PBX."),
        _steps(Stage.INTERNET, failed=True), "",
    )


def _nothing_yet(evidence: NumberEvidence, everything: NumberEvidence, waited: bool) -> ProbeState:
    """No packet came that can be this phone's."""
    note = ""
    names = {"number": evidence.number, "port": evidence.server.port}
    if living(everything):
        note = _("Another phone with the number %(number)s is registered somewhere else. That is no hindrance.") % names
    if not waited:
        return ProbeState(
            "waiting", _("Waiting for the phone of %(number)s …") % names, "",
            _("Type the account below into the phone app, or switch the account off and on there. This page turns "
              "green by itself."),
            _steps(Stage.INTERNET), note,
        )
    return ProbeState(
        "warning", _("Nothing has arrived from the phone of %(number)s yet.") % names,
        _("This web page comes through, so the internet is there. What the phone sends to port %(port)d does not "
          "arrive: it does not try, it has another server or port, or this network or a firewall stops it.") % names,
        _("Compare server and port in the phone with the account below, and switch the account off and on. If it is "
          "all right, set the transport to TCP, or try another network. The administrator looks whether port "
          "%(port)d/UDP is open in the firewall and forwarded by the router.") % names,
        _steps(Stage.INTERNET, failed=True), note,
    )


def _steps(stopped_at: Stage | None, *, failed: bool = False) -> tuple[Step, ...]:
    """What a person outside can tell apart; None: it came all the way."""
    rows = (
        (None, _("The web pages of the PBX open from your network")),
        (Stage.OUR_PORT, _("The phone's messages arrive")),
        (Stage.CHALLENGE, _("It answers when it is asked for its password")),
        (Stage.PASSWORD, _("The password is right")),
        (Stage.REGISTERED, _("The phone is registered")),
        (Stage.REACHABLE, _("Calls reach it")),
    )
    steps, reached = [], True
    for stage, text in rows:
        if stage is None or stopped_at is None or stage < stopped_at:
            state = "done"
        elif reached:
            state, reached = ("failed" if failed else "now"), False
        else:
            state = "ahead"
        steps.append(Step(text, state))
    return tuple(steps)
