"""The registrar's decisions (RFC 3261 section 10.3), pure: what a REGISTER asks and what is on record go in,
what to store and what to answer come out."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from sipcore.evidence.facts import Period
from sipcore.online import periods_over
from sipcore.ports import Account, Binding, BindingId
from sipcore.protocol.digest import Credentials
from sipcore.protocol.flow import Flow

MAX_CONTACTS = 10
"""Contacts in one REGISTER; fork bombs (RFC 5393) begin with many."""

MAX_ENDED = 20
"""Ended bindings kept for an extension: baresip is a new device at every start."""

SHORTEST = 0.8
"""Of the time asked, what a phone is granted at least: those that registered together come back apart."""

# The widths of the columns these end up in. Cut here, before the batch, so that no row can spoil its neighbours.
# A contact, a key or a path that is too long cannot be cut without lying, so it is refused.
KEY_LIMIT, CONTACT_LIMIT, PATH_LIMIT, CALL_ID_LIMIT = 255, 512, 1024, 255
INSTANCE_LIMIT, USER_AGENT_LIMIT = 128, 128
DOMAIN_LIMIT = 255


class Cause(Enum):
    """Why a registration was refused: the verdict codes of the diagnosis (public, stable)."""

    UNKNOWN_EXTENSION = "unknown_extension"
    DISABLED = "disabled"
    NO_CREDENTIAL = "no_credential"
    STALE_CREDENTIAL = "stale_credential"
    WRONG_PASSWORD = "wrong_password"
    TOO_MANY_DEVICES = "too_many_devices"
    EXPIRES_TOO_SHORT = "expires_too_short"
    MALFORMED = "malformed"
    UNSUPPORTED_ALGORITHM = "unsupported_algorithm"
    WRONG_DOMAIN = "wrong_domain"
    THIRD_PARTY = "third_party"
    DIGEST_URI = "alg_tampering"
    WRONG_TRANSPORT = "wrong_transport"
    RATE_LIMITED = "rate_limited"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits in seconds, and who we are."""

    min_expires: int = 60
    max_expires: int = 3600
    default_expires: int = 3600
    node: str = ""
    worker: int = 0


@dataclass(frozen=True, slots=True)
class ContactRequest:
    """One Contact of a REGISTER, cleaned. ``expires`` in seconds as asked, None when nothing was said."""

    key: str
    uri: str
    user: str
    instance: str
    reg_id: int | None
    q: float | None
    expires: int | None


@dataclass(slots=True)
class Registration:
    """What one REGISTER asks. ``contacts`` None: ``Contact: *``; empty: only a question."""

    number: str
    method: str
    credentials: Credentials
    call_id: str
    cseq: int
    contacts: tuple[ContactRequest, ...] | None
    expires: int | None
    flow: Flow
    path: str
    user_agent: str
    domain: str = ""

    @property
    def nc(self) -> int:
        """The nonce count; the form of the credentials was judged before."""
        return self.credentials.nc or 0


@dataclass(slots=True)
class Accepted:
    """200: ``current`` are the bindings to list; ``changed`` and ``removed`` are to be written first."""

    current: list[Binding]
    changed: list[Binding]
    removed: list[BindingId]
    moved: list[tuple[Binding, tuple[str, int]]] = field(default_factory=list)
    """Devices that are somewhere else now, with the address they had: their calls follow them."""
    periods: list[Period] = field(default_factory=list)
    """Times of being online, or silent, that are over and would be forgotten with this answer."""


@dataclass(frozen=True, slots=True)
class Refused:
    """``status`` 403, 400 or 423. The cause is for the evidence and the log, never for the answer."""

    status: int
    cause: Cause
    min_expires: int | None = None


@dataclass(frozen=True, slots=True)
class Stale:
    """The nonce count was used before: 401 with ``stale=true`` and a fresh nonce. Not a failure."""


@dataclass(frozen=True, slots=True)
class Busy:
    """The extension's row is being changed at this very moment: ask again in the next batch."""


