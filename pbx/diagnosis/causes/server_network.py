"""What can be wrong with the way to the server, one pure function for each: firewall, names, addresses, ports."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pbx.checks import ipaddress_is_loopback, is_address, is_unspecified
from pbx.diagnosis.firewall import Fate
from pbx.diagnosis.server_evidence import ServerEvidence
from pbx.diagnosis.verdict import Confidence, Severity, Stage, Verdict

PORTS_OF_A_CALL = 4
FEW_CALLS = 10


def firewall_closed(evidence: ServerEvidence) -> Verdict | None:
    wall = evidence.firewall
    if wall is None or not wall.readable:
        return None
    low, high = evidence.rtp_ports or (0, 0)
    names = {"port": evidence.port, "low": low, "high": high}
    sound = wall.sound is Fate.CLOSED and evidence.own_media
    if wall.udp is Fate.CLOSED:
        what = _("The firewall of this machine lets nothing in on port %(port)d/udp.") % names
        why = _("What phones send is thrown away before the PBX sees it. Only phones on this machine get through.")
    elif sound:
        what = _("The firewall of this machine lets no sound in: ports %(low)d to %(high)d/udp are closed.") % names
        why = _("Phones register and ring, but their voice is thrown away before the PBX hears it.")
    elif wall.tcp is Fate.CLOSED:
        what = _("The firewall of this machine lets nothing in on port %(port)d/tcp.") % names
        why = _("Phones that are set to UDP work. Phones that are set to TCP cannot register.")
    else:
        return None
    return Verdict(
        "firewall_closed", Severity.WARNING if wall.udp is not Fate.CLOSED and not sound else Severity.ERROR, what, why,
        _("Open it as root. With ufw: ufw allow %(port)d && ufw allow %(low)d:%(high)d/udp. With nft: accept udp dport "
          "{ %(port)d, %(low)d-%(high)d } and tcp dport %(port)d in the input chain, before what drops.") % names,
        tuple(line for line in (wall.because, wall.program) if line),
        stopped_at=Stage.OUR_PORT if wall.udp is Fate.CLOSED else None,
    )


def domain_not_resolving(evidence: ServerEvidence) -> Verdict | None:
    for setting, name in (("SIP_DOMAIN", evidence.domain_leads), ("EXTERNAL_IP", evidence.external_leads)):
        if name is not None and name.error:
            return Verdict(
                "domain_not_resolving", Severity.ERROR,
                _("The name %(name)s (%(setting)s) leads to no address.") % {"name": name.name, "setting": setting},
                _("A phone that has this name as its server finds nothing to connect to. Seen from this machine; "
                  "phones may ask another name server, but most likely they fail in the same way."),
                _("Correct the name in .env, or make its DNS record (type A) at your domain's provider, leading to the "
                  "public address of this machine or of its router."),
                (f"{name.name}: {name.error}",), Confidence.LIKELY, stopped_at=Stage.INTERNET,
            )
    return None


def domain_wrong_address(evidence: ServerEvidence) -> Verdict | None:
    name = evidence.domain_leads
    if name is None or name.error or name.own or not evidence.domain_is_set:
        return None
    external = evidence.external_leads
    if external is not None and set(external.addresses) & set(name.addresses):
        return None
    values = {"name": name.name, "address": ", ".join(name.addresses[:3]), "own": evidence.own_address}
    lines = [f"{name.name}: {' '.join(name.addresses)}", _("own address: %(own)s") % values]
    if external is not None:
        lines.append(f"EXTERNAL_IP: {' '.join(external.addresses) or external.error}")
    return Verdict(
        "domain_wrong_address", Severity.ERROR if external is not None else Severity.WARNING,
        _("%(name)s leads to %(address)s, which is not this machine.") % values,
        _("Phones with this name as their server send their packets there. That is right only if it is the public "
          "address of the router in front of this machine, and then the PBX has to know it, or calls stay silent."),
        _("If %(address)s is your router's public address, set EXTERNAL_IP=%(address)s in .env. If not, correct the "
          "DNS record of %(name)s.") % values,
        tuple(lines), Confidence.LIKELY, stopped_at=Stage.INTERNET,
    )


def advertises_bind_address(evidence: ServerEvidence) -> Verdict | None:
    """Phones are told an address at which nobody outside can reach us."""
    for setting, value in (("EXTERNAL_IP", evidence.external_ip), ("SIP_DOMAIN", evidence.domain)):
        if not value or not (is_unspecified(value) or ipaddress_is_loopback(value)):
            continue
        if setting == "SIP_DOMAIN" and not evidence.domain_is_set:
            return Verdict(
                "advertises_bind_address", Severity.WARNING,
                _("This machine has no network: phones are told 127.0.0.1 as their server."),
                _("No other machine can reach that address."),
                _("Connect the machine to its network, or set SIP_DOMAIN in .env to the name or address that people "
                  "type into their phones."),
                (f"{setting}={value}",), stopped_at=Stage.INTERNET,
            )
        return Verdict(
            "advertises_bind_address", Severity.ERROR if is_unspecified(value) else Severity.WARNING,
            _("%(setting)s=%(value)s is told to phones, and no phone can reach that.")
            % {"setting": setting, "value": value},
            _("0.0.0.0 and 127.0.0.1 mean “this machine itself” to whoever reads them: each phone would look for the "
              "PBX inside itself."),
            _("Write the address of this machine into .env, or its public name, or take the line out. Where the PBX "
              "listens is SIP_HOST and stays as it is."),
            (f"{setting}={value}",), stopped_at=Stage.INTERNET,
        )
    return _listens_elsewhere(evidence)


def _listens_elsewhere(evidence: ServerEvidence) -> Verdict | None:
    """All that it listens on is loopback, while phones are told another address."""
    running = [process for process in evidence.processes if process.lives(evidence.now)]
    hosts = [host for process in running for host, _port in listening_addresses(process.listening)]
    if not hosts or not all(ipaddress_is_loopback(host) for host in hosts) or ipaddress_is_loopback(evidence.domain):
        return None
    return Verdict(
        "advertises_bind_address", Severity.ERROR,
        _("The SIP server listens on %(listening)s only, and phones are told %(domain)s.")
        % {"listening": hosts[0], "domain": evidence.domain},
        _("Nothing that another machine sends can reach it."),
        _("Set SIP_HOST=0.0.0.0 in .env, or take the line out, and start the PBX again."),
        tuple(dict.fromkeys(process.listening for process in running)), stopped_at=Stage.OUR_PORT,
    )


def listening_addresses(text: str) -> list[tuple[str, int]]:
    """The addresses in a heartbeat, `udp and tcp 0.0.0.0:5060, udp and tcp [::]:5060`."""
    found = []
    for part in text.split(","):
        host, _colon, port = part.strip().rpartition(" ")[2].rpartition(":")
        if port.isascii() and port.isdigit() and is_address(host):
            found.append((host.strip("[]"), int(port)))
    return found


def rtp_ports_few(evidence: ServerEvidence) -> Verdict | None:
    if evidence.rtp_ports is None or not evidence.own_media:
        return None
    low, high = evidence.rtp_ports
    calls = (high - low + 1) // PORTS_OF_A_CALL
    if calls >= FEW_CALLS:
        return None
    return Verdict(
        "rtp_ports_few", Severity.WARNING,
        ngettext("There are ports for the sound of %(count)d call only.",
                 "There are ports for the sound of %(count)d calls only.", calls) % {"count": calls},
        _("Each call takes four ports of RTP_PORTS, which rest for ten seconds after it. Further calls are refused."),
        _("Write a wider range in .env, for example RTP_PORTS=10000-20000, and open it in the firewall and in the "
          "router."),
        (f"RTP_PORTS={low}-{high}",),
    )
