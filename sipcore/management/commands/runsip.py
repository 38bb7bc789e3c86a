"""``manage.py runsip``: the composition root, the one file where the engine meets the database."""

from __future__ import annotations

import argparse
import asyncio
import errno
import hmac
import ipaddress
import logging
import os
import random
import secrets
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.db import connection
from django.utils.translation import gettext as _

from extensions.directory import DjangoDirectory
from pbx.calls.store import DjangoCallStore
from pbx.compiled import is_stale, is_used
from pbx.diagnosis.guard_store import DjangoGuardStore
from pbx.diagnosis.store import DjangoEvidenceStore
from pbx.operations.alone import announce_running
from pbx.startup.ports import already_runs
from pbx.startup.refusal import Refusal
from pbx.subscriptions.store import DjangoSubscriptionStore
from pbx.system.heartbeat import beat, clock_was_set, forget_workers, shift_beat
from pbx.system.identity import current_realm
from pbx.system.port_owner import tcp_port_owner, udp_port_owner
from pbx.system.server_address import own_address, sip_domain, sip_names
from sipcore import systemd
from sipcore.advertise import Advertised
from sipcore.batch import RegistrationBatch
from sipcore.calls.book import RecordBook
from sipcore.calls.engine import NgMedia
from sipcore.calls.switchboard import CallSettings, Switchboard
from sipcore.chores import Chores
from sipcore.clock import Clock, MachineClock
from sipcore.collector import Collector
from sipcore.core import Core, Settings
from sipcore.guard.chores import GuardChores
from sipcore.guard.door import Door
from sipcore.guard.guard import Guard, GuardLimits
from sipcore.log import Level, SipLog
from sipcore.media.pool import NgPool
from sipcore.media.ports import port_range
from sipcore.media.processes import RelayFailed, RelayProcesses
from sipcore.ports import StoreUnavailable
from sipcore.protocol.digest import ALGORITHMS
from sipcore.punctual import Punctual
from sipcore.registrar import Policy
from sipcore.server import Server
from sipcore.store import Store
from sipcore.subscriptions.exchange import SubscriptionSettings
from sipcore.subscriptions.packages import Limits
from sipcore.subscriptions.subscriptions import Subscriptions
from sipcore.udp_socket import Address, CannotListen
from sipcore.workers import CALLS, MOST_WORKERS
from sipcore.workers.calls_elsewhere import CallsElsewhere
from sipcore.workers.crew import Crew
from sipcore.workers.handover import Handover
from sipcore.workers.links import Links
from sipcore.workers.log import SharedLog
from sipcore.workers.membership import Membership, take_membership
from sipcore.workers.sockets import take_over

PRIVATE_NETWORKS = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "fe80::/10", "::1/128"]

STORE_STOP_SECONDS = 1.0
LOG_STOP_SECONDS = 0.4
"""Together with those of the server and, meanwhile, of the relays: all is over within four seconds of a SIGTERM, before
the supervisor and systemd lose patience."""

SQLITE_BREATHER = 0.002
"""Seconds the store's thread pauses after a commit on SQLite, which has one writer for all processes."""