Decision = Accepted | Refused | Stale | Busy


def register(
    asked: Registration,
    account: Account,
    bindings: Sequence[Binding],
    policy: Policy,
    now: float,
    draw: float = 0.0,
) -> Decision:
    """Decide one authenticated REGISTER against all bindings of its address-of-record (RFC 3261 10.3, steps 6
    to 8). Nothing of ``bindings`` is changed in place; an answer other than :class:`Accepted` changes nothing.
    ``draw``: a number at random, from 0 to less than 1, by which the time granted is shortened."""
    nonce, nc = asked.credentials.nonce, asked.nc
    on_record: dict[str, Binding] = {}
    living: dict[str, Binding] = {}
    for b in bindings:
        if b.nonce == nonce and b.nc >= nc:
            return Stale()
        on_record[b.key] = b
        if b.expires_at > now:
            living[b.key] = b
    if asked.contacts is None:
        return _remove_all(asked, living, now)
    if not asked.contacts:
        return Accepted(_listed(living.values()), [], [])

    changed: dict[str, Binding] = {}
    moves: list[tuple[Binding, tuple[str, int]]] = []
    for contact in asked.contacts:
        expires = _granted(contact, asked, policy, draw)
        if isinstance(expires, Refused):
            return expires
        known = on_record.get(contact.key)
        if known is None and expires == 0:
            # Some phones leave +sip.instance out when they sign off: find the binding by its address.
            known = next((b for b in living.values() if b.contact == contact.uri), None)
        if known is not None and known.call_id == asked.call_id and known.cseq >= asked.cseq:
            return Refused(400, Cause.MALFORMED)  # an older request that arrived late (10.3 step 7)
        if expires == 0:
            if known is not None and known.key in living:
                changed[known.key] = _ended(known, asked, now)
            continue
        bound = changed[contact.key] = _bound(contact, asked, account, known, expires, policy, now)
        if known is not None and (known.remote_host, known.remote_port) != asked.flow.remote:
            moves.append((bound, (known.remote_host, known.remote_port)))

    for moved in _moved_away(asked, living, changed, now) if living else ():
        moves.append((changed[asked.contacts[0].key], (moved.remote_host, moved.remote_port)))
        changed[moved.key] = _ended(moved, asked, now)

    current = {key: b for key, b in {**living, **changed}.items() if b.expires_at > now}
    surplus = len(current) - account.max_devices
    if surplus > 0 and any(key not in living for key, b in changed.items() if b.expires_at > now):
        dead = sorted(
            (b for b in current.values() if b.unreachable_since is not None and b.key not in changed),
            key=lambda b: b.refreshed_at,
        )
        if len(dead) < surplus:
            return Refused(403, Cause.TOO_MANY_DEVICES)
        for gone in dead[:surplus]:
            changed[gone.key] = _ended(gone, asked, now)
            del current[gone.key]
    forgettable = _forgettable(bindings, changed, current) if len(bindings) > MAX_ENDED else []
    periods: list[Period] = []
    for b in bindings:
        if b.key in changed or (forgettable and b.id in forgettable):
            periods += periods_over(b, now)
    return Accepted(_listed(current.values()), list(changed.values()), forgettable, moves, periods)


def _remove_all(asked: Registration, living: dict[str, Binding], now: float) -> Decision:
    """``Contact: *`` with ``Expires: 0`` (10.3 step 6)."""
    if asked.expires != 0:
        return Refused(400, Cause.MALFORMED)
    if any(b.call_id == asked.call_id and b.cseq >= asked.cseq for b in living.values()):
        return Refused(400, Cause.MALFORMED)
    return Accepted([], [_ended(b, asked, now) for b in living.values()], [])


