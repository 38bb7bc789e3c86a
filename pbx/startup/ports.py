"""Are the ports free, and if not, who has them?"""

from __future__ import annotations

import errno
import socket
import time

from django.utils.translation import gettext as _

from pbx.startup.refusal import Refusal
from pbx.system.port_owner import Owner, tcp_port_owner, udp_port_owner

PATIENCE = 2.0  # seconds; the processes of a start that was just killed need a moment to end


def check_ports(sip_hosts: str, sip_port: int, web_host: str, web_port: int) -> None:
    """``sip_hosts``: addresses with commas between.

    :raises Refusal: when the SIP or the web process could not listen there; it tells of both."""
    deadline = time.monotonic() + PATIENCE
    refusals = []
    for check in (
        lambda: _check_sip_port(sip_hosts, sip_port, deadline), lambda: _check_web_port(web_host, web_port, deadline)
    ):
        try:
            check()
        except Refusal as refusal:
            refusals.append(str(refusal))
    if refusals:
        raise Refusal("\n".join(refusals))


def check_web_port(host: str, port: int) -> None:
    """:raises Refusal: when the web process could not listen there."""
    _check_web_port(host, port, time.monotonic() + PATIENCE)


def _check_sip_port(hosts: str, port: int, deadline: float) -> None:
    for host in hosts.split(","):
        _check_sip_address(host.strip().strip("[]"), port, deadline)


def _check_sip_address(host: str, port: int, deadline: float) -> None:
    transport, owner, fault = "UDP", udp_port_owner, _fault(socket.SOCK_DGRAM, host, port, deadline)
    if fault is None:
        transport, owner, fault = "TCP", tcp_port_owner, _fault(socket.SOCK_STREAM, host, port, deadline)
    if fault is None:
        return
    names = {"transport": transport, "port": port}
    if fault == errno.EADDRINUSE:
        program = owner(port)
        _refuse_a_second(program)
        raise Refusal(
            _(
                "%(transport)s port %(port)d is already used by %(program)s: stop that program, or set another "
                "SIP_PORT in .env, such as %(other)d, and run the same command again."
            )
            % (names | {"program": _named(program), "other": port + 10 if port <= 65525 else 5060})
        )
    if fault == errno.EACCES:
        raise Refusal(_("%(transport)s port %(port)d is only for root: set SIP_PORT=5060 in .env.") % names)
    raise Refusal(
        _("SIP_HOST=%(host)s is not an address of this machine: set SIP_HOST=0.0.0.0 in .env.") % {"host": host}
    )


def _check_web_port(host: str, port: int, deadline: float) -> None:
    fault = _fault(socket.SOCK_STREAM, host, port, deadline)
    if fault is None:
        return
    if fault == errno.EADDRINUSE:
        program = tcp_port_owner(port)
        _refuse_a_second(program)
        raise Refusal(
            _("TCP port %(port)d is already used by %(program)s: set another WEB_PORT in .env, such as %(other)d.")
            % {"port": port, "program": _named(program), "other": port + 1 if port < 65535 else 8000}
        )
    if fault == errno.EACCES:
        raise Refusal(_("TCP port %(port)d is only for root: set WEB_PORT=8000 in .env.") % {"port": port})
    raise Refusal(
        _("WEB_HOST=%(host)s is not an address of this machine: set WEB_HOST=127.0.0.1 in .env.") % {"host": host}
    )


def _fault(kind: socket.SocketKind, host: str, port: int, deadline: float) -> int | None:
    """The errno of a try to bind, None when it works. A port in use has until ``deadline`` to become free."""
    while True:
        try:
            family, _kind, _protocol, _name, address = socket.getaddrinfo(
                host, port, type=kind, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
            )[0]
            with socket.socket(family, kind) as probe:
                if kind == socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that just ended
                probe.bind(address)
                if kind == socket.SOCK_STREAM:
                    probe.listen(1)
            return None
        except socket.gaierror:
            return errno.EADDRNOTAVAIL
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                return error.errno or errno.EADDRNOTAVAIL
        time.sleep(0.1)


def _refuse_a_second(owner: Owner | None) -> None:
    """:raises Refusal: where that part of this PBX runs already: no other port is the remedy then."""
    if owner is not None and owner.ours:
        raise Refusal(already_runs(owner))


def already_runs(owner: Owner) -> str:
    """Of a part of this PBX, ``owner.ours``."""
    return _("This is running already: %(part)s (process %(pid)d). To start it anew, stop it first.") % {
        "part": owner.name, "pid": owner.pid,
    }


def _named(owner: Owner | None) -> str:
    if owner is None:
        return _("another program")
    return _("%(name)s (process %(pid)d)") % {"name": owner.name, "pid": owner.pid}
