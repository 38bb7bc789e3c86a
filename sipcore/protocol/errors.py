"""The one error family of the protocol room.

    SipError                 has the status of the answer it deserves
    ├── Unanswerable         garbage: gets no answer at all (status 0)
    └── UnknownScheme        an Authorization that is not Digest: to be treated as absent (status 401)

Parsers raise nothing else; a mutation test proves it. `reason` is always one of our own fixed English phrases, never
text from the network, so it may be logged and sent.
"""

from typing import Any


class SipError(Exception):
    """A message cannot be understood or accepted.

    status: the SIP status that says so (RFC 3261 21), 0 when nothing must be sent.
    reason: a fixed English phrase, usable as the reason phrase of the answer.
    message: what could be read of the message by then (a Request or Response), or None.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.message: Any = None

    def __str__(self) -> str:
        return f"{self.status} {self.reason}"


class Unanswerable(SipError):
    """Not SIP, or so broken that an answer would only be noise."""

    def __init__(self, reason: str) -> None:
        super().__init__(0, reason)


class UnknownScheme(SipError):
    """Credentials of a scheme other than Digest (RFC 4475 3.3.13, regaut01): treat them as absent."""

    def __init__(self) -> None:
        super().__init__(401, "Unknown Authentication Scheme")