class Command(BaseCommand):
    requires_system_checks = ("pbx",)  # the settings; templates and pages are for those who show some

    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Run the SIP server: phones register here.")

    def add_arguments(self, parser):
        parser.add_argument("--host", default=settings.SIP_HOST, help=_("address to listen on (SIP_HOST)"))
        parser.add_argument(
            "--port", type=int, default=settings.SIP_PORT, help=_("port to listen on, UDP and TCP (SIP_PORT)")
        )
        parser.add_argument("--domain", default=None, help=_("what phones have as their server (SIP_DOMAIN)"))
        parser.add_argument(
            "--workers", type=int, default=settings.SIP_WORKERS,
            help=_("processes that share the port; with PostgreSQL only (SIP_WORKERS)"),
        )  # fmt: skip
        parser.add_argument("--worker", help=argparse.SUPPRESS)  # which one it is, for people who look at processes

    def handle(self, *args, host: str, port: int, domain: str | None, workers: int, verbosity: int, **options):
        membership = take_membership(os.environ)
        if not 0 <= port <= 65535:
            raise CommandError(_("%(port)s is not a port: choose one from 1 to 65535.") % {"port": port})
        self._may_share(workers)
        level = Level.DEBUG if verbosity > 1 else Level.INFO
        log = (SharedLog if workers > 1 else SipLog)(sys.stderr.fileno(), settings.LOG_FORMAT, level)
        try:
            announce_running()
            realm = self._realm()
            rtp_ports(settings.RTP_PORTS)
            if workers > 1 and membership is None:
                connection.close()
                self._lead(host, port, domain, workers, verbosity, log)
                return
            process = SipServerProcess(realm, domain or sip_domain(), log, membership)
            if membership is None:
                process.server.open(self._addresses(host, port))
                _say_whether_compiled(log)
            process.take_up()
            connection.close()  # from here on only the store's thread talks to the database
            process.collector.started()
            asyncio.run(process.run())
        except Refusal as refusal:
            raise CommandError(str(refusal)) from None
        except CannotListen as error:
            raise CommandError(self._why_not(error)) from None
        except RelayFailed as error:
            raise CommandError(
                _("The media relay did not start: %(reason)s. Set other RTP_PORTS in .env.") % {"reason": error.reason}
            ) from None
        finally:
            log.close(LOG_STOP_SECONDS)

    def _may_share(self, workers: int) -> None:
        if not 1 <= workers <= MOST_WORKERS:
            raise CommandError(
                _("%(name)s=%(value)d is outside %(low)d to %(high)d.")
                % {"name": "SIP_WORKERS", "value": workers, "low": 1, "high": MOST_WORKERS}
            )
        if workers > 1 and connection.vendor != "postgresql":
            raise CommandError(
                _("SIP_WORKERS=%(value)d needs PostgreSQL: SQLite has one writer.") % {"value": workers}
                + " " + _("Move the database with `manage.py movedatabase --to URL`, or write SIP_WORKERS=1.")
            )

    def _lead(self, host: str, port: int, domain: str | None, workers: int, verbosity: int, log: SipLog) -> None:
        """Be the parent of the workers, each of which is this command again."""
        command = [sys.executable, sys.argv[0], "runsip", "--host", host, "--port", str(port)]
        if domain is not None:
            command += ["--domain", domain]
        command += ["--workers", str(workers), "--verbosity", str(verbosity), "--skip-checks"]
        crew = Crew(command, self._addresses(host, port), workers, log)
        _say_whether_compiled(log)
        if not asyncio.run(crew.run()):
            raise CommandError(_("A worker could not be started; what it said stands above."))
        log.info("Stopped")

    def _realm(self) -> str:
        try:
            return current_realm()
        except DatabaseError as error:
            raise CommandError(
                _("The database cannot be read (%(kind)s). Is it running, and was `manage.py migrate` done?")
                % {"kind": type(error).__name__}
            ) from None

    def _addresses(self, host: str, port: int) -> list[Address]:
        """Comma-separated. ``0.0.0.0`` means every address of the machine, those of IPv6 too where it has any."""
        hosts = [part.strip().strip("[]") for part in host.split(",") if part.strip()]
        for part in hosts:
            try:
                ipaddress.ip_address(part)
            except ValueError:
                raise CommandError(
                    _("SIP_HOST must be an address of this machine, or 0.0.0.0 for all of them, not “%(host)s”.")
                    % {"host": part}
                ) from None
        if "0.0.0.0" in hosts and "::" not in hosts and _has_ipv6():
            hosts.append("::")
        return [(part, port) for part in hosts]

    def _why_not(self, error: CannotListen) -> str:
        (host, port), reason = error.address, error.reason
        names = {"host": host, "port": port, "transport": error.transport.lower()}
        if reason == errno.EADDRINUSE:
            owner = udp_port_owner(port) if error.transport == "UDP" else tcp_port_owner(port)
            if owner is None:
                return _(
                    "Port %(port)s/%(transport)s is taken by another program. Stop it, or set SIP_PORT in .env."
                ) % names
            if owner.ours:
                return already_runs(owner)
            names |= {"name": owner.name, "pid": owner.pid}
            return _(
                "Port %(port)s/%(transport)s is taken by %(name)s (process %(pid)s). Stop it with `kill %(pid)s`, "
                "or set another SIP_PORT in .env."
            ) % names
        if reason == errno.EADDRNOTAVAIL:
            return _("This machine has no address %(host)s. Set SIP_HOST=0.0.0.0 in .env.") % names
        if reason in (errno.EACCES, errno.EPERM):
            return _("Port %(port)s needs root. Set SIP_PORT to 5060 or another port above 1023 in .env.") % names
        return _("Cannot listen on %(host)s port %(port)s: %(reason)s.") % (names | {"reason": os.strerror(reason)})


