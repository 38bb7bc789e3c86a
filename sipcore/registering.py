"""The short way of a usual REGISTER from a known address: from its bytes to the 401, or to the job for the store.

The general way (endpoint, events, :class:`~sipcore.core.Core`) serves all that a message could be, and costs several
times as much. This one serves what nearly all registrations are, thousands a second, and it only says yes: wherever the
general way would refuse, answer otherwise, or have something against the sender, :meth:`ShortWay.take` has done nothing
and the general way decides. What is served has the same answer, log lines, evidence and checks on both ways;
tests/engine/test_short_way.py compares them."""

from __future__ import annotations

from collections.abc import Container
from functools import lru_cache
from typing import TYPE_CHECKING

from sipcore.intake import usual_contact
from sipcore.naming import place, summary_of
from sipcore.protocol.brevity import FACTOR, FACTOR_OF_TWO
from sipcore.protocol.digest import challenge, parse_authorization
from sipcore.protocol.errors import SipError
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import usual_text
from sipcore.protocol.uri import parse_uri, same_uri
from sipcore.protocol.usual_register import UsualRegister, read_usual_register, request_of
from sipcore.registrar import USER_AGENT_LIMIT, ContactRequest, Registration
from sipcore.store import Job

if TYPE_CHECKING:
    from sipcore.clock import Clock
    from sipcore.core import Core
    from sipcore.log import Log

BEGINNING = b"REGISTER "


class ShortWay:
    """Of one :class:`~sipcore.core.Core`. ``known``: addresses from which a phone was registered once."""

    def __init__(self, core: Core, log: Log, clock: Clock, known: Container[str]) -> None:
        self._core, self._log, self._clock, self._known = core, log, clock, known
        self._authenticator, self._recorder, self._endpoint = core.authenticator, core.recorder, core.endpoint
        settings = core.settings
        self._realm, self._algorithms, self._domains = settings.realm, settings.algorithms, settings.domains
        self._most = FACTOR_OF_TWO if len(settings.algorithms) > 1 else FACTOR
        lines = [f"WWW-Authenticate: {challenge(settings.realm, '|', name)}\r\n" for name in settings.algorithms]
        self._challenges = [line.rpartition("|")[::2] for line in lines]  # around the nonce
        # A proxy speaks for others, and a zone is not for the wire.
        self._speaks_for_itself = lru_cache(4096)(lambda host: "%" not in host and not settings.trusted_proxies(host))
        self._usable = settings.realm.isascii() and settings.realm.isprintable() and "|" not in settings.realm

    def take(self, data: bytes, flow: Flow, now: float) -> bool:
        """Serve this packet, which begins with :data:`BEGINNING`. False: nothing has been done with it."""
        core, (host, port) = self._core, flow.remote
        if host not in self._known or flow.transport != "UDP" or not self._speaks_for_itself(host):
            return False
        if core.recorder.watched or not self._usable or (
            core.door is not None and not core.door.guard.has_nothing(host)
        ):
            return False
        usual = read_usual_register(data, host, port)
        if usual is None or self._endpoint.has_seen(usual.key):
            return False
        ours, asked, about = flow.local[0], usual.uri.host, usual.to_host
        if (asked != ours and asked not in self._domains) or (about != ours and about not in self._domains):
            return False
        try:
            contact = usual_contact(usual.contact, flow.local)
            if "Authorization" in usual.firsts:
                return self._hand_on(usual, contact, data, flow, now)
        except SipError:
            return False
        return self._challenge(usual, data, flow, now)

    def _challenge(self, usual: UsualRegister, data: bytes, flow: Flow, now: float) -> bool:
        """The 401, of which nothing is remembered (RFC 3261 8.2.7)."""
        wall, host = self._clock.wall(), flow.remote[0]
        nonce, tag = self._authenticator.nonce_and_tag(usual.identity, host, wall)
        own = "".join([f"{before}{nonce}{after}" for before, after in self._challenges])
        answer = usual_text(usual.firsts, 401, tag, own).encode("ascii")
        if len(answer) > self._most * len(data):
            return False
        call_id, recorder = usual.call_id.encode("ascii"), self._recorder
        conversation = recorder.came(call_id, data, flow, wall)
        where, summary = place(flow), summary_of("REGISTER", usual.to_user, usual.firsts.get("User-Agent", ""))
        self._log.info_lines(
            f"Received message from {where}: {summary}",
            f"Processing REGISTER {usual.to_user} from {where}",
            f"Sending 401 challenge to {where}",
        )
        recorder.challenge_sent((call_id, usual.to_user.lower().encode("ascii")), flow, usual.key, data, now)
        recorder.went(conversation, answer, flow, wall)
        self._core.send(answer, flow)
        return True

    def _hand_on(
        self, usual: UsualRegister, contact: ContactRequest, data: bytes, flow: Flow, now: float
    ) -> bool:
        """A job for the store, from what can be said without an account (see :meth:`.Authenticator.judge`). Raises
        SipError where nothing has been done."""
        core, firsts, host = self._core, usual.firsts, flow.remote[0]
        credentials = parse_authorization(firsts["Authorization"])
        user, number = credentials.username.lower(), usual.to_user.lower()
        if credentials.realm != self._realm or user != usual.from_user or user != number:
            return False
        if credentials.qop != "auth" or credentials.nc is None or not credentials.cnonce:
            return False
        if credentials.algorithm not in self._algorithms:
            return False
        digest_uri = credentials.uri
        if digest_uri != usual.uri_text and not same_uri(parse_uri(digest_uri), usual.uri, ignore_params=True):
            return False
        wall = self._clock.wall()
        if not self._authenticator.is_good(credentials.nonce, host, wall):
            return False
        agent = firsts.get("User-Agent", "")
        registration = Registration(
            credentials.username, "REGISTER", credentials, usual.call_id, usual.cseq, (contact,), usual.expires, flow,
            "", agent[:USER_AGENT_LIMIT], usual.to_host,
        )  # fmt: skip
        request = request_of(usual, len(data), self._authenticator.tag(usual.identity))
        job = Job(registration, None, request, now, core.keepalive.lives_at(flow.remote))
        if not core.has_room(job):
            return False
        call_id, recorder, where = usual.call_id.encode("ascii"), self._recorder, place(flow)
        recorder.came(call_id, data, flow, wall)
        self._log.info_lines(
            f"Received message from {where}: {summary_of('REGISTER', usual.to_user, agent)}",
            f"Processing REGISTER {usual.to_user} from {where}",
        )
        recorder.challenge_answered((call_id, number.encode("ascii")))
        job.transaction = self._endpoint.begin(usual.key, request, flow)
        core.take_on(job)
        return True
