"""``manage.py doctor``: every check of the server, one after the other, with what it found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from django.core.checks import WARNING, run_checks
from django.utils.translation import gettext as _

from pbx.diagnosis.causes.renaming import domain_changed, realm_changed
from pbx.diagnosis.firewall import Fate
from pbx.diagnosis.renaming import old_names, stale_for
from pbx.diagnosis.self_test import Tested, test_phone, test_router, test_sockets, ways
from pbx.diagnosis.server import judge
from pbx.diagnosis.server_evidence import ServerEvidence
from pbx.diagnosis.server_gather import gather_server, name_leads
from pbx.diagnosis.verdict import Severity, Verdict

OWN_CHECKS = {"pbx.W041", "pbx.W042", "pbx.E001", "pbx.W001"}
"""System checks that say what a check of the doctor says too."""

CHANGEABLE = ("SIP_REALM", "SIP_DOMAIN", "SIP_ALIASES")


@dataclass(frozen=True, slots=True)
class Check:
    """``name`` is stable and public, ``title`` is for people, ``notes`` are worth knowing though nothing is wrong."""

    name: str
    title: str
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    tested: bool = True  # False: it could not be seen, the notes say why

    @property
    def ok(self) -> bool:
        return not self.verdicts


def examine() -> Iterator[Check]:
    """The checks as they are done; the last ones take seconds."""
    evidence = gather_server(quick=False)
    titles = check_titles()
    for name, verdicts in judge(evidence).items():
        yield Check(name, titles[name], tuple(verdicts), tuple(_notes(name, evidence)), is_seen(name, evidence))
    yield Check("settings", titles["settings"], tuple(_settings()))
    tested = False
    for way in ways(evidence):
        tested = True
        sockets = test_sockets(way, evidence.domain)
        for one in sockets:
            yield _as_check(one)
        # Where the socket is silent, the phone would only wait for the same answer.
        answers = not any(one.verdicts for one in sockets if "_udp_" in one.name)
        if answers and not evidence.database.error and not evidence.database.pending:
            for one in test_phone(way, evidence.domain):
                yield _as_check(one)
    if not tested:
        yield Check("phone", titles["phone"], notes=(
            _("The PBX could not call itself as a phone: no SIP server runs on this machine."),), tested=False)
        return
    outside = evidence.external_leads or evidence.domain_leads
    if outside is not None and not outside.own and outside.addresses:
        yield _as_check(test_router(outside.addresses[0], evidence.port, evidence.domain))


def examine_change(values: Mapping[str, str]) -> Iterator[Check]:
    """What setting these would do to the phones, before it is done.

    :raises django.db.Error: when the database is away."""
    evidence = gather_server(quick=True)
    titles = check_titles()
    if "SIP_REALM" in values:
        changed = replace(evidence, stale=stale_for(values["SIP_REALM"]))
        verdict = realm_changed(changed)
        yield Check("realm", titles["realm"], (verdict,) if verdict is not None else ())
    if "SIP_DOMAIN" in values or "SIP_ALIASES" in values:
        domain = values.get("SIP_DOMAIN") or evidence.domain
        aliases = [part.strip() for part in values.get("SIP_ALIASES", "").split(",") if part.strip()]
        leads = name_leads(domain)
        changed = replace(
            evidence, domain=domain, domain_is_set=True, old_names=old_names(domain, aliases), domain_leads=leads
        )
        verdict = domain_changed(changed)
        yield Check("old_names", titles["old_names"], (verdict,) if verdict is not None else ())
        for name in ("address", "domain"):
            yield Check(name, titles[name], tuple(judge(changed)[name]))


def _settings() -> Iterator[Verdict]:
    for message in run_checks():
        if message.level >= WARNING and message.id and message.id.startswith("pbx.") and message.id not in OWN_CHECKS:
            yield Verdict(
                "setting_wrong", Severity.WARNING if message.level == WARNING else Severity.ERROR, str(message.msg),
                _("It is a setting of the PBX, read from .env and the environment."), str(message.hint or ""),
                (message.id,),
            )


NEED_THE_DATABASE = ("migrations", "realm", "old_names")


def is_seen(name: str, evidence: ServerEvidence) -> bool:
    """Whether there was anything to judge by."""
    if name == "firewall":
        return evidence.firewall is not None and evidence.firewall.readable
    return not (evidence.database.error and name in NEED_THE_DATABASE)


def _notes(name: str, evidence: ServerEvidence) -> Iterator[str]:
    """Honest about what could not be seen."""
    wall = evidence.firewall
    if name == "firewall" and wall is not None:
        if not wall.readable:
            if wall.ufw_enabled:
                yield _("ufw is switched on; what it lets in could not be read without root.")
            else:
                yield _("The firewall could not be read without root: run sudo python3 manage.py doctor.")
        elif Fate.UNKNOWN in (wall.udp, wall.sound):
            yield _("The firewall has rules that hang on the sender's address or on limits: whether a phone gets "
                    "through could not be told.")
        yield _("A firewall of the provider or of the router cannot be seen from here.")
    if name == "clock" and evidence.synchronised is False:
        yield _("No time server sets the clock of this machine (timedatectl set-ntp true switches that on).")
    if name == "process":
        # Workers of one machine share their port.
        places = dict.fromkeys(f"{process.node}: {process.listening}" for process in evidence.processes)
        yield from list(places)[:4]


def _as_check(tested: Tested) -> Check:
    notes = (tested.note,) if tested.note else ()
    return Check(tested.name, check_titles()[tested.name], tested.verdicts, notes, tested.tested)


def check_titles() -> dict[str, str]:
    return {
        "settings": _("Settings"),
        "database": _("Database"),
        "disk": _("Room on the disk"),
        "migrations": _("Tables of the database"),
        "port": _("SIP port"),
        "process": _("SIP server"),
        "firewall": _("Firewall"),
        "address": _("Address that phones are told"),
        "domain": _("Server name"),
        "realm": _("Realm of the stored passwords"),
        "old_names": _("Server name in the phones"),
        "clock": _("Clock"),
        "drops": _("Lost packets"),
        "rtp_ports": _("Ports for sound"),
        "options_udp_loopback": _("Answer over UDP, from this machine"),
        "options_tcp_loopback": _("Answer over TCP, from this machine"),
        "options_udp_advertised": _("Answer over UDP, at the address that phones are told"),
        "options_tcp_advertised": _("Answer over TCP, at the address that phones are told"),
        "phone_loopback": _("Test phone with a call to *43, from this machine"),
        "phone_advertised": _("Test phone with a call to *43, over the address that phones are told"),
        "ring_loopback": _("Call to the test phone, from this machine"),
        "ring_advertised": _("Call to the test phone, over the address that phones are told"),
        "router": _("Public address"),
        "phone": _("Test phone"),
    }

