"""What an endpoint tells the core: one small frozen class for each thing that can happen."""

from dataclasses import dataclass
from typing import NamedTuple

from .errors import SipError
from .flow import Flow
from .message import Request, Response
from .transaction import ClientTransaction, Transaction


class RequestReceived(NamedTuple):
    """A new, valid request; nothing is kept of it until the core decides."""

    request: Request  # its top Via has `received` (and `rport`, when asked for) filled in
    flow: Flow


@dataclass(frozen=True, slots=True)
class Retransmission:
    """A request once more: absorbed, or answered from memory. Only to be counted."""

    flow: Flow
    method: str
    request: Request
    answered: bool  # finally: our answer was sent before, and went out again


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """A response to a request of ours, each one that RFC 3261 17.1 lets through."""

    response: Response
    transaction: ClientTransaction
    flow: Flow


@dataclass(frozen=True, slots=True)
class StrayResponse:
    """A response that nobody here asked for, or from elsewhere than the request went: dropped."""

    response: Response
    flow: Flow


@dataclass(frozen=True, slots=True)
class Malformed:
    """Something that is no valid message. It has been answered already if it deserved an answer."""

    flow: Flow
    error: SipError
    data: bytes  # as it came
    request: Request | None = None  # what could be read of it, if it was a request


@dataclass(frozen=True, slots=True)
class LeftUnanswered:
    """A request so short that any answer would be much longer, and whose source may be forged."""

    request: Request
    flow: Flow


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """A packet of line ends or NULs; a double CRLF has been answered with one (RFC 5626 4.4.1)."""

    flow: Flow


@dataclass(frozen=True, slots=True)
class TransactionTimeout:
    """No final response came (timers B, F), or no ACK (H)."""

    transaction: Transaction


@dataclass(frozen=True, slots=True)
class TransportFailed:
    """The flow of a transaction is broken."""

    transaction: Transaction
    flow: Flow


Event = (
    RequestReceived
    | Retransmission
    | ResponseReceived
    | StrayResponse
    | Malformed
    | LeftUnanswered
    | KeepAlive
    | TransactionTimeout
    | TransportFailed
)
