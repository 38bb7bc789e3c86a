"""Digest authentication (RFC 7616, RFC 8760, RFC 3261 22) and the nonces that need no memory."""

import base64
import hashlib
import hmac
import ipaddress
import re
import struct
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from operator import itemgetter
from typing import ClassVar

from .errors import SipError, UnknownScheme
from .headers import parse_params, quote, quoted_end, unquote
from .mac import Mac

ALGORITHMS = ("MD5", "SHA-256")  # what an HA1 is kept for

MAX_AUTHORIZATION = 8192  # characters

# what can be computed: for a client answering a trunk's challenge more than we offer ourselves
_HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
_SPELLING = {name.upper(): name for hash_name in _HASHES for name in (hash_name, f"{hash_name}-sess")}

# RFC 7616 3.4: auth-param = token BWS "=" BWS ( token / quoted-string ), with the comma after it. A failed try costs no
# more than the way to the next `=` or quote, 32 times at most: linear.
_AUTH_PARAM = re.compile(
    r"([A-Za-z0-9.!%*_+`'~-]{1,32}+)[ \t]*+=[ \t]*+(\")?((?(2)[^\"]*+|[^ \t\",=]*+))(?(2)\")[ \t]*+(?:,[ \t]*+|$)"
)
_ABSENT: dict[str, str | None] = dict.fromkeys(("username", "realm", "nonce", "uri", "response")) | {
    "algorithm": "MD5", "qop": None, "nc": "", "cnonce": None, "opaque": None,
}  # fmt: skip
_FIELDS = itemgetter(*_ABSENT)
_USUAL_NAMES = frozenset("username realm nonce uri response algorithm cnonce opaque qop nc stale domain".split())  # noqa: SIM905
_SHORT_SHAPE = 256  # characters
_NC = re.compile(r"[0-9a-fA-F]{8}")


