"""The SIP messages in what a phone printed (baresip -s, the log of linphonec)."""

from __future__ import annotations

import re
from dataclasses import dataclass

START = re.compile(r"^(?:([A-Z]+) (sips?:\S+) SIP/2\.0|SIP/2\.0 ([1-6]\d\d) ?(.*))$")


@dataclass(frozen=True)
class Message:
    method: str
    """Of the request; of a response the one in its CSeq."""
    status: int
    """0 for a request."""
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


def messages(printed: str) -> list[Message]:
    """All messages in the order printed. A retransmission is printed again and so is here again."""
    found: list[Message] = []
    start, headers = None, []
    for line in [*printed.splitlines(), ""]:
        if matched := START.match(line.strip()):
            start, headers = matched, []
        elif start is not None:
            name, colon, value = line.partition(":")
            if colon and re.fullmatch(r"[A-Za-z-]+", name):
                headers.append((name, value.strip()))
                continue
            method = start[1] or dict(headers).get("CSeq", "").rpartition(" ")[2]
            found.append(Message(method, int(start[3] or 0), tuple(headers)))
            start = None
    return found


def registers(printed: str) -> list[Message]:
    """The different REGISTER requests: retransmissions of one (same Call-ID and CSeq) count once."""
    once = {
        (message.get("Call-ID"), message.get("CSeq")): message
        for message in messages(printed) if message.method == "REGISTER" and not message.status
    }
    return list(once.values())


def answers(printed: str) -> list[int]:
    """The status codes of the answers to REGISTER."""
    return [message.status for message in messages(printed) if message.method == "REGISTER" and message.status]
