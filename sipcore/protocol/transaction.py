"""The four transactions of RFC 3261 17 with RFC 6026, as one table. Everything that moves one lives in this file.

A new arrow is a new row. An event without a row changes nothing and asks for nothing: that is how repetitions and late
packets are absorbed. Who executes the actions (endpoint.py) has the packets and the clock; this file has neither.
"""

from enum import Enum
from typing import Literal

from .flow import Flow
from .message import Request


class Kind(Enum):
    INVITE_CLIENT = "INVITE client"  # RFC 3261 17.1.1
    CLIENT = "client"  # 17.1.2
    INVITE_SERVER = "INVITE server"  # 17.2.1
    SERVER = "server"  # 17.2.2

    __hash__ = object.__hash__  # Enum's own is Python code, and these are keys on the hot path


class State(Enum):
    START = "start"
    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    ACCEPTED = "accepted"  # RFC 6026: a 2xx came or went; more of them, or the ACK, may follow
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"

    __hash__ = object.__hash__


# What happens to a transaction. `provisional`, `success`, `failure`: a 1xx, 2xx, 300-699 response, which a client
# transaction has received and a server transaction is to send. `request`: the same request once more.
Event = Literal[
    "begin", "provisional", "success", "failure", "request", "ack", "transport error",
    "A", "B", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M",
]  # fmt: skip

# What is to be done. `send`: the request, or the response at hand; `resend`: what was sent last; `ack`: an ACK for the
# failure (17.1.1.3); `deliver`: hand it to the core; `timeout`, `failed`: tell the core; `+A`: start timer A, `+AA`:
# start it again with twice its time (A without end, E and G up to T2), `+EE` in Proceeding with T2, `-A`: stop it.
Action = Literal[
    "send", "resend", "ack", "deliver", "timeout", "failed",
    "+A", "+B", "+D", "+E", "+F", "+G", "+H", "+I", "+J", "+K", "+L", "+M", "+AA", "+EE", "+GG", "+E2",
    "-A", "-B", "-E", "-F", "-G", "-H",
]  # fmt: skip

Row = tuple[tuple[Action, ...], State]

IC, C, IS, S = Kind.INVITE_CLIENT, Kind.CLIENT, Kind.INVITE_SERVER, Kind.SERVER

# fmt: off
TABLE: dict[tuple[Kind, State, Event], Row] = {
    (IC, State.START,      "begin"):           (("send", "+A", "+B"),                State.CALLING),
    (IC, State.CALLING,    "A"):               (("resend", "+AA"),                   State.CALLING),
    (IC, State.CALLING,    "B"):               (("timeout",),                        State.TERMINATED),
    (IC, State.CALLING,    "provisional"):     (("-A", "-B", "deliver"),             State.PROCEEDING),
    (IC, State.CALLING,    "success"):         (("-A", "-B", "+M", "deliver"),       State.ACCEPTED),
    (IC, State.CALLING,    "failure"):         (("-A", "-B", "+D", "ack", "deliver"), State.COMPLETED),
    (IC, State.CALLING,    "transport error"): (("failed",),                         State.TERMINATED),
    (IC, State.PROCEEDING, "provisional"):     (("deliver",),                        State.PROCEEDING),
    (IC, State.PROCEEDING, "success"):         (("+M", "deliver"),                   State.ACCEPTED),
    (IC, State.PROCEEDING, "failure"):         (("+D", "ack", "deliver"),            State.COMPLETED),
    (IC, State.ACCEPTED,   "success"):         (("deliver",),                        State.ACCEPTED),
    (IC, State.ACCEPTED,   "M"):               ((),                                  State.TERMINATED),
    (IC, State.COMPLETED,  "failure"):         (("ack",),                            State.COMPLETED),
    (IC, State.COMPLETED,  "transport error"): (("failed",),                         State.TERMINATED),
    (IC, State.COMPLETED,  "D"):               ((),                                  State.TERMINATED),

    (C,  State.START,      "begin"):           (("send", "+E", "+F"),                State.TRYING),
    (C,  State.TRYING,     "E"):               (("resend", "+EE"),                   State.TRYING),
    (C,  State.TRYING,     "F"):               (("timeout",),                        State.TERMINATED),
    (C,  State.TRYING,     "provisional"):     (("deliver",),                        State.PROCEEDING),
    (C,  State.TRYING,     "success"):         (("-E", "-F", "+K", "deliver"),       State.COMPLETED),
    (C,  State.TRYING,     "failure"):         (("-E", "-F", "+K", "deliver"),       State.COMPLETED),
    (C,  State.TRYING,     "transport error"): (("failed",),                         State.TERMINATED),
    (C,  State.PROCEEDING, "E"):               (("resend", "+E2"),                   State.PROCEEDING),
    (C,  State.PROCEEDING, "F"):               (("timeout",),                        State.TERMINATED),
    (C,  State.PROCEEDING, "provisional"):     (("deliver",),                        State.PROCEEDING),
    (C,  State.PROCEEDING, "success"):         (("-E", "-F", "+K", "deliver"),       State.COMPLETED),
    (C,  State.PROCEEDING, "failure"):         (("-E", "-F", "+K", "deliver"),       State.COMPLETED),
    (C,  State.PROCEEDING, "transport error"): (("failed",),                         State.TERMINATED),
    (C,  State.COMPLETED,  "K"):               ((),                                  State.TERMINATED),

    (IS, State.START,      "begin"):           ((),                                  State.PROCEEDING),
    (IS, State.PROCEEDING, "request"):         (("resend",),                         State.PROCEEDING),
    (IS, State.PROCEEDING, "provisional"):     (("send",),                           State.PROCEEDING),
    (IS, State.PROCEEDING, "success"):         (("send", "+L"),                      State.ACCEPTED),
    (IS, State.PROCEEDING, "failure"):         (("send", "+G", "+H"),                State.COMPLETED),
    (IS, State.PROCEEDING, "transport error"): (("failed",),                         State.PROCEEDING),
    (IS, State.ACCEPTED,   "success"):         (("send",),                           State.ACCEPTED),
    (IS, State.ACCEPTED,   "ack"):             (("deliver",),                        State.ACCEPTED),
    (IS, State.ACCEPTED,   "transport error"): (("failed",),                         State.ACCEPTED),
    (IS, State.ACCEPTED,   "L"):               ((),                                  State.TERMINATED),
    (IS, State.COMPLETED,  "request"):         (("resend",),                         State.COMPLETED),
    (IS, State.COMPLETED,  "G"):               (("resend", "+GG"),                   State.COMPLETED),
    (IS, State.COMPLETED,  "H"):               (("timeout",),                        State.TERMINATED),
    (IS, State.COMPLETED,  "ack"):             (("-G", "-H", "+I"),                  State.CONFIRMED),
    (IS, State.COMPLETED,  "transport error"): (("failed",),                         State.COMPLETED),
    (IS, State.CONFIRMED,  "I"):               ((),                                  State.TERMINATED),

    (S,  State.START,      "begin"):           ((),                                  State.TRYING),
    (S,  State.TRYING,     "provisional"):     (("send",),                           State.PROCEEDING),
    (S,  State.TRYING,     "success"):         (("send", "+J"),                      State.COMPLETED),
    (S,  State.TRYING,     "failure"):         (("send", "+J"),                      State.COMPLETED),
    (S,  State.PROCEEDING, "request"):         (("resend",),                         State.PROCEEDING),
    (S,  State.PROCEEDING, "provisional"):     (("send",),                           State.PROCEEDING),
    (S,  State.PROCEEDING, "success"):         (("send", "+J"),                      State.COMPLETED),
    (S,  State.PROCEEDING, "failure"):         (("send", "+J"),                      State.COMPLETED),
    (S,  State.PROCEEDING, "transport error"): (("failed",),                         State.TERMINATED),
    (S,  State.COMPLETED,  "request"):         (("resend",),                         State.COMPLETED),
    (S,  State.COMPLETED,  "transport error"): (("failed",),                         State.TERMINATED),
    (S,  State.COMPLETED,  "J"):               ((),                                  State.TERMINATED),
}
# fmt: on


