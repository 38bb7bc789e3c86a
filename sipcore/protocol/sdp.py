"""Session descriptions (RFC 8866, RFC 3264): read leniently, written strictly, orders kept."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from .errors import SipError
from .uri import parse_host_port

MAX_SDP = 65_535  # bytes
MAX_LINES = 2_000
MAX_MEDIA = 64

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")

# RFC 3551 6: payload types that need no rtpmap
STATIC_PAYLOADS = {
    0: ("PCMU", 8000), 3: ("GSM", 8000), 4: ("G723", 8000), 5: ("DVI4", 8000), 6: ("DVI4", 16000), 7: ("LPC", 8000),
    8: ("PCMA", 8000), 9: ("G722", 8000), 10: ("L16", 44100), 11: ("L16", 44100), 12: ("QCELP", 8000), 13: ("CN", 8000),
    14: ("MPA", 90000), 15: ("G728", 8000), 16: ("DVI4", 11025), 17: ("DVI4", 22050), 18: ("G729", 8000),
    25: ("CelB", 90000), 26: ("JPEG", 90000), 28: ("nv", 90000), 31: ("H261", 90000), 32: ("MPV", 90000),
    33: ("MP2T", 90000), 34: ("H263", 90000),
}  # fmt: skip

Attribute = tuple[
    str, str | None
]  # `a=rtpmap:0 PCMU/8000` is ("rtpmap", "0 PCMU/8000"), `a=sendrecv` ("sendrecv", None)

_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,64}")
_PROTOCOL = re.compile(r"[!#$%&'*+\-./0-9A-Z^_`a-z{|}~]{1,64}")
_NOT_BLANK = re.compile("[^ ]").search
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_STRAY_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # all but tab and the ends of lines


class Origin(NamedTuple):
    """`o=`; the two numbers are kept as text: they are 64 bit and more in the field."""

    username: str
    session_id: str
    version: str
    address_type: str  # "IP4" or "IP6"
    address: str

    def __str__(self) -> str:
        return f"{self.username} {self.session_id} {self.version} IN {self.address_type} {self.address}"


class Connection(NamedTuple):
    """`c=`; address is an IP address or a name, with a TTL (`/127`) if it came with one."""

    address_type: str  # "IP4" or "IP6"
    address: str

    def __str__(self) -> str:
        return f"IN {self.address_type} {self.address}"


class Codec(NamedTuple):
    """One RTP payload type of a media line. Types are per leg: 101 here may be 96 there."""

    payload: int
    name: str  # as written; compare without case
    rate: int  # hertz
    channels: int
    fmtp: str  # "" when there is none


@dataclass(slots=True)
class _Attributes:
    attributes: list[Attribute] = field(default_factory=list, kw_only=True)

    def get(self, name: str) -> str | None:
        """The value of the first attribute of that name; "" for one without value, None when absent."""
        for known, value in self.attributes:
            if known == name:
                return value or ""
        return None

    def getall(self, name: str) -> list[str]:
        return [value or "" for known, value in self.attributes if known == name]

    def has(self, name: str) -> bool:
        return any(known == name for known, _ in self.attributes)

    def remove(self, *names: str) -> None:
        self.attributes[:] = [line for line in self.attributes if line[0] not in names]

    def add(self, name: str, value: str | None = None) -> None:
        self.attributes.append((name, value))

    def _own_direction(self) -> str | None:
        for name, _ in self.attributes:
            if name in DIRECTIONS:
                return name
        return None


@dataclass(slots=True)
class Media(_Attributes):
    """One `m=` and what follows it."""

    kind: str  # "audio", "video", "image" ...
    port: int  # 0: refused (RFC 3264 6)
    protocol: str  # "RTP/AVP" ...
    formats: list[str]  # payload types for RTP, in order of preference
    port_count: int = 1
    title: str | None = None
    connections: list[Connection] = field(default_factory=list)
    bandwidths: list[str] = field(default_factory=list)
    key: str | None = None

    @property
    def rejected(self) -> bool:
        return self.port == 0

    @property
    def connection(self) -> Connection | None:
        return self.connections[0] if self.connections else None

    @property
    def codecs(self) -> list[Codec]:
        """The RTP payload types in order of preference; those without a mapping that we know are left out."""
        maps = _by_payload(self.getall("rtpmap"))
        formats = _by_payload(self.getall("fmtp"))
        codecs = []
        for text in self.formats:
            payload = _number(text, 127)
            if payload is None:
                continue
            name, rate, channels = _encoding(maps.get(payload), payload)
            if name:
                codecs.append(Codec(payload, name, rate, channels, formats.get(payload, "")))
        return codecs

    @property
    def rates(self) -> dict[int, int]:
        """Hertz of each RTP payload type that we know."""
        maps = _by_payload(self.getall("rtpmap"))
        rates = {}
        for text in self.formats:
            payload = _number(text, 127)
            if payload is not None:
                name, rate, _ = _encoding(maps.get(payload), payload)
                if name:
                    rates[payload] = rate
        return rates

    @property
    def ptime(self) -> int | None:
        """Milliseconds of a packet, when it says so."""
        return _number((self.get("ptime") or "").partition(".")[0], 1000)


@dataclass(slots=True)
class Session(_Attributes):
    """A whole session description."""

    origin: Origin
    name: str = "-"
    information: str | None = None
    uri: str | None = None
    emails: list[str] = field(default_factory=list)
    phones: list[str] = field(default_factory=list)
    connection: Connection | None = None
    bandwidths: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=lambda: ["0 0"])  # each with its `r=` lines after it, as "r=..."
    zone: str | None = None
    key: str | None = None
    media: list[Media] = field(default_factory=list)

    def connection_of(self, media: Media) -> Connection | None:
        """Where this medium is received: its own `c=`, else that of the session (RFC 8866 5.7)."""
        return media.connection or self.connection

    def direction_of(self, media: Media) -> str:
        """sendrecv, sendonly, recvonly or inactive, seen from who wrote it (RFC 3264 5.1)."""
        return media._own_direction() or self._own_direction() or "sendrecv"

    def set_direction(self, media: Media, direction: str) -> None:
        """Write the direction into the medium, in place of what it said. Raises ValueError for an unknown word."""
        if direction not in DIRECTIONS:
            raise ValueError("no direction")
        media.remove(*DIRECTIONS)
        media.add(direction)

    def to_bytes(self) -> bytes:
        """The description in the order of RFC 8866 5, lines ended by CRLF; control characters cannot get out."""
        lines = ["v=0", f"o={self.origin}", f"s={self.name or '-'}"]
        if self.information or self.uri or self.emails or self.phones:
            lines += [f"{letter}={value}" for letter, value in (("i", self.information), ("u", self.uri)) if value]
            lines += [f"e={value}" for value in self.emails] + [f"p={value}" for value in self.phones]
        if self.connection:
            lines.append(f"c={self.connection}")
        if self.bandwidths:
            lines += [f"b={value}" for value in self.bandwidths]
        lines += [value if value.startswith("r=") else f"t={value}" for value in self.times or ["0 0"]]
        if self.zone or self.key:
            lines += [f"{letter}={value}" for letter, value in (("z", self.zone), ("k", self.key)) if value]
        if self.attributes:
            lines += _attribute_lines(self.attributes)
        for media in self.media:
            port = f"{media.port}/{media.port_count}" if media.port_count > 1 else str(media.port)
            lines.append(f"m={media.kind} {port} {media.protocol} {' '.join(media.formats)}")
            if media.title:
                lines.append(f"i={media.title}")
            if media.connections or media.bandwidths:
                lines += [f"c={value}" for value in media.connections] + [f"b={value}" for value in media.bandwidths]
            if media.key:
                lines.append(f"k={media.key}")
            if media.attributes:
                lines += _attribute_lines(media.attributes)
        text = "\n".join(lines)
        if text.count("\n") != len(lines) - 1 or _STRAY_CONTROL.search(text) or "\t" in text or "\r" in text:
            text = "\n".join([_CONTROL.sub("", line) for line in lines])
        text = text.replace("\n", "\r\n") + "\r\n"
        return text.encode("utf-8", "backslashreplace")


def parse_sdp(data: bytes) -> Session:
    """Read a session description. Raises SipError 400. Linear in its length.

    Lenient: bare LF as line end, lines out of order, no `t=`, no `s=`, unknown lines (dropped), control characters
    (replaced). Not lenient: no `v=0` first, no `o=`, a broken `m=` or `c=`.
    """
    if len(data) > MAX_SDP:
        raise SipError(400, "SDP Too Long")
    text = data.decode("utf-8", "replace").replace("\t", " ")
    text = _STRAY_CONTROL.sub("\ufffd", text)  # here and not on the way out: what is left of a line must still be one
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > MAX_LINES:
        raise SipError(400, "SDP Too Long")
    lines = list(filter(_NOT_BLANK, lines))
    if not lines or lines[0].replace(" ", "") != "v=0":
        raise SipError(400, "Bad SDP Version")
    for line in lines:
        if line[:2] == "o=":
            session = Session(_origin(line[2:]), times=[])
            break
    else:
        raise SipError(400, "SDP Without Origin")
    media: Media | None = None
    attributes = session.attributes
    for line in lines[1:]:
        if line[1:2] != "=":
            raise SipError(400, "Bad SDP Line")
        letter, value = line[0], line[2:]
        if letter == "a":
            name, colon, rest = value.partition(":")
            if _TOKEN.fullmatch(name) is None:
                raise SipError(400, "Bad SDP Attribute")
            attributes.append((name, rest if colon else None))
        elif letter == "m":
            if len(session.media) >= MAX_MEDIA:
                raise SipError(400, "Too Many Media")
            media = _media(value)
            session.media.append(media)
            attributes = media.attributes
        elif media is not None:
            _media_line(media, letter, value)
        else:
            _session_line(session, letter, value)
    if not session.times:
        session.times.append("0 0")
    return session


def _session_line(session: Session, letter: str, value: str) -> None:
    match letter:
        case "s":
            session.name = value.strip(" ") or "-"
        case "t":
            session.times.append(value)
        case "c":
            session.connection = _connection(value)
        case "i":
            session.information = value
        case "u":
            session.uri = value
        case "e":
            session.emails.append(value)
        case "p":
            session.phones.append(value)
        case "b":
            session.bandwidths.append(value)
        case "r":
            session.times.append(f"r={value}")
        case "z":
            session.zone = value
        case "k":
            session.key = value


def _media_line(media: Media, letter: str, value: str) -> None:
    match letter:
        case "i":
            media.title = value
        case "c":
            media.connections.append(_connection(value))
        case "b":
            media.bandwidths.append(value)
        case "k":
            media.key = value


def _media(value: str) -> Media:
    words = value.split()
    if len(words) < 3 or _TOKEN.fullmatch(words[0]) is None or _PROTOCOL.fullmatch(words[2]) is None:
        raise SipError(400, "Bad SDP Media")
    port_text, slash, count_text = words[1].partition("/")
    port, count = _number(port_text, 65535), _number(count_text, 1000) if slash else 1
    formats = words[3:]
    if port is None or not count or not _are_visible(formats):
        raise SipError(400, "Bad SDP Media")
    return Media(words[0], port, words[2], formats, port_count=count)


def _origin(value: str) -> Origin:
    words = value.split()
    if len(words) != 6 or words[3] != "IN" or words[4] not in ("IP4", "IP6"):
        raise SipError(400, "Bad SDP Origin")
    if not _are_visible([words[1], words[2], words[5]]):
        raise SipError(400, "Bad SDP Origin")
    return Origin(words[0], words[1], words[2], words[4], words[5])


def _connection(value: str) -> Connection:
    words = value.split()
    if len(words) != 3 or words[0] != "IN" or words[1] not in ("IP4", "IP6"):
        raise SipError(400, "Bad SDP Connection")
    host, _, rest = words[2].partition("/")
    parse_host_port(f"[{host}]" if ":" in host else host)
    if rest and not all(_number(part, 65535) is not None for part in rest.split("/")):
        raise SipError(400, "Bad SDP Connection")
    return Connection(words[1], words[2])


def _are_visible(words: list[str]) -> bool:
    """Whether these words, of which none is empty or has a blank, are of visible ASCII characters, at most 255 each."""
    text = "".join(words)
    return text.isascii() and text.isprintable() and (len(text) <= 255 or max(map(len, words)) <= 255)


def _attribute_lines(attributes: list[Attribute]) -> list[str]:
    return [f"a={name}" if value is None else f"a={name}:{value}" for name, value in attributes]


def _by_payload(values: list[str]) -> dict[int, str]:
    """`96 opus/48000/2` -> {96: "opus/48000/2"}; the first one of a payload type counts."""
    found: dict[int, str] = {}
    for value in values:
        number, _, rest = value.strip(" \t").partition(" ")
        payload = _number(number, 127)
        if payload is not None:
            found.setdefault(payload, rest.strip(" \t"))
    return found


def _encoding(rtpmap: str | None, payload: int) -> tuple[str, int, int]:
    if rtpmap is None:
        name, rate = STATIC_PAYLOADS.get(payload, ("", 0))
        return name, rate, 2 if payload == 10 else 1
    name, _, rest = rtpmap.partition("/")
    rate_text, _, channels = rest.partition("/")
    found = _number(rate_text, 10_000_000)
    return (name, found, _number(channels, 255) or 1) if found and _TOKEN.fullmatch(name) else ("", 0, 1)


def _number(text: str, limit: int) -> int | None:
    """ASCII digits up to `limit`, else None (hardening rule 30)."""
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    number = int(text)
    return number if number <= limit else None
