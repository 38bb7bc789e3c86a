"""Messages of the ``ng`` control protocol, as rtpengine 10.5 documents and reads them.

A datagram is a cookie, a space and a bencoded dictionary; the answer has the same cookie, and the same cookie again is
a retransmission that gets the same answer.

Our pool and our relay tell each other the same dictionaries as JSON, bytes as Latin-1: a call is six documents of a
dozen strings, and these Python's own C reads and writes at a tenth of the price. Both are read everywhere, and answered
in kind.
"""

import ipaddress
import json
import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from . import bencode
from .bencode import Decoded, Encodable
from .errors import MediaError

MAX_COOKIE = 64  # bytes
KEY = "SIP_RELAY_KEY"
"""In the environment of a relay, which other users of this machine cannot read: whose commands it obeys."""

EXPEDITED = 0xB8
"""The TOS byte of voice: DSCP EF, 46 (RFC 3246)."""

MOST_MEDIA = 4
"""Media of one description that are relayed: sound, video, a shared screen and one more."""

SUITES = (
    "AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32",
    "AES_192_CM_HMAC_SHA1_80", "AES_192_CM_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32",
    "F8_128_HMAC_SHA1_80", "F8_128_HMAC_SHA1_32", "NULL_HMAC_SHA1_80", "NULL_HMAC_SHA1_32",
)  # fmt: skip
"""What rtpengine 10.5 adds to every encrypted offer unless told not to, two of them without any encryption."""

Message = dict[str, Decoded]


class BadMessage(MediaError):
    """A datagram that is no ng message. ``cookie`` is what could be read of it, to answer with."""

    def __init__(self, reason: str, cookie: bytes = b"") -> None:
        super().__init__(reason)
        self.cookie = cookie


