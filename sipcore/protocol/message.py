"""Requests and responses (RFC 3261 7): split at once, understood when asked, written strictly."""

import re
from collections.abc import Callable, Iterable
from itertools import repeat
from operator import contains
from typing import Any, Generic, NamedTuple, Self, TypeVar, overload

from .errors import SipError, Unanswerable
from .headers import (
    STAR,
    TOKEN,
    Contact,
    NameAddr,
    Star,
    Via,
    clean_text,
    parse_contact,
    parse_name_addr,
    parse_number,
    parse_via,
    split_list,
)
from .names import CANONICAL, KNOWN_METHODS, LOWER, SINGLE
from .names import REASONS as REASONS
from .ordinary import ordinary
from .uri import Uri, parse_uri

MAX_MESSAGE = 65_535  # bytes (RFC 3261 18.1.1)
MAX_HEADERS = 128  # header lines
MAX_LINE = 32_768  # characters of one header line
MAX_NAME = 256  # characters of one header name
MAX_METHOD = 64  # characters
MAX_VALUES = 256  # of one name, over all its lines; commas count. No stranger's packet may cost more than about 1 ms

_ONCE = ("Via", "From", "To", "Call-ID", "CSeq")
_COPIED = frozenset(_ONCE)
_COPIED_RECORD_ROUTE = _COPIED | {"Record-Route"}
_DIALOG_FORMING = frozenset(("INVITE", "SUBSCRIBE", "REFER"))
_UNHOPPED = frozenset(("REGISTER", "ACK", "CANCEL"))

# RFC 3261 25.1: callid = word [ "@" word ], read leniently as anything visible
_CALL_ID = re.compile(r"[\x21-\x7e]{1,1024}")
_FOLD = re.compile(r"\r\n[ \t]+")
SPELLING = CANONICAL.__getitem__
# the start line that nearly all have; the Request-URI is read later
_REQUEST_LINE = re.compile(r"([A-Z]++) ([^ \r\n]++) SIP/2\.0(?=\r\n)")
_CSEQ = re.compile(r"([0-9]{1,9}+) ([A-Z]++)")
_CONTROL_BYTES = bytes(set(range(32)) - {9, 10} | {127})
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_VERSION = re.compile(r"[Ss][Ii][Pp]/[0-9]{1,9}\.[0-9]{1,9}")

_NOTHING: frozenset[str] = frozenset()

T = TypeVar("T")


class CSeq(NamedTuple):
    number: int
    method: str


@ordinary
class Lazy(Generic[T]):
    """Computed at the first look, then an ordinary attribute (functools.cached_property takes a lock in 3.11)."""

    def __init__(self, read: Callable[[Any], T]) -> None:
        self.read = read
        self.__doc__ = read.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, message: None, owner: type) -> Self: ...
    @overload
    def __get__(self, message: "Message", owner: type) -> T: ...
    def __get__(self, message: "Message | None", owner: type) -> T | Self:
        if message is None:
            return self
        value = message.__dict__[self.name] = self.read(message)
        return value


_LAZY_OF = {
    "Via": ("via",),
    "From": ("from_",),
    "To": ("to",),
    "Call-ID": ("call_id",),
    "CSeq": ("cseq",),
    "Max-Forwards": ("max_forwards",),
    "Expires": ("expires",),
    "Contact": ("contacts",),
    "Path": ("path",),
    "Supported": ("supported",),
    "Require": ("require",),
    "User-Agent": ("user_agent",),
}


def canonical_name(name: str) -> str:
    """The spelling we write: full form, known capitals. Raises SipError 400 for what is no header name.

    Only spaces and tabs may stand before the colon (hardening rule 17: `To\\x01:` is not To).
    """
    known = CANONICAL.get(name)
    if known is not None:
        return known
    name = name.rstrip(" \t")
    if len(name) > MAX_NAME or TOKEN.fullmatch(name) is None:
        raise SipError(400, "Bad Header Name")
    lower = name.lower()
    known = LOWER.get(lower)
    return known if known is not None else "-".join([part.capitalize() for part in lower.split("-")])


