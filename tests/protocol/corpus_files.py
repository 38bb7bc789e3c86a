"""The messages of RFC 4475 and RFC 5118, and an endpoint that they are thrown at."""

import hashlib
import json
from pathlib import Path
from typing import Any

from sipcore.protocol import events
from sipcore.protocol.endpoint import Endpoint
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Response, parse_message

CORPUS = Path(__file__).parent / "corpus"

PHONE = ("203.0.113.9", 40962)
SERVER = ("198.51.100.1", 5060)
FLOW = Flow("UDP", SERVER, PHONE)


def rfc4475(name: str) -> bytes:
    return (CORPUS / "rfc4475" / f"{name}.dat").read_bytes()


def rfc5118(name: str) -> bytes:
    """With CRLF, the empty line and the right Content-Length, as the README says."""
    text = (CORPUS / "rfc5118" / name).read_bytes().replace(b"\r\n", b"\n")
    head, _, body = text.partition(b"\n\n")
    body = body.replace(b"\n", b"\r\n")
    lines = [line for line in head.strip(b"\n").split(b"\n") if not line.lower().startswith(b"content-length")]
    lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def digest_vectors() -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads((CORPUS / "digest_vectors.json").read_text("utf-8"))
    return vectors


def make_tag(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def new_endpoint(prefix: str = "t", **options: Any) -> Endpoint:
    return Endpoint(tag=make_tag, branch_prefix=prefix, **options)


class Outcome:
    """What became of one packet: the events, and the answers that went back."""

    def __init__(self, data: bytes, flow: Flow = FLOW) -> None:
        endpoint = new_endpoint()
        endpoint.receive_datagram(data, flow, 0.0)
        self.events: list[events.Event] = []
        while (event := endpoint.next_event()) is not None:
            self.events.append(event)
        self.answers: list[Response] = []
        for packet, to in endpoint.datagrams_to_send():
            assert to == flow, "an answer to somebody else"
            answer = parse_message(packet)
            assert isinstance(answer, Response)
            self.answers.append(answer)
        assert endpoint.transactions == 0, "nothing is kept before the core decides"
