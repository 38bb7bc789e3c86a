"""Messages cut from a stream (RFC 3261 18.3): bytes go in as they come, whole messages come out.

Linear whatever the pieces are: nothing that was looked at is looked at again. A stream whose cuts can no longer be
told is broken for good; what the other end must be told, if anything, is in `fault` and `rest`.
"""

import re

from .errors import SipError, Unanswerable
from .headers import parse_number
from .message import MAX_MESSAGE

MAX_HEAD = 32_768
"""Bytes of a message before its empty line: so much a stranger can make us keep without ever completing one."""

PING = b"\r\n\r\n"
"""The keep-alive of RFC 5626 3.5.1, handed out among the messages; the endpoint answers it."""

_END = b"\r\n\r\n"
_FOLD = re.compile(rb"\r\n[ \t]+")
# RFC 3261 25.1: Content-Length = ( "Content-Length" / "l" ) HCOLON 1*DIGIT
_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*:([^\r]*)", re.IGNORECASE)
_BLANK = re.compile(rb"[\r\n]*")
_TOKEN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~")
_TLS_HANDSHAKE = b"\x16\x03"


class TlsHello(Unanswerable):
    """The other end speaks TLS where we speak plain TCP."""

    def __init__(self) -> None:
        super().__init__("TLS On Plain TCP")


class StreamFramer:
    """One direction of one connection.

    fault: why nothing more can be cut, or None. Its status is 400 when the sender deserves to be told, else 0.
    rest: with a fault, what could be read of the message that broke the stream (its head).
    """

    __slots__ = ("_blank", "_buffer", "_head", "_length", "_line_is_good", "_scanned", "fault", "rest")

    def __init__(self) -> None:
        self.fault: SipError | None = None
        self.rest = b""
        self._buffer = bytearray()
        self._blank = b""  # how much of a PING has come between two messages
        self._head = self._length = self._scanned = 0
        self._line_is_good = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take what came; returns the messages that are complete now, in order. Raises nothing.

        Keep-alives between two messages are handed out as one `PING`, however many came at once.
        """
        messages: list[bytes] = []
        buffer = self._buffer
        if self.fault is None:
            buffer += data
        while buffer:
            if not self._length:
                if not self._scanned and self._skip_blank():
                    messages.append(PING)
                if not buffer or not self._find_head():
                    break
            if len(buffer) < self._length:
                break
            messages.append(bytes(buffer[: self._length]))
            del buffer[: self._length]
            self._forget_head()
        return messages

    @property
    def begun(self) -> bool:
        """Whether a message has begun and is not complete."""
        return bool(self._buffer)

    @property
    def buffered(self) -> int:
        """Bytes kept of an incomplete message."""
        return len(self._buffer)

    def give_up(self) -> None:
        """The rest of the message does not come: the connection ended, or it took too long (a Content-Length that
        promises more than is sent). Sets `fault`."""
        if self.fault is None:
            incomplete = SipError(400, "Incomplete Message") if self._length else Unanswerable("Incomplete Message")
            self._break(incomplete, self._head)

    def _skip_blank(self) -> bool:
        """Drop the line ends before a message (RFC 3261 7.5). Whether a whole PING was among them."""
        found = _BLANK.match(self._buffer)
        end = found.end() if found else 0
        del found  # it keeps the buffer from being resized
        run = self._blank + self._buffer[:end]
        del self._buffer[:end]
        *pings, tail = run.split(PING)
        self._blank = b""
        if not self._buffer:
            self._blank = next(part for part in (b"\r\n\r", b"\r\n", b"\r", b"") if tail.endswith(part))
        return bool(pings)

    def _find_head(self) -> bool:
        """Whether the empty line is here; then `_length` is the length of the whole message. May set `fault`."""
        buffer = self._buffer
        if not self._line_is_good and not self._check_start():
            return False
        end = buffer.find(_END, max(0, self._scanned - len(_END) + 1), MAX_HEAD)
        if end >= 0:
            return self._read_length(end)
        self._scanned = len(buffer)
        if len(buffer) >= MAX_HEAD:
            self._break(SipError(400, "Header Too Long"), MAX_HEAD)
        return False

    def _check_start(self) -> bool:
        """Whether the first line is here and is one of SIP: strangers are known by it, long before an empty line."""
        buffer = self._buffer
        if buffer[0] not in _TOKEN:
            if buffer.startswith(_TLS_HANDSHAKE):
                self._break(TlsHello())
            elif buffer != _TLS_HANDSHAKE[:1]:
                self._break(Unanswerable("Not SIP"))
            return False
        end = buffer.find(b"\r\n", max(0, self._scanned - 1), MAX_HEAD)
        if end < 0:
            self._scanned = len(buffer)
            if len(buffer) >= MAX_HEAD:
                self._break(Unanswerable("Start Line Too Long"))
            return False
        line = bytes(buffer[:end]).upper()
        if not line.startswith(b"SIP/") and not line.rstrip(b" \t").rpartition(b" ")[2].startswith(b"SIP/"):
            self._break(Unanswerable("Not SIP"))
            return False
        self._line_is_good = True
        self._scanned = end
        return True

    def _read_length(self, end: int) -> bool:
        """Content-Length is required here (RFC 3261 20.14): without it nobody knows where the next message begins."""
        head = bytes(self._buffer[:end])
        self._head = end + len(_END)
        if b"\r\n " in head or b"\r\n\t" in head:
            head = _FOLD.sub(b" ", head)
        values = _LENGTH.findall(head)
        length = parse_number(values[0].decode("latin-1").strip(" \t")) if len(values) == 1 else None
        if length is None:
            fault = (
                "Bad Content-Length"
                if len(values) == 1
                else "Doubled Content-Length"
                if values
                else ("Missing Content-Length")
            )
            self._break(SipError(400, fault), self._head)
            return False
        if self._head + length > MAX_MESSAGE:
            self._break(SipError(400, "Message Too Large"), self._head)
            return False
        self._length = self._head + length
        return True

    def _break(self, fault: SipError, keep: int = 0) -> None:
        self.fault = fault
        self.rest = bytes(self._buffer[:keep])
        self._buffer.clear()

    def _forget_head(self) -> None:
        self._head = self._length = self._scanned = 0
        self._line_is_good = False