@dataclass(slots=True)
class Credentials:
    """A Digest Authorization, quotes and backslashes undone. Everything in it is a claim of the sender."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str  # lower case
    algorithm: str = "MD5"  # in its registered spelling when known, else as it stood
    qop: str | None = None  # lower case
    nc: int | None = None
    nc_text: str = ""  # as it entered the hash
    cnonce: str | None = None
    opaque: str | None = None


class NonceState(Enum):
    VALID = "valid"
    STALE = "stale"  # too old, from the future, of another address, worker or key, or not ours at all


def make_ha1(algorithm: str, username: str, realm: str, password: str) -> str:
    """H(username:realm:password) in hex (RFC 7616 3.4.2). Raises ValueError for an algorithm that we do not know.

    For the -sess algorithms this is the part that can be kept; `expected_response` adds the rest.
    """
    return _hash(algorithm, f"{username}:{realm}:{password}")


def parse_authorization(value: str) -> Credentials:
    """Read the value of Authorization or Proxy-Authorization.

    Raises UnknownScheme (401) when it is not Digest, SipError 400 on a doubled, missing or malformed parameter, and
    on username* and userhash=true, which we never offer (RFC 7616 3.4.4). Linear in its length.
    """
    scheme, _, text = value.partition(" ")
    if scheme.lower() != "digest":
        raise UnknownScheme()
    text = text.strip(" \t")
    if len(text) > MAX_AUTHORIZATION:
        raise SipError(400, "Authorization Too Long")
    params = _auth_params(text)
    username, realm, nonce, uri, response, algorithm, qop, nc_text, cnonce, opaque = _FIELDS(_ABSENT | params)
    if not username or realm is None or not nonce or not uri or not response:
        raise SipError(400, "Incomplete Authorization")
    if "username*" in params or params.get("userhash", "false").lower() != "false":
        raise SipError(400, "Unsupported Authorization")
    nc = None
    if nc_text:
        if _NC.fullmatch(nc_text) is None:
            raise SipError(400, "Bad Nonce Count")
        nc = int(nc_text, 16)
    if qop is not None:
        qop = qop.lower()
        if nc is None or cnonce is None:
            raise SipError(400, "Incomplete Authorization")
    return Credentials(
        username,
        realm,
        nonce,
        uri,
        response.lower(),
        _SPELLING.get(algorithm.upper(), algorithm),
        qop,
        nc,
        nc_text,
        cnonce,
        opaque,
    )


def expected_response(ha1: str, credentials: Credentials, method: str, *, body: bytes = b"") -> str:
    """The response that the owner of this HA1 would have sent (RFC 7616 3.4.1), in lower-case hex.

    Raises ValueError for an algorithm that we do not know.
    """
    algorithm = credentials.algorithm
    if algorithm.endswith("-sess"):
        ha1 = _hash(algorithm, f"{ha1}:{credentials.nonce}:{credentials.cnonce or ''}")
    a2 = f"{method}:{credentials.uri}"
    if credentials.qop is None:
        return _hash(algorithm, f"{ha1}:{credentials.nonce}:{_hash(algorithm, a2)}")
    if credentials.qop == "auth-int":
        a2 = f"{a2}:{_hash(algorithm, body)}"
    middle = f"{credentials.nonce}:{credentials.nc_text}:{credentials.cnonce}:{credentials.qop}"
    return _hash(algorithm, f"{ha1}:{middle}:{_hash_of_a2(algorithm, a2)}")


@lru_cache(maxsize=256)
def _hash_of_a2(algorithm: str, a2: str) -> str:
    """Of method and URI, which are no secrets, and the same for all phones of a domain."""
    return _hash(algorithm, a2)


def response_matches(ha1: str, credentials: Credentials, method: str, *, body: bytes = b"") -> bool:
    """Whether the response is the expected one, compared in constant time. False for an unknown algorithm."""
    try:
        expected = expected_response(ha1, credentials, method, body=body)
    except ValueError:
        return False
    return hmac.compare_digest(expected.encode(), credentials.response.encode("utf-8", "surrogateescape"))


def challenge(realm: str, nonce: str, algorithm: str, *, stale: bool = False) -> str:
    """The value of WWW-Authenticate or Proxy-Authenticate, qop="auth" (RFC 7616 3.3, RFC 8760 2)."""
    end = ", stale=true" if stale else ""
    return f'Digest realm={quote(realm)}, nonce="{nonce}", algorithm={algorithm}, qop="auth"{end}'


def parse_challenge(value: str) -> dict[str, str]:
    """The parameters of a WWW-Authenticate, names in lower case. Raises SipError like parse_authorization."""
    scheme, _, text = value.partition(" ")
    if scheme.lower() != "digest":
        raise UnknownScheme()
    if len(text) > MAX_AUTHORIZATION:
        raise SipError(400, "Challenge Too Long")
    params = _auth_params(text.strip(" \t"))
    if "realm" not in params or not params.get("nonce"):
        raise SipError(400, "Incomplete Challenge")
    return params


class Nonces:
    """Nonces that carry their own proof: time, worker, run, salt and an HMAC over these and the source address.

    Nothing is kept. `lifetime` is in seconds; `key` must outlive a restart, so that phones need no second round trip;
    `run` is 4 bytes that are others after it.
    The port of the source does not count (NATs rebind), nor the last 64 bits of an IPv6 address.
    """

    FUTURE: ClassVar = 60  # seconds that another machine's clock may be ahead

    _FIELDS: ClassVar = struct.Struct(">IH4s")
    _MAC: ClassVar = 16  # bytes
    _REMEMBERED: ClassVar = 4096
    _SALT: ClassVar = 4  # bytes; with it the whole is 30 bytes, so that Base64 has no spare bits

    def __init__(self, key: bytes, worker: int, lifetime: int, run: bytes = b"") -> None:
        self._prepared = Mac(key)
        self._worker = worker & 0xFFFF
        self._lifetime = lifetime
        self._run = run[:4].ljust(4, b"\0")
        # Those just given, whom to and when: nearly all come back within a second. The older half goes at once.
        self._given: dict[str, tuple[str, int]] = {}
        self._given_before: dict[str, tuple[str, int]] = {}

    def issue(self, now: float, source_ip: str, salt: bytes) -> str:
        """40 characters, the same for the same arguments. `now` in seconds of the wall clock; 4 bytes of salt count."""
        head = self._FIELDS.pack(int(now) & 0xFFFFFFFF, self._worker, self._run)
        head += salt[: self._SALT].ljust(self._SALT, b"\0")
        return base64.urlsafe_b64encode(head + self._mac(head, source_ip)).decode("ascii")

    def remember(self, nonce: str, now: float, source_ip: str) -> None:
        """It was issued with these arguments; so :meth:`state` need not compute its proof, for a while."""
        if len(self._given) >= self._REMEMBERED:
            self._given_before, self._given = self._given, {}
        self._given[nonce] = source_ip, int(now) & 0xFFFFFFFF

    def state(self, nonce: str, now: float, source_ip: str) -> NonceState:
        """Whether this nonce is one of ours for this source and still good. Raises nothing."""
        given = self._given.get(nonce) or self._given_before.get(nonce)
        if given is not None and given[0] == source_ip and -self.FUTURE <= now - given[1] <= self._lifetime:
            return NonceState.VALID
        if len(nonce) != 40 or not nonce.isascii():
            return NonceState.STALE
        try:
            data = base64.urlsafe_b64decode(nonce)
        except ValueError:
            return NonceState.STALE
        if base64.urlsafe_b64encode(data).decode("ascii") != nonce:
            return NonceState.STALE  # the decoder forgives: a second spelling would have a second counter
        head, mac = data[: -self._MAC], data[-self._MAC :]
        issued, worker, _run = self._FIELDS.unpack_from(head)
        genuine = hmac.compare_digest(mac, self._mac(head, source_ip))
        if not genuine or worker != self._worker or not -self.FUTURE <= now - issued <= self._lifetime:
            return NonceState.STALE
        return NonceState.VALID

    def origin(self, nonce: str) -> tuple[int, bool]:
        """When a nonce whose state is VALID was issued, in seconds of the wall clock, and whether since the start of
        this process."""
        given = self._given.get(nonce) or self._given_before.get(nonce)
        if given is not None:
            return given[1], True
        issued, _worker, run = self._FIELDS.unpack_from(base64.urlsafe_b64decode(nonce[:16]))
        return issued, run == self._run

    def _mac(self, head: bytes, source_ip: str) -> bytes:
        return self._prepared.digest(head + _network(source_ip))[: self._MAC]


@lru_cache(maxsize=1024)
def _network(source_ip: str) -> bytes:
    """The IPv4 address, or the first half of the IPv6 address; ::ffff:a.b.c.d is the IPv4 address it stands for."""
    try:
        address = ipaddress.ip_address(source_ip)
    except ValueError:
        return source_ip[:64].encode("utf-8", "replace")
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped.packed if address.ipv4_mapped is not None else address.packed[:8]
    return address.packed


def _auth_params(text: str) -> dict[str, str]:
    if "\\" in text:
        return _escaped_auth_params(text)
    # What stands outside the quotes is the same in most messages of a phone, and in those of its like.
    pieces = text.split('"')
    if len(pieces) % 2 and len(shape := '"'.join(pieces[::2])) <= _SHORT_SHAPE and "\0" not in shape:
        quoted, params = _shape(shape)
        return params | dict(zip(quoted, pieces[1::2], strict=True))
    return _any_auth_params(text)


@lru_cache(maxsize=512)
def _shape(outside: str) -> tuple[list[str], dict[str, str]]:
    """``outside``: parameters, and where a quoted value stood one quote. The names of these in their order, and all
    parameters with the values that were not quoted. Raises SipError 400."""
    *pieces, end = outside.split('"')
    params = _any_auth_params("".join([f'{piece}"\0"' for piece in pieces]) + end)
    return [name for name, value in params.items() if value == "\0"], params


def _any_auth_params(text: str) -> dict[str, str]:
    # Nothing, then name, quote, value and nothing for each: what is in between is no parameter.
    parts = _AUTH_PARAM.split(text)
    if any(parts[::4]):
        raise SipError(400, "Bad Authorization")
    params = dict(zip(parts[1::4], parts[3::4], strict=True))
    if not params.keys() <= _USUAL_NAMES:
        params = {name.lower(): value for name, value in params.items()}
    if len(params) != len(parts) // 4:
        raise SipError(400, "Doubled Authorization Parameter")
    return params


def _escaped_auth_params(text: str) -> dict[str, str]:
    """The same for a text with backslashes in quoted strings, which is rare: a user name with a quote in it."""
    pieces = []
    position = 0
    while (at := text.find('"', position)) >= 0:
        end = quoted_end(text, at)
        pieces += [text[position:at].replace(",", ";"), text[at:end]]
        position = end
    pieces.append(text[position:].replace(",", ";"))
    params = parse_params("".join(pieces))
    if any(value is None for value in params.values()):
        raise SipError(400, "Bad Authorization")
    return {name: unquote(value) for name, value in params.items() if value is not None}


def _hash(algorithm: str, data: str | bytes) -> str:
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    if algorithm == "MD5":
        return hashlib.md5(data, usedforsecurity=False).hexdigest()
    if algorithm == "SHA-256":
        return hashlib.sha256(data).hexdigest()
    name = _HASHES.get(algorithm.removesuffix("-sess"))
    if name is None:
        raise ValueError("unknown digest algorithm")
    return hashlib.new(name, data, usedforsecurity=False).hexdigest()