def _say_whether_compiled(log: SipLog) -> None:
    if is_used():
        log.info("The SIP core is compiled")
    elif is_stale():
        log.warning(
            "The SIP core was compiled from other sources and runs as it is: python3 manage.py compile, then restart"
        )


class SipServerProcess:
    """Wires one worker together: the only one, or one of several, whose ``membership`` says what it has been given."""

    def __init__(self, realm: str, domain: str, log: SipLog, membership: Membership | None = None) -> None:
        # The same spelling in branches, rows and the heartbeat: what a restart looks for must be what was written.
        node = _token(settings.SIP_NODE)
        worker, workers = (membership.number, membership.workers) if membership else (0, 1)
        self._log, self._node, self._worker, self._domain = log, node, worker, domain
        self._workers = workers
        self._started = datetime.now(UTC)
        self._listening = ""
        clock = MachineClock()
        directory = self._directory = DjangoDirectory(realm, settings.SIP_DIGEST_ALGORITHMS, worker, workers)
        policy = Policy(
            settings.SIP_MIN_EXPIRES, settings.SIP_MAX_EXPIRES, settings.SIP_DEFAULT_EXPIRES, node, worker
        )
        # A number that does not exist is computed against these, made anew at each start.
        decoys = {algorithm: secrets.token_hex(16 if algorithm == "MD5" else 32) for algorithm in ALGORITHMS}
        core = Core(
            Settings(
                realm=realm,
                domains=sip_names(domain),
                algorithms=tuple(settings.SIP_DIGEST_ALGORITHMS),
                key=hmac.digest(settings.SECRET_KEY.encode(), b"pbx.sip", "sha256"),
                node=node,
                worker=worker,
                workers=workers,
                nonce_lifetime=settings.SIP_NONCE_LIFETIME,
                store_wait=settings.SIP_STORE_WAIT,
                keepalive_interval=settings.SIP_KEEPALIVE_INTERVAL,
                trusted_proxies=_in_networks(settings.SIP_TRUSTED_PROXIES),
                is_local=_in_networks(settings.LOCAL_NETS or PRIVATE_NETWORKS),
                emergency=frozenset(settings.SIP_EMERGENCY_NUMBERS),
            ),
            log,
            clock,
        )
        self.server = Server(core, log, every_second=self._every_second, ready=self._ready)
        self._store = core.store = Store(
            RegistrationBatch(
                directory, policy, decoys, clock.wall, random.random, core.authenticator.registration_counts
            ),
            self.server.completed,
            self._broken,
            settings.SIP_INBOX_LIMIT,
            breather=SQLITE_BREATHER if connection.vendor == "sqlite" else 0.0,
        )
        self._calls = DjangoCallStore()
        chores = self._chores = Chores(
            core,
            self._store,
            directory,
            clock,
            log,
            self._beat,
            self.server.in_loop,
            self._calls,
            keep_calls=settings.CALL_RECORDS_DAYS * 86400.0,
        )
        chores.collector = self.collector = Collector()
        guard = self._guard(core, clock)
        core.punctual = Punctual(self.server.answer_in_loop)
        self._handover: Handover | None = None
        if membership is not None:
            self._links = Links(worker, membership.inlet, membership.outlets)
            self._handover = Handover(self._links, core, self.server, guard, clock, log)
            self._chores.guard.tell = self._handover.blocked
            core.door.tell = self._handover.tried
            for pair in take_over(membership.sockets, membership.addresses, self._handover.hand_over):
                self.server.take_sockets(*pair)
        chores.evidence = DjangoEvidenceStore()
        if worker == CALLS:
            self._take_calls(core, policy, decoys, clock)
        else:
            calls = core.calls = CallsElsewhere(self._links, _later)
            chores.subscriptions = calls.subscriptions

    def _take_calls(self, core: Core, policy: Policy, decoys: dict[str, str], clock: Clock) -> None:
        """All calls, texts and lamps are here, and the media engines."""
        node, worker, log, directory = self._node, self._worker, self._log, self._directory
        local = settings.LOCAL_NETS or PRIVATE_NETWORKS
        self._advertised = Advertised(settings.EXTERNAL_IP, _in_networks(local))
        self._pool = NgPool(settings.RTPENGINE_URLS, lost=self._media_lost, changed=self._media_changed)
        self._board = core.calls = Switchboard(
            CallSettings(
                domain=self._domain,
                node=node,
                prefix=f"{node}-{worker}",
                advertise=self._advertised.host,
                is_ours=core.is_ours,
                max_calls=settings.SIP_MAX_CALLS,
                max_calls_per_extension=settings.SIP_MAX_CALLS_PER_EXTENSION,
                max_ringing=settings.SIP_MAX_RINGING,
                emergency=frozenset(settings.SIP_EMERGENCY_NUMBERS),
                decline_stops_all=settings.SIP_DECLINE_STOPS_ALL,
                session_seconds=settings.SIP_SESSION_EXPIRES,
                media_seconds=settings.SIP_MEDIA_TIMEOUT,
            ),
            core.endpoint,
            core.authenticator,
            directory,
            directory,
            self._store,
            NgMedia(self._pool),
            RecordBook(self._store, self._calls, log),
            decoys,
            clock,
            log,
            self.server.pump_soon,
            core.say_refused,
            core.slow_down,
            core.proven,
            core.recorder,
            self._handover.unanswered if self._handover is not None else core.unanswered,
        )
        self._board.punctual = core.punctual
        self._board.subscriptions = self._chores.subscriptions = Subscriptions(
            SubscriptionSettings(
                node=node,
                worker=worker,
                limits=Limits(policy.min_expires, policy.max_expires, policy.default_expires),
                remote_party=settings.SIP_BLF_REMOTE_PARTY,
                on_the_phone=_("On the phone"),
            ),
            self._board,
            self._store,
            DjangoSubscriptionStore(),
            clock,
            _later,
        )

    def _guard(self, core: Core, clock: Clock) -> Guard:
        # A proxy of ours speaks for many phones: what it does not tell the phone's address of is not held against it.
        trusted = _in_networks([*settings.GUARD_TRUSTED_NETS, *settings.SIP_TRUSTED_PROXIES])
        guard = Guard(GuardLimits(failures=settings.GUARD_FAILURES, numbers=settings.GUARD_NUMBERS), trusted)
        self._blocks = DjangoGuardStore()
        core.door = Door(guard, core.authenticator, clock, core.recorder)
        self._chores.guard = GuardChores(
            guard, self._blocks, self._store, clock, self.server.in_loop, self._log
        )
        return guard

    def _every_second(self) -> None:
        self._chores.every_second()
        if self._handover is not None:
            self._handover.every_second()

    async def run(self) -> None:
        self._store.start()
        if self._worker == CALLS:
            await self._run_with_media()
        else:
            try:
                await self.server.run()
            finally:
                systemd.notify("STOPPING=1")
                self._chores.write_evidence()
                await asyncio.to_thread(self._store.stop, STORE_STOP_SECONDS)
        self._log.info("Stopped" if self._handover is None else f"Worker {self._worker} has stopped")

    async def _run_with_media(self) -> None:
        resolving = asyncio.create_task(self._advertised.keep_resolved())
        # Started from here, the main thread: the relays end when it does, whatever ends it.
        relays = None if settings.RTPENGINE_URLS else self._own_relays()
        # Phones register from the first moment; a call that comes before the media is there waits for it.
        media = asyncio.create_task(self._start_media(relays))
        try:
            await self.server.run()
        finally:
            systemd.notify("STOPPING=1")
            if self._handover is not None:
                self._handover.stopped()
            resolving.cancel()
            media.cancel()
            await asyncio.wait([media])
            await self._pool.close()
            self._chores.write_evidence()
            storing = asyncio.to_thread(self._store.stop, STORE_STOP_SECONDS)
            await (asyncio.gather(relays.stop(), storing) if relays is not None else storing)
        if not media.cancelled():
            media.result()

    async def _start_media(self, relays: RelayProcesses | None) -> None:
        try:
            if relays is not None:
                self._pool.set_members(await relays.start())
            await self._pool.start()
        except Exception:
            self.server.stop()  # without sound there is no point; whoever started us reads why
            raise

    def _own_relays(self) -> RelayProcesses:
        relays = RelayProcesses(
            key=self._pool.key,
            workers=settings.RTP_WORKERS,
            ports=rtp_ports(settings.RTP_PORTS),
            addresses=[own_address()],
            died=self._pool.died,
            started=lambda url: self._board.run(self._pool.started(url)),
            moved=lambda old, new: self._pool.set_members(new if url == old else url for url in relays.urls),
            log=self._log.info,
        )
        return relays

    def _media_lost(self, url: str, call_ids: list[str]) -> None:
        self._log.warning(f"The media engine {url} lost {len(call_ids)} calls; they are moved")
        self._board.move_media(call_ids)

    def _media_changed(self, url: str, alive: bool) -> None:
        if alive:
            self._log.info(f"The media engine {url} answers")
        else:
            self._log.warning(f"The media engine {url} does not answer")

    def _ready(self, addresses: list[Address]) -> None:
        places = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses]
        self._listening = ", ".join(f"udp and tcp {place}" for place in places)
        if self._handover is None:
            self._log.info(f"Listening on {self._listening}, domain {self._domain}")
        else:
            self._log.info(f"Worker {self._worker} of {self._workers} is ready, domain {self._domain}")
            asyncio.get_running_loop().add_reader(self._links.inlet, self._handover.read)
            if self._worker == CALLS:
                self._handover.ready()
        self._chores.started()
        systemd.notify(f"READY=1\nSTATUS=Listening on {self._listening}")

    def _beat(self, wall: float) -> None:
        now = datetime.fromtimestamp(wall, UTC)
        beat(self._node, self._worker, os.getpid(), self._listening, self._started, now)

    def take_up(self) -> None:
        """What must be known before the first packet is read."""
        with suppress(StoreUnavailable):
            self._follow_clock()
            if self._worker == 0:
                forget_workers(self._node, self._workers)
        assert self._chores.guard is not None
        self._chores.guard.load()

    def _follow_clock(self) -> None:
        """The clock may have been set while nobody ran: what is stored lasts as long as before."""
        moved = clock_was_set(self._node, self._worker)
        if not moved:
            return
        self._log.warning(f"The clock of this machine was set by {moved:+.0f} s; registrations keep their time")
        # In one transaction with the heartbeat: a start that is cut off here moves nothing twice.
        with self._directory.transaction():
            self._directory.shift_times(self._node, moved)
            if self._worker == CALLS:
                self._calls.shift_living(self._node, moved)
                DjangoSubscriptionStore().shift_subscriptions(self._node, moved)
                self._blocks.shift_times(moved)
            shift_beat(self._node, self._worker, moved)

    def _broken(self, error: BaseException) -> None:
        # The traceback without the exception's own text: database errors quote the values they refuse.
        nameless = RuntimeError(type(error).__name__)
        logging.getLogger("sipcore").error(
            "A batch failed", exc_info=(RuntimeError, nameless, error.__traceback__)
        )


def rtp_ports(text: str) -> tuple[int, int]:
    """``RTP_PORTS`` as numbers. Raises CommandError with the remedy."""
    try:
        return port_range(text, settings.RTP_WORKERS)
    except ValueError:
        raise CommandError(
            _("RTP_PORTS=%(text)s is no range of ports. Write for example RTP_PORTS=10000-20000 in .env.")
            % {"text": text[:40]}
        ) from None


def _in_networks(texts: list[str]) -> Callable[[str], bool]:
    networks = [ipaddress.ip_network(text, strict=False) for text in texts]

    @lru_cache(maxsize=4096)  # asked about every registration; to read an address costs 20 us
    def among(host: str) -> bool:
        if not networks:
            return False
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in networks)

    return among


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _later(seconds: float, function: Callable[[], None]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(seconds, function)


def _token(text: str) -> str:
    """For use inside a branch: letters, digits and hyphens."""
    return "".join(c if c.isascii() and (c.isalnum() or c == "-") else "-" for c in text)

