"""Who sent a request: nonces, challenges, and everything about credentials that is judged without any account.

Nothing is kept for a stranger. The answer to a request without credentials is made of the request and a key alone,
and is the same each time the same request comes (RFC 3261 section 8.2.7)."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from sipcore.clock import Clock
from sipcore.nonce_counts import NonceCounts
from sipcore.ports import Account
from sipcore.protocol.digest import (
    Credentials,
    Nonces,
    NonceState,
    challenge,
    parse_authorization,
    response_matches,
)
from sipcore.protocol.errors import SipError, UnknownScheme
from sipcore.protocol.flow import Flow
from sipcore.protocol.headers import parse_name_addr, parse_via, split_list
from sipcore.protocol.mac import Mac
from sipcore.protocol.message import Request, Response, make_response
from sipcore.protocol.uri import parse_uri, same_uri
from sipcore.registrar import Cause, Refused


@dataclass(frozen=True, slots=True)
class Challenge:
    """401. ``stale``: the credentials may be right, the nonce is not good (any more); that is no failure."""

    stale: bool


class Authenticator:
    """``key`` is secret and outlives a restart; ``trusted_proxy`` tells whether an address is one of our proxies."""

    def __init__(
        self,
        realm: str,
        algorithms: tuple[str, ...],
        key: bytes,
        worker: int,
        nonce_lifetime: int,
        trusted_proxy: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        self._realm, self._algorithms = realm, algorithms
        self._trusted_proxy = trusted_proxy
        self._clock = clock
        # One secret, two uses: each has a key of its own.
        self._tags = Mac(Mac(key).digest(b"to-tag"))
        self._last = "", b""
        self._nonces = Nonces(Mac(key).digest(b"nonce"), worker, nonce_lifetime, secrets.token_bytes(4))
        # A count of its own for each thread that decides: the method is part of a digest, so none is good for both.
        self._counts = NonceCounts(self._nonces, nonce_lifetime, clock)
        self.registration_counts = NonceCounts(self._nonces, nonce_lifetime, clock)

    def judge(self, request: Request, flow: Flow) -> Credentials | Challenge | Refused:
        """What can be said before any account is looked up. For a REGISTER, To, From and the credentials must be of
        one user; for anything else, From and the credentials. Raises SipError 400 for a broken Authorization."""
        credentials = self._credentials(request)
        if credentials is None:
            return Challenge(stale=False)
        if (
            self._nonces.state(credentials.nonce, self._clock.wall(), self.source(request, flow))
            is not NonceState.VALID
        ):
            return Challenge(stale=True)
        return self._form(request, credentials) or credentials

    def gave(self, nonce: str, host: str) -> bool:
        """Whether this nonce is one that ``host`` was given, or could be; a proxy of ours speaks for others."""
        return self._trusted_proxy(host) or self.is_good(nonce, host, self._clock.wall())

    def is_good(self, nonce: str, host: str, wall: float) -> bool:
        """Whether this nonce was given to ``host`` and is good yet; ``wall`` in seconds since 1970."""
        return self._nonces.state(nonce, wall, host) is NonceState.VALID

    def nonce_and_tag(self, identity: str, host: str, wall: float) -> tuple[str, str]:
        """The nonce and the To-tag of a 401, for a phone that will be back at once. ``identity``: what is hashed of the
        request (see :meth:`_mark`); ``wall`` in seconds since 1970."""
        nonce = self._nonces.issue(wall, host, self._digest(identity)[16:])
        self._nonces.remember(nonce, wall, host)
        return nonce, self.tag(identity)

    def count_is_new(self, credentials: Credentials) -> bool:
        """For requests other than REGISTER: whether this nonce and count were not used before. Counts from before a
        restart are not known any more, so nonces from before it are not good either."""
        highest = self._counts.highest(credentials)
        if credentials.nc is None or highest is None or credentials.nc <= highest:
            return False
        self._counts.use(credentials)
        return True

    def challenge(self, request: Request, flow: Flow, *, stale: bool = False) -> Response:
        """The 401 to this request."""
        return make_response(request, 401, headers=self.challenges(request, flow, stale=stale))

    def challenges(self, request: Request, flow: Flow, *, stale: bool = False) -> list[tuple[str, str]]:
        """One challenge for each algorithm offered, the preferred first (RFC 8760 section 2.4)."""
        nonce = self._nonces.issue(self._clock.wall(), self.source(request, flow), self._mark(request, flow))
        return [
            ("WWW-Authenticate", challenge(self._realm, nonce, algorithm, stale=stale))
            for algorithm in self._algorithms
        ]

    def source(self, request: Request, flow: Flow) -> str:
        """The phone's address: the packet's, or what a trusted proxy in front says it was. Each proxy vouches for the
        Via below its own (RFC 3261 18.2.1) and for no other: whatever stands further down the sender may have
        invented. A ``received`` that is no address no proxy has written."""
        host = flow.remote[0]
        if self._trusted_proxy(host):
            for value in split_list(", ".join(request.getall("Via")))[1:]:
                via = parse_via(value)
                received = via.params.get("received") or ""
                host = (received if is_address(received) else via.host).strip("[]")
                if not self._trusted_proxy(host):
                    break
        return host

    def registered_from(self, path: str, flow: Flow) -> str:
        """The address of a phone that registered by this way: the packet's, or what a trusted proxy noted in its own
        entry of the Path, the topmost (RFC 3327); "" when it noted nothing."""
        if not path or not self._trusted_proxy(flow.remote[0]):
            return flow.remote[0]
        try:
            noted = parse_name_addr(split_list(path)[0]).uri.params.get("received") or ""
            host = parse_uri(unquote(noted)).host.strip("[]")
        except SipError:
            return ""
        return host if is_address(host) else ""

    def tag(self, text: str) -> str:
        """A tag that nobody can guess and that is the same for the same text."""
        return self._digest(text).hex()[:16]

    def _mark(self, request: Request, flow: Flow) -> bytes:
        parts = (request.call_id, request.from_.tag or "", request.via.branch or "", flow.remote[0])
        return self._digest("|".join(parts))[16:]

    def _digest(self, text: str) -> bytes:
        """Of 32 bytes the first half makes a tag and the other a nonce: one request has both made of the same text."""
        if text != self._last[0]:
            self._last = text, self._tags.digest(text.encode("utf-8", "replace"))
        return self._last[1]

    def _credentials(self, request: Request) -> Credentials | None:
        """Those made for our realm, or None. Proxy-Authorization is for a proxy that asked with 407 (RFC 3261 22.3),
        which we never do. Raises SipError 400 for two of our realm: which one counts?"""
        found = None
        for value in request.getall("Authorization"):
            try:
                credentials = parse_authorization(value)
            except UnknownScheme:
                continue
            if credentials.realm == self._realm:
                if found is not None:
                    raise SipError(400, "Doubled Authorization")
                found = credentials
        return found

    def _form(self, request: Request, credentials: Credentials) -> Refused | None:
        if credentials.algorithm not in self._algorithms:
            return Refused(403, Cause.UNSUPPORTED_ALGORITHM)
        # qop was offered, so it is required: without it neither the count nor replay can be checked.
        if credentials.qop != "auth" or credentials.nc is None or not credentials.cnonce:
            return Refused(403, Cause.UNSUPPORTED_ALGORITHM)
        try:
            digest_uri = parse_uri(credentials.uri)
        except SipError:
            return Refused(400, Cause.DIGEST_URI)
        if not same_uri(digest_uri, request.request_uri, ignore_params=True):
            return Refused(400, Cause.DIGEST_URI)
        user = credentials.username.lower()
        if request.from_.uri.canonical_user.lower() != user:
            return Refused(403, Cause.THIRD_PARTY)
        if request.method == "REGISTER" and request.to.uri.canonical_user.lower() != user:
            return Refused(403, Cause.THIRD_PARTY)
        return None


def is_address(text: str) -> bool:
    """Whether it is an IP address, also in brackets."""
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def is_from_here(flow: Flow) -> bool:
    """Whether the packet was sent by this machine: the kernel takes none from outside that claims to be."""
    host = flow.remote[0]
    return host == flow.local[0] or host == "::1" or host.startswith("127.")


def prove(
    credentials: Credentials, method: str, account: Account | None, decoy_ha1: dict[str, str], from_here: bool = False
) -> Refused | None:
    """None when the digest is right and the account may be used. Whatever is wrong, the same work is done: an
    unknown number is computed against a decoy HA1, so that neither the bytes nor the time of the answer tell
    whether a number exists. ``from_here``: this machine itself asks, which may use hidden accounts; to others they are
    numbers that do not exist."""
    if account is not None and account.hidden and not from_here:
        account = None
    algorithm = credentials.algorithm
    ha1 = account.ha1.get(algorithm) if account is not None else None
    matches = response_matches(ha1 or decoy_ha1[algorithm], credentials, method)
    if account is None:
        return Refused(403, Cause.UNKNOWN_EXTENSION)
    if ha1 is None:
        return Refused(403, Cause.STALE_CREDENTIAL if account.has_stale else Cause.NO_CREDENTIAL)
    if not matches:
        return Refused(403, Cause.WRONG_PASSWORD)
    if not account.enabled:
        return Refused(403, Cause.DISABLED)
    return None