class Timers:
    """The durations of RFC 3261 table 4, in seconds, from T1, T2 and T4."""

    def __init__(self, t1: float = 0.5, t2: float = 4.0, t4: float = 5.0) -> None:
        self.t1, self.t2, self.t4 = t1, t2, t4
        self.long = 64 * t1

    def first(self, letter: str, reliable: bool) -> float | None:
        """How long a timer runs when it is started; None when this transport has no such timer."""
        if letter in "AEG":
            return None if reliable else self.t1
        if letter in "IK":
            return 0.0 if reliable else self.t4
        if letter in "DJ":
            return 0.0 if reliable else self.long
        return self.long  # B F H, and L M of RFC 6026

    def again(self, letter: str, before: float) -> float:
        """How long A, E or G run once more after `before` seconds."""
        return 2 * before if letter == "A" else min(2 * before, self.t2)


class Transaction:
    """One transaction. The core may read all of it, and keep it as a key; only the endpoint writes.

    kind, state: see the table. request: the message that opened it. flow: where it came from or went to.
    """

    __slots__ = ("deadlines", "flow", "intervals", "key", "kind", "request", "sent", "state")

    def __init__(self, kind: Kind, key: str, request: Request, flow: Flow) -> None:
        self.kind = kind
        self.state = State.START
        self.key = key
        self.request = request
        self.flow = flow
        self.sent: bytes | None = None  # the request, or the last response
        self.deadlines: dict[str, float] = {}  # of the running timers, by letter
        self.intervals: dict[str, float] = {}  # what A, E, G ran last

    def fire(self, event: Event) -> tuple[Action, ...]:
        """Move along the table; returns what is to be done."""
        row = TABLE.get((self.kind, self.state, event))
        if row is None:
            return ()
        actions, self.state = row
        return actions

    @property
    def terminated(self) -> bool:
        return self.state is State.TERMINATED

    def __repr__(self) -> str:
        return f"<{self.kind.value} transaction, {self.request.method}, {self.state.value}>"


class ClientTransaction(Transaction):
    """One request of ours and its responses."""

    __slots__ = ("acknowledgement",)

    def __init__(self, key: str, request: Request, flow: Flow) -> None:
        super().__init__(Kind.INVITE_CLIENT if request.method == "INVITE" else Kind.CLIENT, key, request, flow)
        self.acknowledgement: bytes | None = None  # the ACK to a failure, sent again for each repetition


class ServerTransaction(Transaction):
    """One request of a peer and our responses."""

    __slots__ = ()

    def __init__(self, key: str, request: Request, flow: Flow) -> None:
        super().__init__(Kind.INVITE_SERVER if request.method == "INVITE" else Kind.SERVER, key, request, flow)
