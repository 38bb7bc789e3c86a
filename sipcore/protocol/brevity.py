"""Answers that are not much longer than their requests.

The source of a packet can be forged, and what is answered then hits whoever it names (RFC 3261 26.1.5). So over UDP,
where nothing has proven the source, an answer has a limit in bytes. To a request as phones send it, every answer is far
below it. A shorter one gets an answer that says only what has to be said, and one that is too short even for that, with
less than about 200 bytes, gets none: the REGISTER of a phone has twice as many."""

from .message import Response

FACTOR, FACTOR_OF_TWO = 1.5, 2.0
"""Bytes out by bytes in; the second for an answer with two challenges (RFC 8760)."""

SHORTEST_TAG = 8
"""Characters of a tag of hexadecimal digits: 32 bits, which RFC 3261 19.3 asks for."""

# The answers where these say what the request has to be like; in all others they are a courtesy.
_NEEDED = {405: "Allow", 415: "Accept"}
_COURTESY = frozenset(("Allow", "Accept", "Supported"))
_CHALLENGES = frozenset(("WWW-Authenticate", "Proxy-Authenticate"))
_COMPACT = {"Via": "v", "From": "f", "To": "t", "Call-ID": "i"}  # RFC 3261 7.3.3: everybody must read these too


def within_limit(response: Response, asked: int, tag: str) -> bytes:
    """The answer to a request of ``asked`` bytes, as short as it has to be; ``tag`` is the To-tag that we gave it, ""
    for none. b"": it must not be answered."""
    data = response.to_bytes()
    if len(data) <= asked * FACTOR:
        return data
    challenges = sum(name in _CHALLENGES for name, _ in response.headers)
    limit = asked * (FACTOR_OF_TWO if challenges > 1 else FACTOR)
    if len(data) > limit:
        _strip(response, tag)
        data = response.to_bytes()
    if len(data) > limit:
        data = _compact(data)
    return data if len(data) <= limit else b""


def _strip(response: Response, tag: str) -> None:
    """Leave out what may be left out."""
    needed = _NEEDED.get(response.status)
    headers = []
    for name, value in response.headers:
        if name in _COURTESY and name != needed:
            continue
        if name in _CHALLENGES:
            value = value.replace(", algorithm=MD5,", ",", 1)  # the default (RFC 7616 3.3)
        elif name == "To" and tag and value.endswith(tag):
            value = value.removesuffix(tag) + tag[:SHORTEST_TAG]
        headers.append((name, value))
    response.headers = headers


def _compact(data: bytes) -> bytes:
    """In the compact form, the body's length left to the packet's end (RFC 3261 18.3)."""
    head, empty_line, body = data.partition(b"\r\n\r\n")
    start, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    short = [start]
    for line in lines:
        name, _, value = line.partition(": ")
        if name != "Content-Length" or body:
            short.append(f"{_COMPACT.get(name, name)}:{value}")
    return "\r\n".join(short).encode("utf-8", "surrogateescape") + empty_line + body
