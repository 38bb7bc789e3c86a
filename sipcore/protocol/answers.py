"""Answers of finished transactions, kept for repetitions of their requests (RFC 3261 17.2.2, state COMPLETED).

Thousands end each second and each is kept for half a minute. So what is kept is what a repetition does not bring along
itself: the status and the lines that are no copies of the request's. The To-tag is made of the request (RFC 3261
8.2.7). And they go by whole slices of time: no timer for each, and nothing is looked at to be forgotten."""

from __future__ import annotations

from collections.abc import Callable

from .flow import Flow
from .message import Request, Response, make_response

LARGE, ALL_LARGE = 4096, 4 * 1024 * 1024
"""Bytes: of one answer, and of all that are longer. Those beyond are not kept, and no ordinary one is lost for them."""

OVERHEAD = 120
"""Bytes that one answer takes in memory beside its own."""

SLICES = 8
"""Of one lifetime. More would be kept more exactly, and each new request is looked for in all of them."""

_MARK = 8  # bytes
_COPIED = frozenset(("Via", "From", "To", "Call-ID", "CSeq", "Record-Route"))
_NEWLINE = "\r\n"
_START = b"SIP/2.0 "
_NO_BODY = b"Content-Length: 0\r\n\r\n"


class _Slice(dict[int, bytes]):
    """The answers by their keys, and when they may go. ``size``, ``large``: bytes, of all and of the large ones."""

    __slots__ = ("end", "large", "size")

    def __init__(self, end: float) -> None:
        super().__init__()
        self.end = end
        self.size = self.large = 0


class Answers:
    """``lifetime`` in seconds, at least; ``memory``: bytes they may take in all, the oldest slice goes first;
    ``add_to_tag`` adds to a response the To-tag that belongs to its request."""

    def __init__(self, lifetime: float, memory: int, add_to_tag: Callable[[Request, Response, Flow], object]) -> None:
        self._lifetime, self._memory, self._add_to_tag = lifetime, memory, add_to_tag
        self._slices: list[_Slice] = []  # the newest last
        self._size = self._large = 0

    def __len__(self) -> int:
        return sum(len(one) for one in self._slices)

    def __contains__(self, key: str) -> bool:
        digest = _digest(key)
        for one in self._slices:  # noqa: SIM110 - three times as fast as any()
            if digest in one:
                return True
        return False

    def find(self, key: str, request: Request, flow: Flow) -> bytes | None:
        """The answer to ``request``, which repeats the one that had this transaction key; None when it is new. One of
        another Call-ID or CSeq is new, although its sender used a branch twice: what was answered to the other one
        is not true of it."""
        digest = _digest(key)
        for one in reversed(self._slices):
            if digest in one:
                kept = one[digest]
                return self._whole(kept[_MARK:], request, flow) if kept[:_MARK] == _mark(request) else None
        return None

    def keep(self, key: str, request: Request, response: Response, data: bytes, now: float) -> None:
        """``data`` are the bytes of ``response`` to ``request``, which was made by make_response."""
        self.keep_short(key, request, _short(response, data) if response.copied else data, now)

    def keep_short(self, key: str, request: Request, data: bytes, now: float) -> None:
        """``data``: status, reason and the lines that are no copies, each with its line end before and behind it."""
        data = _mark(request) + data
        size = len(data) + OVERHEAD
        slices = self._slices
        if not slices or slices[-1].end < now + self._lifetime or slices[-1].size * SLICES > self._memory:
            slices.append(_Slice(now + self._lifetime * (1 + 1 / SLICES)))
        newest = slices[-1]
        if len(data) > LARGE + _MARK:
            if self._large + size > ALL_LARGE:
                return  # a repetition will be answered as if it were new
            self._large += size
            newest.large += size
        newest[_digest(key)] = data
        newest.size += size
        self._size += size
        while self._size > self._memory and len(slices) > 1:
            self._forget_oldest()

    def next_end(self) -> float | None:
        """When :meth:`forget` is next worth calling."""
        return self._slices[0].end if self._slices else None

    def forget(self, now: float) -> None:
        while self._slices and self._slices[0].end <= now:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self._slices.pop(0)
        self._size -= oldest.size
        self._large -= oldest.large

    def _whole(self, kept: bytes, request: Request, flow: Flow) -> bytes:
        if kept.startswith(_START):
            return kept
        start, _, own = kept.partition(b"\r\n")
        copies = make_response(request, int(start[:3]))
        self._add_to_tag(request, copies, flow)
        lines = copies.to_bytes().partition(b"\r\n")[2].removesuffix(_NO_BODY)
        end = b"" if b"\r\n\r\n" in own else _NO_BODY
        return b"%b%b\r\n%b%b%b" % (_START, start, lines, own, end)


def _short(response: Response, data: bytes) -> bytes:
    """The end of the first line, and all behind the copied ones: the first header that is none is there only once."""
    headers = response.headers
    name = headers[response.copied][0] if len(headers) > response.copied else "Content-Length"
    if name in _COPIED:
        return data
    own = data.index((_NEWLINE + name + ": ").encode())
    end = len(data) if response.body else -len(_NO_BODY)
    return data[len(_START) : data.index(b"\r")] + data[own:end]


def _mark(request: Request) -> bytes:
    """What a repetition has and another request has not."""
    get = request.firsts.get if request.firsts is not None else request.get
    return hash((get("Call-ID"), get("CSeq"))).to_bytes(_MARK, "big", signed=True)


def _digest(key: str) -> int:
    """About 120 bits instead of the text. The hash of a text is keyed anew in each process (SipHash, PEP 456): nobody
    outside can find two requests that have the same one."""
    return hash(key) << 60 ^ hash(key + "\n")
