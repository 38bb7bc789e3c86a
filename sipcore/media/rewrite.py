"""Session descriptions on their way through the relay: only places are changed.

Codecs, their parameters, `a=crypto`, `a=fingerprint`, telephone events, video and lines nobody here knows pass as they
are. What would lead media past the relay, or onto one port, is taken out: ICE (RFC 8839), rtcp-mux (RFC 5761), BUNDLE
(RFC 9143).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sipcore.protocol.errors import SipError
from sipcore.protocol.headers import parse_number
from sipcore.protocol.sdp import Connection, Media, Origin, Session, parse_sdp

from .errors import MediaRefused
from .ports import plain_address

MAX_MEDIA = 16

ICE = (
    "candidate", "remote-candidates", "end-of-candidates", "ice-lite", "ice-mismatch", "ice-ufrag", "ice-pwd",
    "ice-options", "ice-pacing",
)  # fmt: skip
ONE_PORT = ("rtcp-mux", "rtcp-mux-only", "bundle-only")
_OF_A_MEDIUM = frozenset((*ICE, *ONE_PORT, "rtcp"))
"""Taken out; what stands before the first medium and belongs to one too, since nobody knows who heeds it there. For
``rtcp`` comes our own."""

Address = tuple[str, int]


class Place(NamedTuple):
    """What one ``m=`` line says about its sender."""

    kind: str
    protocol: str
    rejected: bool  # port 0
    rtp: Address | None  # where it wants to receive; None: nowhere (0.0.0.0), or a name
    rtcp: Address | None
    zero: bool  # 0.0.0.0: the hold of old phones (RFC 3264 8.4)
    listens: bool  # it wants media: not sendonly, inactive or 0.0.0.0
    talks: bool  # both ways: sendrecv
    media: Media  # of which this is the place

    @property
    def rates(self) -> dict[int, int]:
        """Hertz of each payload type."""
        return self.media.rates

    @property
    def plain(self) -> bool:
        """Datagrams on this port may be other than RTP (T.38, DTLS handshakes, BFCP ...)."""
        return "RTP/" not in self.protocol or "TLS" in self.protocol

    @property
    def encrypted(self) -> bool:
        return "SAVP" in self.protocol


def read(sdp: bytes) -> Session:
    """Raises MediaRefused."""
    try:
        session = parse_sdp(sdp)
    except SipError as error:
        raise MediaRefused(f"Failed to parse SDP: {error.reason}") from None
    if len(session.media) > MAX_MEDIA:
        raise MediaRefused("Too many media")
    return session


def places(session: Session) -> list[Place]:
    return [_place(session, media) for media in session.media]


def family_of(session: Session) -> str:
    """The family its writer uses: "IP4" or "IP6"."""
    for connection in (*(media.connection for media in session.media), session.connection):
        if connection is not None:
            return connection.address_type
    return session.origin.address_type


def rewrite(session: Session, advertised: str, ports: Sequence[int]) -> bytes:
    """The description with our places in it: ``ports`` is the RTP port of each medium, 0 where it is rejected.

    A place of 0.0.0.0 (RFC 3264 8.4, hold of old phones) is told as such."""
    family = "IP6" if ":" in advertised else "IP4"
    ours = Connection(family, advertised)
    zero = Connection(family, "::" if family == "IP6" else "0.0.0.0")
    for port, media in zip(ports, session.media, strict=True):
        media.port = port
        media.port_count = 1
        if media.connections or session.connection is None:
            media.connections = [zero if _is_zero(session.connection_of(media)) else ours]
        media.attributes = [
            ("rtcp", str(port + 1)) if line[0] == "rtcp" else line
            for line in media.attributes
            if line[0] not in _OF_A_MEDIUM or (port and line[0] == "rtcp")
        ]
    origin = session.origin
    session.origin = Origin(origin.username, origin.session_id, origin.version, family, advertised)
    if session.connection is not None:
        session.connection = zero if _is_zero(session.connection) else ours
    if session.attributes:
        session.attributes = [line for line in session.attributes if line[0] not in _OF_A_MEDIUM and not _bundles(line)]
    return session.to_bytes()


def _place(session: Session, media: Media) -> Place:
    connection = session.connection_of(media)
    host = _host(connection)
    listening = not _is_zero(connection)
    rtp = (host, media.port) if host and listening and media.port else None
    rtcp = (host, media.port + 1) if rtp is not None and media.port < 65_535 else None
    own = media.get("rtcp")
    if own and rtp is not None:
        number, _, rest = own.partition(" ")
        port = parse_number(number)
        if port is not None and 0 < port < 65_536:
            words = rest.split()
            elsewhere = _host(Connection(words[1], words[2])) if len(words) == 3 else host
            rtcp = (elsewhere, port) if elsewhere else None
    direction = session.direction_of(media)
    return Place(
        kind=media.kind,
        protocol=media.protocol,
        rejected=media.rejected,
        rtp=rtp,
        rtcp=rtcp,
        zero=not listening,
        listens=listening and direction in ("sendrecv", "recvonly"),
        talks=listening and direction == "sendrecv",
        media=media,
    )


def _host(connection: Connection | None) -> str:
    """The address; "" for none or a name, which the relay does not look up: it learns the source instead."""
    if connection is None:
        return ""
    try:
        return plain_address(connection.address.partition("/")[0])
    except ValueError:
        return ""


def _is_zero(connection: Connection | None) -> bool:
    if connection is None or ":" not in connection.address:
        return connection is not None and connection.address.partition("/")[0] == "0.0.0.0"
    return _host(connection) in ("0.0.0.0", "::")


def _bundles(line: tuple[str, str | None]) -> bool:
    return line[0] == "group" and (line[1] or "").upper().startswith("BUNDLE")
