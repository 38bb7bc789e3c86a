"""What a media engine has counted: the facts behind "no audio from 1002"."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .bencode import Decoded


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """What has arrived on one socket of the engine, from one phone."""

    packets: int = 0
    bytes: int = 0  # of UDP payload
    lost: int | None = None  # packets; None where the engine cannot tell (rtpengine without RTCP)
    jitter: float | None = None  # milliseconds (RFC 3550 6.4.1); None likewise
    first_packet: float | None = None  # seconds since 1970; None: none came, or rtpengine
    last_packet: float | None = None  # seconds since 1970; None: none came
    elsewhere: int = 0  # packets refused for the address they came from (rtpengine: its errors, mostly these)
    source: tuple[str, int] | None = None  # where media is sent to, as far as it is known
    local_port: int = 0  # ours; 0 when closed


NOTHING = StreamFigures()


@dataclass(frozen=True, slots=True)
class MediaFigures:
    """One medium (``m=`` line) of one party: what this party has sent."""

    tag: str  # "" until the party has answered
    via_branch: str
    index: int  # from 1, as in the session description
    kind: str  # "audio", "video" ...
    rtp: StreamFigures
    rtcp: StreamFigures


@dataclass(frozen=True, slots=True)
class CallMedia:
    """The answer to ``query`` and ``delete``."""

    call_id: str
    created: float  # seconds since 1970
    medias: tuple[MediaFigures, ...] = field(default=())

    def of(self, tag: str) -> tuple[MediaFigures, ...]:
        """What the party with this tag has sent."""
        return tuple(media for media in self.medias if media.tag == tag)

    def packets(self, tag: str, kind: str = "audio") -> int:
        """RTP packets from that party; 0 is "no audio from it"."""
        return sum(media.rtp.packets for media in self.of(tag) if media.kind == kind)

    def elsewhere(self, tag: str) -> int:
        """RTP packets for that party's ports that came from other addresses: evidence for ``media_from_elsewhere``."""
        return sum(media.rtp.elsewhere for media in self.of(tag))

    def last_packet(self, tag: str = "") -> float | None:
        """When RTP last came from that party (from anybody without a tag), in seconds since 1970; None: never."""
        times = [media.rtp.last_packet for media in self.medias if not tag or media.tag == tag]
        return max((time for time in times if time is not None), default=None)

    def silent_for(self, now: float, tag: str = "") -> float:
        """Seconds since the last RTP from that party (from anybody without a tag), or since the call began."""
        return max(0.0, now - (self.last_packet(tag) or self.created))


def read_call_media(call_id: str, reply: Mapping[str, Decoded]) -> CallMedia:
    """From the reply to ``query`` or ``delete``; what is missing or of the wrong type counts as not there."""
    medias: list[MediaFigures] = []
    ssrcs = _table(reply.get("SSRC"))
    for name, entry in _table(reply.get("tags")).items():
        party = _table(entry)
        tag = _text(party.get("tag")) if "tag" in party else name
        for media in map(_table, _list(party.get("medias"))):
            streams = _list(media.get("streams"))
            rtp = _stream(_table(streams[0]), ssrcs) if streams else NOTHING
            rtcp = _stream(_table(streams[1]), ssrcs) if len(streams) > 1 else NOTHING
            branch = _text(media.get("via-branch", party.get("via-branch")))
            medias.append(MediaFigures(tag, branch, _number(media.get("index")), _text(media.get("type")), rtp, rtcp))
    created = _number(reply.get("created")) + _number(reply.get("created_us")) / 1e6
    return CallMedia(call_id, created, tuple(medias))


def _stream(stream: Mapping[str, Any], ssrcs: Mapping[str, Any]) -> StreamFigures:
    stats, endpoint = _table(stream.get("stats")), _table(stream.get("endpoint"))
    report = _table(ssrcs.get(str(stream.get("SSRC"))))
    lost, jitter = stream.get("lost"), stream.get("jitter us")
    if not isinstance(lost, int):
        lost = report.get("cumulative loss")
    if isinstance(jitter, int):
        milliseconds: float | None = jitter / 1000
    else:
        average = _table(report.get("average MOS")).get("jitter")
        milliseconds = float(average) if isinstance(average, int) else None
    packets = _number(stats.get("packets"))
    return StreamFigures(
        packets=packets,
        bytes=_number(stats.get("bytes")),
        lost=lost if isinstance(lost, int) else None,
        jitter=milliseconds,
        first_packet=_time(stream, "first packet"),
        last_packet=_time(stream, "last packet") if packets else None,
        elsewhere=_number(stream.get("elsewhere", stats.get("errors"))),
        source=(_text(endpoint["address"]), _number(endpoint.get("port"))) if endpoint.get("address") else None,
        local_port=_number(stream.get("local port")),
    )


def _time(stream: Mapping[str, Any], name: str) -> float | None:
    fine = stream.get(f"{name} us")
    if isinstance(fine, int) and fine > 0:
        return fine / 1e6
    coarse = stream.get(name)
    return float(coarse) if isinstance(coarse, int) and coarse > 0 else None


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""