def _granted(contact: ContactRequest, asked: Registration, policy: Policy, draw: float) -> int | Refused:
    """Whole seconds. A registrar may shorten what was asked and never lengthen it (RFC 3261 10.3 step 7): by up to a
    fifth, evenly, but not below the least, which some phones ask for to keep their way open."""
    expires = contact.expires if contact.expires is not None else asked.expires
    if expires is None:
        expires = policy.default_expires
    if 0 < expires < policy.min_expires:
        return Refused(423, Cause.EXPIRES_TOO_SHORT, policy.min_expires)
    longest = min(expires, policy.max_expires)
    shortest = min(longest, max(policy.min_expires, math.ceil(longest * SHORTEST)))
    return longest - int(draw * (longest - shortest + 1))


def _bound(
    contact: ContactRequest,
    asked: Registration,
    account: Account,
    known: Binding | None,
    expires: int,
    policy: Policy,
    now: float,
) -> Binding:
    flow = asked.flow
    continues = known is not None and known.expires_at > now
    return Binding(
        account_id=account.id,
        key=contact.key,
        contact=contact.uri,
        instance=contact.instance,
        reg_id=contact.reg_id,
        q=contact.q,
        path=asked.path,
        transport=flow.transport,
        remote_host=flow.remote[0],
        remote_port=flow.remote[1],
        local_host=flow.local[0],
        local_port=flow.local[1],
        connection=flow.connection,
        node=policy.node,
        worker=policy.worker,
        call_id=asked.call_id,
        cseq=asked.cseq,
        user_agent=asked.user_agent,
        nonce=asked.credentials.nonce,
        nc=asked.nc,
        registered_at=known.registered_at if known is not None and continues else now,
        refreshed_at=now,
        expires_at=now + expires,
        unreachable_since=None,
        domain=asked.domain,
    )


def _ended(binding: Binding, asked: Registration, now: float) -> Binding:
    """The row stays, ended, with the nonce count and CSeq of the request that ended it: else that request, or
    the one before it, could be replayed."""
    return replace(
        binding,
        call_id=asked.call_id,
        cseq=asked.cseq,
        nonce=asked.credentials.nonce,
        nc=asked.nc,
        refreshed_at=now,
        expires_at=now,
    )


def _moved_away(
    asked: Registration, living: dict[str, Binding], changed: dict[str, Binding], now: float
) -> list[Binding]:
    """The old addresses of a phone that registers from a new one: the same instance without reg-id, or, without
    an instance, a newer CSeq of the same Call-ID with the same user in the Contact (a phone that learnt its
    public address, or went from Wi-Fi to mobile data). So one phone never piles up."""
    assert asked.contacts is not None
    contact = asked.contacts[0]
    if len(asked.contacts) != 1 or contact.key not in changed or changed[contact.key].expires_at <= now:
        return []  # several devices at once, or one that signs off
    if contact.instance and contact.reg_id is not None:
        return []
    gone = []
    for binding in living.values():
        if binding.key == contact.key or binding.reg_id is not None:
            continue
        if contact.instance:
            same = binding.instance == contact.instance
        else:
            same = (
                not binding.instance
                and binding.call_id == asked.call_id
                and binding.cseq < asked.cseq
                and contact_user(binding.contact) == contact.user
            )
        if same:
            gone.append(binding)
    return gone


def _forgettable(
    bindings: Sequence[Binding], changed: dict[str, Binding], current: dict[str, Binding]
) -> list[BindingId]:
    ended = [b for b in bindings if b.key not in current and b.key not in changed]
    if len(ended) <= MAX_ENDED:
        return []
    ended.sort(key=lambda b: b.expires_at)
    return [b.id for b in ended[: len(ended) - MAX_ENDED]]


def _listed(bindings: Collection[Binding]) -> list[Binding]:
    if len(bindings) < 2:
        return list(bindings)
    return sorted(bindings, key=lambda b: (-(b.q if b.q is not None else 1.0), b.registered_at))


def contact_user(uri: str) -> str:
    """The user part of a stored Contact URI."""
    rest = uri.partition(":")[2]
    user, at, _ = rest.partition("@")
    return user if at else ""
