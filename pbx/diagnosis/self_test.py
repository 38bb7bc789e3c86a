"""The doctor's real tests: asks the SIP sockets, and registers and calls as a phone on each way to the server."""

from __future__ import annotations

import ipaddress
import os
import threading
from contextlib import suppress
from dataclasses import dataclass

from django.conf import settings
from django.db import Error
from django.utils.translation import gettext as _

from extensions.hidden_account import hidden_account
from pbx.checks import ipaddress_is_loopback, is_of_this_machine
from pbx.diagnosis.causes.server_network import listening_addresses
from pbx.diagnosis.self_audio import Echo
from pbx.diagnosis.self_phone import PATIENCE, Account, Address, NoAnswer, SelfPhone, tcp_options
from pbx.diagnosis.server_evidence import ServerEvidence
from pbx.diagnosis.verdict import Severity, Stage, Verdict
from pbx.system.identity import current_realm
from sipcore.protocol.errors import SipError
from sipcore.protocol.message import Response

ECHO = "*43"
PACKETS = 50
"""Of 20 ms each: one second of sound on each way."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to the server: over loopback, or over the address that phones are told."""

    name: str  # "loopback" or "advertised"
    server: Address


@dataclass(frozen=True, slots=True)
class Tested:
    """One test. ``note``: what a person may want to know although nothing is wrong."""

    name: str
    verdicts: tuple[Verdict, ...] = ()
    note: str = ""
    tested: bool = True


def ways(evidence: ServerEvidence) -> list[Way]:
    """To what the SIP process of this machine says that it listens on."""
    listening = _listening(evidence)
    found: list[Way] = []
    if not listening:
        return found
    hosts = dict.fromkeys(host for host, _port in listening)
    port = listening[0][1]
    loopback = next((host for host in hosts if ipaddress_is_loopback(host)), None)
    loopback = loopback or ("127.0.0.1" if "0.0.0.0" in hosts else "::1" if "::" in hosts else None)
    if loopback is not None:
        found.append(Way("loopback", (loopback, port)))
    leads = evidence.domain_leads
    told = [address for address in leads.addresses if is_of_this_machine(address)] if leads is not None else []
    for host in (*told, evidence.own_address, *hosts):
        there = host in hosts or ("::" if ":" in host else "0.0.0.0") in hosts
        if there and not ipaddress_is_loopback(host) and not ipaddress.ip_address(host).is_unspecified:
            found.append(Way("advertised", (host, port)))
            break
    return found


def _listening(evidence: ServerEvidence) -> list[Address]:
    """Of the process on this machine: it is there by its heartbeat, or at least has our port."""
    here = [process for process in evidence.processes if process.lives(evidence.now)]
    for process in here:
        addresses = listening_addresses(process.listening)
        if os.path.exists(f"/proc/{process.pid}") and addresses:
            return addresses
    if any(port.ours for port in evidence.ports):
        return [(host.strip().strip("[]"), settings.SIP_PORT) for host in settings.SIP_HOST.split(",")]
    return []


def test_sockets(way: Way, domain: str) -> list[Tested]:
    """OPTIONS over UDP and TCP."""
    account = Account("doctor", "", domain)
    found = []
    for transport in ("UDP", "TCP"):
        name = f"options_{transport.lower()}_{way.name}"
        try:
            if transport == "UDP":
                with SelfPhone(way.server, account) as phone:
                    answer = phone.options()
            else:
                answer = tcp_options(way.server, domain)
        except (NoAnswer, OSError) as error:
            found.append(Tested(name, (_silent(way, transport, error),)))
            continue
        found.append(Tested(name, _judge_options(answer, domain)))
    return found


def test_phone(way: Way, domain: str) -> list[Tested]:
    """Register, call the echo, and then be called; compare the sound each time. Leaves nothing behind."""
    name = f"phone_{way.name}"
    try:
        with hidden_account() as (number, password):
            account = Account(number, password, domain)
            with SelfPhone(way.server, account) as phone:
                answer = phone.register()
                if answer.status != 200:
                    return [Tested(name, (_not_registered(way, answer),))]
                try:
                    echo = _judge_call(name, way, ECHO, *phone.call(ECHO, PACKETS))
                    return [echo] if echo.verdicts else [echo, _be_called(way, account, phone)]
                finally:
                    phone.register(0)
    except Error as error:
        return [Tested(name, note=_("not tested: the database does not answer (%(kind)s)")
                       % {"kind": type(error).__name__}, tested=False)]
    except (NoAnswer, OSError) as error:
        return [Tested(name, (_silent(way, "UDP", error),))]
    except SipError as error:
        return [Tested(name, (_not_understood(way, error),))]


def _be_called(way: Way, account: Account, phone: SelfPhone) -> Tested:
    """A second phone of the same account calls the first, which rings, answers and gives the sound back."""
    stop = threading.Event()

    def answer_call() -> None:
        with suppress(NoAnswer, OSError):  # the caller then tells that nobody answered
            phone.answer_call(stop)

    answering = threading.Thread(target=answer_call, daemon=True)
    answering.start()
    try:
        with SelfPhone(way.server, account) as caller:
            return _judge_call(f"ring_{way.name}", way, account.number, *caller.call(account.number, PACKETS))
    finally:
        stop.set()
        answering.join(PATIENCE)


def _judge_call(name: str, way: Way, number: str, answer: Response, echo: Echo | None) -> Tested:
    if echo is None:
        return Tested(name, (_no_call(way, answer, number),))
    if not echo.good:
        return Tested(name, (_no_sound(way, echo.sent, echo.returned, echo.target),))
    return Tested(name, note=_("%(returned)d of %(sent)d packets of sound came back, after %(ms).1f ms") % {
        "returned": echo.returned, "sent": echo.sent, "ms": echo.milliseconds,
    })