def _latin(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    raise TypeError("type without an encoding")


_as_json = json.JSONEncoder(check_circular=False, allow_nan=False, separators=(",", ":"), default=_latin).encode
_of_json = json.JSONDecoder().raw_decode


def pack(cookie: bytes, message: Mapping[str, Encodable], *, as_json: bool = False) -> bytes:
    """One datagram. Raises :class:`BadMessage` when it would be longer than UDP carries."""
    data = cookie + b" " + (_as_json(message).encode("ascii") if as_json else bencode.encode(message))
    if len(data) > 65_507:
        raise BadMessage("message too long", cookie)
    return data


def unpack(data: bytes) -> tuple[bytes, Message]:
    """Cookie and dictionary of one datagram. Raises :class:`BadMessage`."""
    cookie, space, rest = data.partition(b" ")
    if not space or not 0 < len(cookie) <= MAX_COOKIE:
        raise BadMessage("no cookie")
    message: object
    try:
        if rest[:1] == b"{":
            written = rest.decode("ascii")
            message, end = _of_json(written)
            if end != len(written):
                raise BadMessage("bytes after the end", cookie)
        else:
            message = bencode.decode(rest)
    except bencode.BencodeError as error:
        raise BadMessage(f"Could not decode bencode dictionary: {error}", cookie) from None
    except (ValueError, RecursionError):
        raise BadMessage("Could not decode JSON dictionary", cookie) from None
    if not isinstance(message, dict):
        raise BadMessage("no dictionary", cookie)
    return cookie, message


def is_json(data: bytes) -> bool:
    """Whether a datagram that was unpacked wants to be answered in JSON."""
    return data[data.index(32) + 1 :][:1] == b"{"


def text(message: Mapping[str, Decoded], *names: str, limit: int = 1000) -> str:
    """The string under the first of the names that is there; "" when there is none.

    Raises :class:`BadMessage` when it is no string or longer than ``limit``."""
    for name in names:
        if name in message:
            value = message[name]
            if type(value) is str and len(value) <= limit:
                return value
            if not isinstance(value, bytes) or len(value) > limit:
                raise BadMessage(f"bad {names[0]}")
            return value.decode("utf-8", "replace")
    return ""


def octets(message: Mapping[str, Decoded], name: str) -> bytes | None:
    """What under this name is bytes in themselves; None when there is no such thing."""
    value = message.get(name)
    if isinstance(value, str):
        try:
            return value.encode("latin-1")
        except UnicodeEncodeError:
            return None
    return value if isinstance(value, bytes) else None


def words(message: Mapping[str, Decoded], *names: str) -> list[str]:
    """The list of strings under the first of the names that is there; spaces in them are hyphens (rtpengine allows
    both). Raises :class:`BadMessage`."""
    for name in names:
        if name in message:
            value = message[name]
            if not isinstance(value, list) or len(value) > 100:
                raise BadMessage(f"bad {names[0]}")
            return [_word(word, names[0]) for word in value]
    return []


def _word(value: Decoded, name: str) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise BadMessage(f"bad {name}")
    return value.replace(" ", "-")


@lru_cache(maxsize=1024)
def ip_family(address: str) -> str:
    """ "IP4" or "IP6" (RFC 8866 5.7). Raises ValueError when it is no address."""
    return f"IP{ipaddress.ip_address(address.partition('%')[0]).version}"


@lru_cache(maxsize=1024)
def _is_private(address: str) -> bool:
    return ipaddress.ip_address(address).is_private


def parse_url(url: str) -> tuple[str, int]:
    """``udp:host:port`` as Kamailio writes it, ``udp://host:port``, ``host:port``, ``[::1]:port``.

    Raises ValueError."""
    rest = url.strip().removeprefix("udp:").removeprefix("//").rstrip("/")
    host, colon, port = rest.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not colon or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65536:
        raise ValueError("not the address of a media engine: udp:host:port is wanted")
    return host, int(port)


class Learning(Enum):
    """How rtpengine finds out where a phone's media comes from; our relay has one rule for all and ignores it."""

    AUTO = "auto"  # off where no NAT can be in between, else heuristic
    OFF = "off"
    HEURISTIC = "heuristic"
    IMMEDIATE = "immediate"


class Path(NamedTuple):
    """How the media of an offer or answer shall run. Every part may be left out."""

    received_from: str = ""  # IP address the SIP message came from: whom media is believed and sent to
    media_address: str = ""  # what we advertise to the receiver of this description (inside: own, outside: EXTERNAL_IP)
    address_family: str = ""  # "IP4", "IP6"; from media_address when empty
    direction: tuple[str, str] | None = None  # rtpengine's interface names: of the sender, of the receiver; offers only
    from_anywhere: bool = False  # "media may come from another address": the first source after this description
    learning: Learning = Learning.AUTO

    def keys(self, sdp: bytes, *, ours: bool = False) -> dict[str, Encodable]:
        """The keys of the message; ``ours``: for our own relay, without those that only rtpengine needs to be told.
        Raises ValueError when an address is none."""
        message: dict[str, Encodable] = {"sdp": _without_detours(sdp)}
        held = b"0.0.0.0" in sdp or b"::" in sdp
        places = _places(sdp) if held or not ours else _UNASKED
        zero = bool(places) and places <= {b"0.0.0.0", b"::"}
        if self.received_from:
            message["received-from"] = [ip_family(self.received_from), self.received_from]
        if self.media_address and not zero:
            message["media address"] = self.media_address
        family = self.address_family or (ip_family(self.media_address) if self.media_address else "")
        if family and not (ours and "media address" in message):
            message["address family"] = family
        flags = ["media-from-anywhere"] if self.from_anywhere else []  # our relay's; rtpengine passes over it
        if not ours:
            message |= {
                "ICE": "remove",
                "rtcp-mux": ["demux"],
                "replace": ["origin", "session-connection"],
                "TOS": EXPEDITED,
                **_encryption(sdp),
            }
            flags += ["original-sendrecv", "strict-source"]
            # With either of the two, rtpengine would not let the other phone see the hold of an old one.
            flags += ["SIP-source-address"] if self.received_from and not zero else []
            # As a flag: 10.5 passes over the key of this name unless its value is a list.
            learning = Learning.IMMEDIATE if self.from_anywhere else self._learning(places)
            flags.append(f"endpoint-learning-{learning.value}")
            if self.direction:
                message["direction"] = list(self.direction)
        if flags:
            message["flags"] = flags
        return message

    def _learning(self, places: set[bytes]) -> Learning:
        """Learning leaves rtpengine open for three seconds (CVE-2025-53399); a phone whose private address is also the
        one its signalling comes from has no NAT before it, so nothing needs to be learned."""
        if self.learning is not Learning.AUTO:
            return self.learning
        if not self.received_from or not _is_private(self.received_from):
            return Learning.HEURISTIC
        return Learning.OFF if places == {self.received_from.encode()} else Learning.HEURISTIC


_UNASKED: set[bytes] = set()
_ICE = (b"a=candidate:", b"a=remote-candidates:", b"a=ice-", b"a=end-of-candidates")
_DETOUR = re.compile(b"|".join((*_ICE, b"a=rtcp:")))


def _without_detours(sdp: bytes) -> bytes:
    """Without what names places besides those of `c=` and `m=`: rtpengine sends to ICE candidates to try them (although
    told to remove them), and RTCP to wherever `a=rtcp` says (RFC 3605), whoever lives there. And with no more than
    ``MOST_MEDIA`` media: the others get port 0, which refuses them (RFC 3264 6)."""
    if sdp.count(b"m=") <= MOST_MEDIA and _DETOUR.search(sdp) is None:
        return sdp
    kept = []
    media = 0
    for line in sdp.splitlines(keepends=True):
        if line.startswith(_ICE):
            continue
        if line.startswith(b"a=rtcp:"):
            number, space, _ = line.partition(b" ")
            line = number + line[len(line.rstrip(b"\r\n")) :] if space else line
        elif line.startswith(b"m="):
            words = line.split(b" ", 2)
            media += len(words) == 3 and words[1].partition(b"/")[0].strip(b"0") != b""
            if media > MOST_MEDIA:
                line = b" ".join((words[0], b"0", *words[2:]))
        kept.append(line)
    return b"".join(kept)


def _places(sdp: bytes) -> set[bytes]:
    """The addresses of all `c=` lines."""
    lines = sdp.replace(b"\r", b"\n").split(b"\n")
    return {line.split()[-1] for line in lines if line.startswith(b"c=")}


def _encryption(sdp: bytes) -> dict[str, Encodable]:
    """Keys that make rtpengine offer the encryption that was offered to it, and no other."""
    if b"a=fingerprint:" in sdp:
        return {"SDES": ["off"]}
    if b"a=crypto:" not in sdp and b"SAVP" not in sdp:
        return {"DTLS": "off"}  # nothing is encrypted, so nothing is added
    lines = sdp.replace(b"\r", b"\n").split(b"\n")
    offered = {word for line in lines if line.startswith(b"a=crypto:") for word in line.split()[1:2]}
    return {"DTLS": "off", "SDES": [f"no-{suite}" for suite in SUITES if suite.encode() not in offered]}