def _encode(text: str) -> bytes:
    """Bytes that were no UTF-8 leave as they came; surrogates that no bytes can have made become `?`."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


@ordinary
class Message:
    """What requests and responses share. `headers` keeps the order of arrival under canonical names.

    Read `headers` as you like, but change it through the methods: they also forget what was understood of it.
    """

    headers: list[tuple[str, str]]
    body: bytes
    firsts: dict[str, str] | None = None  # of a parsed message: the first value of each name
    single = False  # of a parsed message: no name stands twice, so `firsts` is all there is
    doubled = ""  # of a parsed message: a header that must stand once and does not

    def __init__(self, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> None:
        self.headers = [(canonical_name(name), value) for name, value in headers]
        self.body = body

    def get(self, name: str) -> str | None:
        """The first value of a header, its name in any case or short form; None when absent."""
        wanted = CANONICAL.get(name) or canonical_name(name)
        if self.firsts is not None:
            return self.firsts.get(wanted)
        for known, value in self.headers:
            if known == wanted:
                return value
        return None

    def getall(self, name: str) -> list[str]:
        """The value of each line of that name; comma lists are left whole (see headers.split_list)."""
        wanted = CANONICAL.get(name) or canonical_name(name)
        if self.firsts is not None:
            first = self.firsts.get(wanted)
            if first is None or self.single:
                return [] if first is None else [first]
        return [value for known, value in self.headers if known == wanted]

    def set(self, name: str, value: str) -> None:
        """Replace the first line of that name and drop the others, or add one at the end."""
        name = canonical_name(name)
        self._forget(name)
        for index, (known, _) in enumerate(self.headers):
            if known == name:
                rest = [line for line in self.headers[index + 1 :] if line[0] != name]
                self.headers[index:] = [(name, value), *rest]
                return
        self.headers.append((name, value))

    def add(self, name: str, value: str) -> None:
        name = canonical_name(name)
        self._forget(name)
        self.headers.append((name, value))

    def prepend(self, name: str, value: str) -> None:
        """Put a line before all others (Via, Record-Route)."""
        name = canonical_name(name)
        self._forget(name)
        self.headers.insert(0, (name, value))

    def remove(self, name: str) -> None:
        name = canonical_name(name)
        self._forget(name)
        self.headers[:] = [line for line in self.headers if line[0] != name]

    def _forget(self, name: str) -> None:
        self.__dict__.pop("validated", None)
        self.__dict__.pop("copied", None)
        self.firsts, self.single = None, False
        for attribute in _LAZY_OF.get(name, ()):
            self.__dict__.pop(attribute, None)

    def _first(self, name: str) -> str:
        firsts = self.firsts
        value = firsts.get(name) if firsts is not None else self.get(name)
        if value is None:
            raise SipError(400, f"Missing {name}")  # `name` is one of ours
        return value

    def _optional(self, name: str) -> str | None:
        firsts = self.firsts
        return firsts.get(name) if firsts is not None else self.get(name)

    @Lazy
    def via(self) -> Via:
        """The topmost Via. Raises SipError 400."""
        value = self._first("Via")
        if "," in value:
            values = split_list(value)
            value = values[0] if values else ""
        return parse_via(value)

    @Lazy
    def from_(self) -> NameAddr:
        """Raises SipError 400."""
        return parse_name_addr(self._first("From"))

    @Lazy
    def to(self) -> NameAddr:
        """Raises SipError 400."""
        return parse_name_addr(self._first("To"))

    @Lazy
    def call_id(self) -> str:
        """Raises SipError 400."""
        value = self._first("Call-ID")
        if _CALL_ID.fullmatch(value) is None:
            raise SipError(400, "Bad Call-ID")
        return value

    @Lazy
    def cseq(self) -> CSeq:
        """Number below 2^31 (RFC 3261 8.1.1.5) and method. Raises SipError 400."""
        text, _, method = self._first("CSeq").partition(" ")
        if "\t" in text or "\t" in method:
            text, _, method = self._first("CSeq").replace("\t", " ").partition(" ")
        number = parse_number(text)
        method = method.strip(" ")
        if number is None or number >= 2**31 or not method:
            raise SipError(400, "Bad CSeq")
        return CSeq(number, method)

    @Lazy
    def max_forwards(self) -> int | None:
        """0 to 255, None when absent (RFC 2543 phones). Raises SipError 400."""
        text = self._optional("Max-Forwards")
        if text is None:
            return None
        number = parse_number(text)
        if number is None or number > 255:
            raise SipError(400, "Bad Max-Forwards")
        return number

    @Lazy
    def expires(self) -> int | None:
        """Seconds; None when absent or malformed, so that the default applies (RFC 3261 20.19)."""
        return parse_number(self._optional("Expires"))

    @Lazy
    def contacts(self) -> list[Contact] | Star:
        """All Contact values, or STAR. Raises SipError 400, also for `*` beside others."""
        values = self._list("Contact")
        if "*" in values:
            if len(values) > 1:
                raise SipError(400, "Contact Star With Others")
            return STAR
        return [parse_contact(value) for value in values]

    @Lazy
    def path(self) -> list[str]:
        """The Path values in order (RFC 3327), as they stood. Raises SipError 400."""
        return self._list("Path")

    @Lazy
    def supported(self) -> frozenset[str]:
        """Option tags in lower case."""
        return self._option_tags("Supported")

    @Lazy
    def require(self) -> frozenset[str]:
        """Option tags in lower case."""
        return self._option_tags("Require")

    @Lazy
    def user_agent(self) -> str:
        """At most 255 characters, control characters replaced; "" when absent."""
        value = self._optional("User-Agent")
        return clean_text(value, 255) if value else ""

    def _list(self, name: str) -> list[str]:
        if self.firsts is not None and name not in self.firsts:
            return []
        values = self.getall(name)
        if not values:
            return values
        if len(values) == 1 and "," not in values[0]:
            return values if values[0] else []
        if len(values) + sum([value.count(",") for value in values]) > MAX_VALUES:
            raise SipError(400, f"Too Many {name}")  # `name` is one of ours
        return [part for value in values for part in split_list(value)]

    def _option_tags(self, name: str) -> frozenset[str]:
        if self.firsts is not None and name not in self.firsts:
            return _NOTHING
        tags = [tag for value in self.getall(name) for tag in value.split(",", MAX_VALUES)[:MAX_VALUES]]
        return frozenset(tag.strip(" \t").lower() for tag in tags[:MAX_VALUES]) - {""}

    def _write(self, start: str) -> bytes:
        lines = [start]
        lines += [f"{name}: {value}" for name, value in self.headers if name != "Content-Length"]
        lines.append(f"Content-Length: {len(self.body)}")
        data = _encode("\n".join(lines))
        if data.count(b"\n") != len(lines) - 1 or len(data.translate(None, _CONTROL_BYTES)) != len(data):
            # strict out: nothing that came in can end a line of ours or reach a terminal
            data = _encode("\n".join([_CONTROL.sub("?", line) for line in lines]))
        return data.replace(b"\n", b"\r\n") + b"\r\n\r\n" + self.body


@ordinary
class Request(Message):
    """`uri` is the text of the Request-URI; `request_uri` what it says."""

    version = "SIP/2.0"
    transaction_key = ""  # the endpoint's note: what RFC 3261 17.2.3 knows the request by
    via_text = ""  # the endpoint's note: the top Via line as it came
    answer_tag = ""  # the short way's note: the To-tag of its answers, made already
    came_after = 0  # the endpoint's note: so many transactions had begun by then
    size = 0  # the endpoint's note: bytes of the packet that it came in; 0 when it came in none
    malformed_start = False  # white space where RFC 3261 7.1 has none

    def __init__(self, method: str, uri: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.method = method
        self.uri = uri

    @Lazy
    def request_uri(self) -> Uri:
        """Raises SipError 400."""
        return parse_uri(self.uri)

    def to_bytes(self) -> bytes:
        return self._write(f"{self.method} {self.uri} SIP/2.0")

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri!r}>"


@ordinary
class Response(Message):
    copied = 0  # so many of its first lines are those of the request, but for the To-tag that the endpoint adds

    def __init__(
        self, status: int, reason: str | None = None, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> None:
        super().__init__(headers, body)
        self.status = status
        self.reason = REASONS.get(status, "Unknown") if reason is None else reason

    def to_bytes(self) -> bytes:
        return self._write(f"SIP/2.0 {self.status} {self.reason}")

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason!r}>"


def parse_message(data: bytes) -> Request | Response:
    """Read one datagram (or one message cut from a stream). Raises SipError.

    Only the start line and the header lines are looked at, and the body is cut by Content-Length (RFC 3261 18.3).
    An error carries in `.message` what could be read, so that a 400 can be formed.
    """
    if len(data) > MAX_MESSAGE:
        raise Unanswerable("Message Too Large")
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")  # RFC 3261 7.5
    head, end, body = data.partition(b"\r\n\r\n")
    text = head.decode("utf-8", "surrogateescape")
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)
    usual = _REQUEST_LINE.match(text)
    message: Request | Response
    if usual is not None and usual.end() <= MAX_LINE:
        message = Request.__new__(Request)
        message.method, message.uri = usual.groups()
        message.headers, message.body = [], b""
    else:
        message = _start(text.partition("\r\n")[0])
    try:
        firsts = _split_usual_headers(message, text) or _split_any_headers(message, text)
        if not end:
            raise SipError(400, "Missing Empty Line")
        if not message.single and not text.count("\n") == text.count("\r") == text.count("\r\n"):
            raise SipError(400, "Stray Line Break")
        length = firsts.get("Content-Length")
        if length is not None and (length != "0" or body):
            wanted = parse_number(length)
            if wanted is None or wanted > len(body):
                raise SipError(400, "Bad Content-Length")
            if wanted < len(body):
                body = body[:wanted]
        message.body = body
        if usual is None and isinstance(message, Request) and message.version != "SIP/2.0":
            raise SipError(505, "Version Not Supported")
    except SipError as error:
        error.message = message
        raise
    return message


def _start(line: str) -> Request | Response:
    if len(line) > MAX_LINE:
        raise Unanswerable("Start Line Too Long")
    first, _, rest = line.partition(" ")
    response: Response
    if first[:4] in ("SIP/", "sip/") and first.upper() == "SIP/2.0":
        code, _, reason = rest.partition(" ")
        status = parse_number(code)
        if len(code) != 3 or status is None or not 100 <= status <= 699:
            raise Unanswerable("Bad Status Line")
        response = Response.__new__(Response)
        response.status, response.reason, response.headers, response.body = status, reason, [], b""
        return response
    uri, _, version = rest.rpartition(" ")
    request = Request.__new__(Request)
    request.method, request.uri, request.headers, request.body = first, uri, [], b""
    if version != "SIP/2.0":
        trimmed = version.upper() or rest.rstrip(" ").rpartition(" ")[2].upper()
        if _VERSION.fullmatch(trimmed) is None:
            raise Unanswerable("Not SIP")
        if not version:
            request.malformed_start = True
        request.version = trimmed
    return request


def _split_usual_headers(message: Message, text: str) -> dict[str, str] | None:
    """Fill in the headers at once, where they are written as nearly all are: each name known and once, no blanks at an
    end. Else nothing is done. What comes of it is what :func:`_split_any_headers` makes of the same text, at a third
    of the cost; a test compares them."""
    lines = text.split("\r\n")
    count = len(lines) - 1
    if not 0 < count <= MAX_HEADERS or len(text) > MAX_LINE or not text.count("\n") == text.count("\r") == count:
        return None
    parts = names_and_values(text, lines)
    if parts is None or "\t\r" in text or text[-1] in " \t" or ": \t" in text:
        return None
    try:
        headers = list(zip(map(SPELLING, parts[1::2]), parts[2::2], strict=True))
    except KeyError:
        return None
    firsts = dict(headers)
    if len(firsts) != count:
        return None
    message.headers, message.firsts, message.single = headers, firsts, True
    return firsts


def names_and_values(text: str, lines: list[str]) -> list[str] | None:
    """The first of these lines, then names and values in turn, then what stands behind them in ``text``, line by line.
    None where a line has another form than `Name: value`, or a blank at an end.

    Each line but the first has ": " once: so they alternate when all of these are made ends of lines. It costs half of
    what a regular expression does."""
    if text.count(": ") != len(lines) - 1 or not all(map(contains, lines[1:], repeat(": "))):
        return None
    if " \r" in text or ":  " in text:
        return None
    return text.replace(": ", "\r\n").split("\r\n")


def _split_any_headers(message: Message, text: str) -> dict[str, str]:
    """Fill in the headers and return the first of each name. The first fault is raised when all are read."""
    lines = text.split("\r\n")
    fault: SipError | None = None
    if len(lines) > MAX_HEADERS + 1:
        fault = SipError(400, "Too Many Headers")
        del lines[MAX_HEADERS + 1 :]
    canonical = CANONICAL.get
    firsts: dict[str, str] = {}
    doubled = []
    headers = message.headers
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        known = canonical(name)
        if known is None or not colon or len(line) > MAX_LINE:
            try:
                known = _questionable(name, colon, line)
            except SipError as error:
                fault = fault or error
                continue
        value = value.strip(" \t")
        if known in firsts:
            doubled.append(known)
        else:
            firsts[known] = value
        headers.append((known, value))
    if doubled and not SINGLE.isdisjoint(doubled):
        message.doubled = next(name for name in doubled if name in SINGLE)
        if "Content-Length" in doubled:
            fault = fault or SipError(400, "Doubled Content-Length")
    if fault is not None:
        try:
            raise fault
        finally:
            fault = None  # its traceback holds this frame: a ring that would keep the text of the message
    message.firsts = firsts
    return firsts


def _questionable(name: str, colon: str, line: str) -> str:
    if not colon:
        raise SipError(400, "Header Without Colon")
    if len(line) > MAX_LINE:
        raise SipError(400, "Header Too Long")
    return canonical_name(name)


def validate_request(request: Request) -> None:
    """What every request must fulfil before anyone looks at it (RFC 3261 8.1.1, 8.2, 16.3; RFC 4475).

    Raises SipError 400, 414, 416, 483. A request is looked at once; a second call costs nothing.
    """
    understood = request.__dict__
    if "validated" in understood:
        return
    method = request.method
    if method not in KNOWN_METHODS and (len(method) > MAX_METHOD or TOKEN.fullmatch(method) is None):
        raise SipError(400, "Bad Method")
    if request.malformed_start:
        raise SipError(400, "Bad Start Line")
    if request.doubled:
        raise SipError(400, f"Doubled {request.doubled}")  # the name is one of ours
    uri = understood["request_uri"] = parse_uri(request.uri)
    if uri.scheme not in ("sip", "sips", "tel"):
        raise SipError(416, "Unsupported URI Scheme")
    if uri.headers:
        raise SipError(400, "Headers In Request-URI")  # RFC 3261 19.1.1
    if request.single and request.firsts is not None:
        _understand(understood, request.firsts)
    _ = request.via, request.from_, request.to, request.call_id, request.contacts
    if request.cseq.method != method:
        raise SipError(400, "CSeq Method Mismatch")
    if request.max_forwards == 0 and method not in _UNHOPPED:
        raise SipError(483, "Too Many Hops")
    understood["validated"] = True


def _understand(understood: dict[str, Any], firsts: dict[str, str]) -> None:
    """What the properties of :class:`Message` would give, for the usual forms, all at once: each of them alone costs a
    call and a look. What is missing here, or of another form, is left to
    them, and so is Via, which the endpoint has read and changed by then. Raises SipError 400."""
    get = firsts.get
    if (value := get("From")) is not None:
        understood["from_"] = parse_name_addr(value)
    if (value := get("To")) is not None:
        understood["to"] = parse_name_addr(value)
    if (value := get("Call-ID")) is not None and _CALL_ID.fullmatch(value) is not None:
        understood["call_id"] = value
    value = get("Contact")
    if value is None:
        understood["contacts"] = []
    elif value != "*" and value and "," not in value:
        understood["contacts"] = [parse_contact(value)]
    if (value := get("CSeq")) is not None and (found := _CSEQ.fullmatch(value)) is not None:
        understood["cseq"] = CSeq(int(found[1]), found[2])
    if get("Max-Forwards") == "70":
        understood["max_forwards"] = 70
    if "Require" not in firsts:
        understood["require"] = _NOTHING
    if "Path" not in firsts:
        understood["path"] = []
    agent = get("User-Agent", "")
    if agent.isascii() and agent.isprintable():
        understood["user_agent"] = agent[:255]


def make_response(
    request: Request,
    status: int,
    reason: str | None = None,
    *,
    to_tag: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Response:
    """The response to a request (RFC 3261 8.2.6): Via, From, To, Call-ID, CSeq as they came, then `headers`.

    `to_tag` is added to a To that has none; Record-Route is copied into 101 to 299 of dialog-forming requests (12.1.1).
    Works for malformed requests too, with what they have.
    """
    copied = _COPIED_RECORD_ROUTE if 100 < status < 300 and request.method in _DIALOG_FORMING else _COPIED
    get = request.firsts.get if request.single and request.firsts is not None else None
    if get is not None and copied is _COPIED:
        lines = [(name, value) for name in _ONCE if (value := get(name)) is not None]
    else:
        lines = [line for line in request.headers if line[0] in copied]
    if to_tag is not None and not has_to_tag(request):
        for index, (name, value) in enumerate(lines):
            if name == "To":
                lines[index] = ("To", f"{value};tag={to_tag}")
                break
    response = Response.__new__(Response)
    if to_tag is None:
        response.copied = len(lines)
    response.status = status
    response.reason = REASONS.get(status, "Unknown") if reason is None else reason
    if headers:
        lines += [(CANONICAL.get(name) or canonical_name(name), value) for name, value in headers]
    response.headers = lines
    response.body = body
    return response


def usual_answer(request: Request, status: int, to_tag: str, own: str, lines: int) -> bytes | None:
    """The bytes that make_response() and to_bytes() give for a usual request, at a fifth of their cost: thousands are
    sent a second. ``own``: the ``lines`` that are no copies, each with its line end. None: they have to do it."""
    firsts = request.firsts
    if not request.single or firsts is None or "Record-Route" in firsts or "validated" not in request.__dict__:
        return None
    data = usual_text(firsts, status, to_tag, own)
    # Whatever is in a value: it does not end a line of ours, and no control character leaves as it came.
    if data.count("\r\n") != 8 + lines or not data.isascii() or not data.replace("\r\n", "").isprintable():
        return None
    return data.encode("ascii")


def usual_text(firsts: dict[str, str], status: int, to_tag: str, own: str) -> str:
    """An answer to a request with these headers, each there once and To without a tag; for values that are known to
    end no line. ``own``: the lines that are no copies, each with its line end."""
    return (
        f"SIP/2.0 {status} {REASONS[status]}\r\nVia: {firsts['Via']}\r\nFrom: {firsts['From']}\r\n"
        f"To: {firsts['To']};tag={to_tag}\r\nCall-ID: {firsts['Call-ID']}\r\nCSeq: {firsts['CSeq']}\r\n"
        f"{own}Content-Length: 0\r\n\r\n"
    )


def has_to_tag(message: Message) -> bool:
    """Whether To has a tag, also when To is malformed."""
    try:
        return message.to.tag is not None
    except SipError:
        return ";tag=" in (message.get("To") or "").replace(" ", "").lower()
