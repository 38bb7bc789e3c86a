"""The media engine of the calls: the pool of ``ng`` relays, ours or rtpengine, behind the words that a call uses."""

from __future__ import annotations

import asyncio

from sipcore.calls.ports import Heard, Side
from sipcore.media.errors import MediaError, MediaRefused
from sipcore.media.figures import CallMedia
from sipcore.media.ng import Path
from sipcore.media.pool import NgPool


class NgMedia:
    """Fulfils :class:`sipcore.calls.ports.Media`."""

    def __init__(self, pool: NgPool) -> None:
        self._pool = pool

    async def offer(
        self, call: str, tag: str, sdp: bytes, *, sender: Side, receiver: Side, to_tag: str = "", branch: str = ""
    ) -> bytes:
        return await self._pool.offer(call, tag, sdp, to_tag=to_tag, via_branch=branch, path=_path(sender, receiver))

    async def answer(
        self, call: str, tag: str, to_tag: str, sdp: bytes, *, sender: Side, receiver: Side, branch: str = ""
    ) -> bytes:
        if not sdp:
            raise MediaRefused("no session description")
        return await self._pool.answer(call, tag, to_tag, sdp, via_branch=branch, path=_path(sender, receiver))

    async def echo(self, call: str, tag: str, sdp: bytes, *, sender: Side) -> bytes:
        return await self._pool.echo(call, tag, tag + "e", sdp, path=_path(sender, sender))

    async def available(self, seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not self._pool.alive:
            if loop.time() >= end:
                return False
            await asyncio.sleep(0.1)
        return True

    async def delete(self, call: str, tag: str = "", branch: str = "") -> list[Heard]:
        try:
            return _heard(await self._pool.delete(call, tag, via_branch=branch))
        except MediaError:
            return []

    async def heard(self, call: str) -> list[Heard]:
        try:
            return _heard(await self._pool.query(call))
        except MediaError:
            return []


def _heard(figures: CallMedia | None) -> list[Heard]:
    return [
        Heard(
            media.tag,
            media.rtp.packets,
            media.rtp.bytes,
            media.rtp.lost or 0,
            media.rtp.jitter or 0.0,
            media.rtp.first_packet,
            media.rtp.last_packet,
            media.rtp.elsewhere,
        )
        for media in (figures.medias if figures is not None else ())
        if media.kind == "audio" and media.tag
    ]


def _path(sender: Side, receiver: Side) -> Path:
    return Path(received_from=sender.signalling, media_address=receiver.advertise, from_anywhere=sender.anywhere)
