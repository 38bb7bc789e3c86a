"""The reply to ``query`` and ``delete``: rtpengine's keys, and beside them those that only we have.

``lost`` packets, ``jitter us`` (microseconds), ``first packet us`` and ``last packet us`` (microseconds since 1970),
``elsewhere`` packets refused for their source.
"""

from __future__ import annotations

import time

from .bencode import Encodable
from .call import Branch, Call, Medium
from .stream import Stream

Table = dict[str, Encodable]


def call_counts(call: Call, branches: list[Branch], now: float, *, brief: bool = False) -> Table:
    """``now``: the loop's monotonic time in seconds, in which the streams count. ``brief``: of RTP alone, and of a
    stream on which nothing came, nothing: this is told of every call, and taken apart again."""
    to_wall = time.time() - now
    tags: dict[str, Encodable] = {}
    for number, branch in enumerate(branches):
        near, far = branch.sides
        for side, other in ((near, far), (far, near)):
            medias: list[Encodable] = [
                _medium(medium, index, branch.name, to_wall, brief) for index, medium in enumerate(side.media, 1)
            ]
            name = side.tag or f"<untagged {number}>"
            known = tags.get(name)
            if isinstance(known, dict) and isinstance(known["medias"], list):  # the caller, towards another device
                known["medias"] += medias
                continue
            entry: Table = {"tag": side.tag, "in dialogue with": other.tag, "medias": medias}
            if side is far and branch.name:
                entry["via-branch"] = branch.name
            tags[name] = entry
    whole = int(call.created)
    return {
        "created": whole,
        "created_us": int((call.created - whole) * 1e6),
        "last signal": int(call.touched + to_wall),
        "tags": tags,
    }


def _medium(medium: Medium, index: int, branch: str, to_wall: float, brief: bool) -> Table:
    place, rtp = medium.place, medium.rtp
    if brief:
        heard = rtp is not None and (rtp.packets or rtp.elsewhere or rtp.junk)
        streams: list[Encodable] = [_stream(rtp, to_wall)] if rtp is not None and heard else []
        return {"index": index, "type": place.kind if place else "", "streams": streams}
    return {
        "index": index,
        "type": place.kind if place else "",
        "protocol": place.protocol if place else "",
        "via-branch": branch,
        "streams": [_stream(stream, to_wall) for stream in (medium.rtp, medium.rtcp) if stream is not None],
    }


def _stream(stream: Stream, to_wall: float) -> Table:
    where = stream.locked or stream.destination
    entry: Table = {
        "local port": stream.port,
        "flags": ["RTCP" if stream.rtcp else "RTP"] + (["confirmed"] if stream.locked else []),
        "stats": {"packets": stream.packets, "bytes": stream.bytes, "errors": stream.elsewhere + stream.junk},
        "elsewhere": stream.elsewhere,
    }
    if where is not None:
        entry["endpoint"] = {"family": "IPv6" if ":" in where[0] else "IPv4", "address": where[0], "port": where[1]}
    if stream.packets:
        entry["last packet"] = int(stream.last + to_wall)
        entry["last packet us"] = int((stream.last + to_wall) * 1e6)
        entry["first packet us"] = int((stream.first + to_wall) * 1e6)
        if not stream.rtcp:
            entry["SSRC"] = stream.ssrc
            entry["lost"] = stream.lost
            entry["jitter us"] = int(stream.jitter * 1e6 / stream.rate)
    return entry