def test_router(address: str, port: int, domain: str) -> Tested:
    """Ask the router's public address from inside. Many routers do not lead back to their own inside, so that silence
    proves nothing."""
    try:
        with SelfPhone((address, port), Account("doctor", "", domain)) as phone:
            phone.options()
    except (NoAnswer, OSError):
        return Tested("router", note=_(
            "The public address %(address)s does not answer from inside; many routers do not lead back. Test it from "
            "outside, with the link on the extension’s page.") % {"address": address}, tested=False)
    return Tested("router", note=_("The public address %(address)s leads to the PBX.") % {"address": address})


def _place(way: Way) -> str:
    host, port = way.server
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _silent(way: Way, transport: str, error: Exception) -> Verdict:
    why = error.why if isinstance(error, NoAnswer) else type(error).__name__
    values = {"place": _place(way), "transport": transport}
    return Verdict(
        "sip_not_answering", Severity.ERROR,
        _("The SIP server does not answer at %(place)s over %(transport)s.") % values,
        _("A question of the kind that phones ask was sent there, and nothing came back: the server hangs, is "
          "overloaded, or this machine's firewall stops even its own packets."),
        _("Look at the log of the SIP server, start it again, and run the doctor once more."),
        (f"{transport} {_place(way)} {why}".rstrip(),), stopped_at=Stage.OUR_PORT,
    )


def _judge_options(answer: Response, domain: str) -> tuple[Verdict, ...]:
    if answer.status == 200:
        return ()
    if answer.status == 404:
        return (_restart_needed(f"OPTIONS sip:{domain}: {answer.status} {answer.reason}"),)
    return (Verdict(
        "sip_not_answering", Severity.ERROR,
        _("The SIP server answers %(status)d to a simple question.") % {"status": answer.status},
        _("It should say 200. It is overloaded, is being stopped, or cannot reach its database."),
        _("Wait a minute and run the doctor again; then start the SIP server anew."),
        (f"OPTIONS: {answer.status} {answer.reason}",), stopped_at=Stage.OUR_PORT,
    ),)


def _restart_needed(line: str) -> Verdict:
    return Verdict(
        "restart_needed", Severity.ERROR,
        _("The SIP server runs with other settings than .env has now."),
        _("It reads SIP_DOMAIN, SIP_ALIASES, EXTERNAL_IP and SIP_REALM when it is started; they were changed since."),
        _("Start the PBX again: systemctl restart pbx-sip, or end `manage.py start` with Ctrl-C and start it anew."),
        (line,), stopped_at=Stage.OUR_PORT,
    )


def _not_registered(way: Way, answer: Response) -> Verdict:
    line = f"REGISTER {_place(way)}: {answer.status} {answer.reason}"
    challenge = answer.get("WWW-Authenticate") or ""
    if answer.status == 404 or (challenge and f'realm="{current_realm()}"' not in challenge):
        return _restart_needed(line)
    return Verdict(
        "self_register_failed", Severity.ERROR,
        _("The PBX could not register with itself as a phone (%(status)d).") % {"status": answer.status},
        _("The user name and password were right, made for this test. With 503 the database is away or slow; with 403 "
          "the SIP server works with another database, secret key or realm than this command.") ,
        _("Start the SIP server again and run the doctor once more. Check that both use the same .env."),
        (line,), stopped_at=Stage.PASSWORD,
    )


def _not_understood(way: Way, error: SipError) -> Verdict:
    return Verdict(
        "self_register_failed", Severity.ERROR,
        _("Something that is not this PBX answers at %(place)s.") % {"place": _place(way)},
        _("Its answers cannot be read as those of our SIP server."),
        _("Look who has the port: ss -lunp as root."), (f"{_place(way)}: {error.reason}",), stopped_at=Stage.OUR_PORT,
    )


def _no_call(way: Way, answer: Response, number: str) -> Verdict:
    line = f"INVITE {number} {_place(way)}: {answer.status} {answer.reason}"
    if number != ECHO:
        return Verdict(
            "self_call_failed", Severity.ERROR,
            _("A test phone of the PBX registered, but could not be called (%(status)d).") % {"status": answer.status},
            _("Its own calls work. A call to it did not arrive, or was not connected."),
            _("Look at the log of the SIP server, start it again, and run the doctor once more."), (line,),
        )
    return Verdict(
        "self_call_failed", Severity.ERROR,
        _("A test call of the PBX to itself was refused (%(status)d).") % {"status": answer.status},
        _("It had registered, but its call to *43 was not taken: the relay of the sound is not running (503), or as "
          "many calls go on as are allowed."),
        _("Look at the log of the SIP server for the words media engine; start the SIP server again; look at "
          "RTP_PORTS and RTPENGINE_URLS in .env."),
        (line,),
    )


def _no_sound(way: Way, sent: int, returned: int, target: str) -> Verdict:
    return Verdict(
        "no_audio", Severity.ERROR,
        _("A test call of the PBX to itself has no sound, or too little.") if returned else
        _("A test call of the PBX to itself has no sound."),
        _("The call was taken, but of the sound that was sent to %(target)s not enough came back: the firewall closes "
          "RTP_PORTS, or the machine is overloaded.") % {"target": target or "?"},
        _("Open the ports of RTP_PORTS (udp) in the firewall of this machine, and look with `top` what uses the "
          "processor."),
        (f"RTP {target}: {returned}/{sent}",),
    )
