"""One SIP endpoint without its socket: packets and the time go in, packets and events come out.

The shell calls receive_datagram() and handle_timeout(), then drains next_event(), and last sends datagrams_to_send()
and sleeps until next_timeout(). `now` is any clock in seconds that never goes back.
"""

import hashlib
import heapq
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from itertools import count

from .answers import Answers
from .brevity import FACTOR, within_limit
from .errors import SipError
from .events import (
    Event,
    KeepAlive,
    LeftUnanswered,
    Malformed,
    RequestReceived,
    ResponseReceived,
    Retransmission,
    StrayResponse,
    TransactionTimeout,
    TransportFailed,
)
from .flow import Flow
from .headers import format_params, split_list, stamped_via
from .message import (
    REASONS,
    Request,
    Response,
    has_to_tag,
    make_response,
    parse_message,
    usual_answer,
    validate_request,
)
from .transaction import Action, ClientTransaction, Kind, ServerTransaction, State, Timers, Transaction
from .transaction import Event as TableEvent

MAGIC = "z9hG4bK"  # RFC 3261 8.1.1.7

# a Via as _put_via() writes it, with what the phone may have noted in it (RFC 3581 4)
_OUR_VIA = re.compile(
    r"SIP/2\.0/(?:UDP|TCP|TLS) [A-Za-z0-9.-]++:[0-9]++;branch=([^;, \"]++);rport(?:=[0-9]++)?"
    r"(?:;received=[0-9A-Fa-f.:]++)?"
)

LONG_KEY = 300  # characters; a stranger makes a branch as long as he likes, and keys are kept here and there

_ANSWERED = (State.ACCEPTED, State.COMPLETED, State.CONFIRMED)
_NEEDED_TO_ANSWER = ("Via", "From", "To", "Call-ID", "CSeq")


class Endpoint:
    """Parser and transactions, joined.

    tag: makes a To-tag from a text, always the same one for the same text (RFC 3261 8.2.7).
    branch_prefix: begins each branch of ours, so that it names node and worker; must differ after each restart.
    memory: bytes of final answers that are kept for repetitions at most; the oldest go first.
    """

    def __init__(
        self,
        *,
        tag: Callable[[str], str],
        branch_prefix: str,
        t1: float = 0.5,
        t2: float = 4.0,
        t4: float = 5.0,
        memory: int = 96 * 1024 * 1024,
    ) -> None:
        self._tag = tag
        self._branch_prefix = MAGIC + branch_prefix
        self._timers = Timers(t1, t2, t4)
        self._counter = count(1)
        self._events: deque[Event] = deque()
        self._outbox: list[tuple[bytes, Flow]] = []
        self._servers: dict[str, ServerTransaction] = {}
        self._accepted = 0  # how many there have been
        self._clients: dict[str, ClientTransaction] = {}
        self._clients_of: dict[Flow, set[ClientTransaction]] = {}
        self._heap: list[tuple[float, int, Transaction, str]] = []
        # All that is left of a non-INVITE server transaction in state COMPLETED.
        self._answers = Answers(self._timers.long, memory, self._add_to_tag)

    # -- what comes in

    def receive_datagram(self, data: bytes, flow: Flow, now: float) -> None:
        """Take one packet (or one message cut from a stream). Raises nothing, whatever the bytes."""
        if not data.strip(b"\r\n\0"):
            if data == b"\r\n\r\n":
                self._outbox.append((b"\r\n", flow))
            self._events.append(KeepAlive(flow))
            return
        message: Request | Response | None = None
        try:
            message = parse_message(data)
            if not isinstance(message, Request):
                self._receive_response(message, flow, now)
                return
            message.size = len(data)
            self._stamp(message, flow)
            validate_request(message)
        except SipError as error:
            message = message or error.message
            if isinstance(message, Request):
                message.size = len(data)
            self._refuse(error, message, data, flow)
            return
        if not self._repeated(message, flow, now):
            self._events.append(RequestReceived(message, flow))

    def receive_broken(self, data: bytes, error: SipError, flow: Flow) -> None:
        """Take what could be read of a message that broke its stream (see framing): it is malformed because of
        `error`, and answered like any malformed one. The shell closes the connection."""
        message: Request | Response | None = None
        try:
            message = parse_message(data)
        except SipError as fault:
            message = fault.message
        self._refuse(error, message, data, flow)

    def _stamp(self, request: Request, flow: Flow) -> None:
        """Note the key of its transaction, then write where the request really came from into its top Via.

        RFC 3261 18.2.1 and RFC 3581 4; whatever `received` the sender wrote himself is lost.
        """
        address, port = flow.remote
        headers, firsts = request.headers, request.firsts
        if request.single and firsts is not None and "Via" in firsts and "%" not in address:
            value = request.via_text = firsts["Via"]
            stamped = stamped_via(value, address, port)
            if stamped is not None:
                request.__dict__["via"], text = stamped
                request.transaction_key = self._server_key(request, request.method, flow)
                headers[headers.index(("Via", value))] = ("Via", text)
                firsts["Via"] = text
                return
        via = request.via
        index = 0
        while headers[index][0] != "Via":
            index += 1
        value = request.via_text = headers[index][1]
        request.transaction_key = self._server_key(request, request.method, flow)
        params = via.params
        params["received"] = address.partition("%")[0]
        if "rport" in params:
            params["rport"] = str(port)
        # the sent-by stays as the phone wrote it: some compare it as a string
        if "," in value:
            top, *rest = split_list(value)
            value = ", ".join([_unparametrised(top) + format_params(params), *rest])
        else:
            value = _unparametrised(value) + format_params(params)
        headers[index] = ("Via", value)
        if firsts is not None:
            firsts["Via"] = value

    @staticmethod
    def _server_key(request: Request, method: str, flow: Flow) -> str:
        """RFC 3261 17.2.3. The source address belongs to it, so that nobody can touch another's transaction."""
        if method == "ACK":
            method = "INVITE"
        via = request.via
        branch = via.params.get("branch")
        if branch is not None and len(branch) > 7 and branch.startswith(MAGIC):
            return _bounded(f"{branch} {via.host}:{via.port} {method} {flow.remote[0]}")
        # RFC 2543 phones (RFC 4475: inv2543, badbranch, wsinv)
        number = (request.get("CSeq") or "").replace("\t", " ").partition(" ")[0]
        end = f"{_from_tag(request)} {request.uri} {request.via_text}"
        return _bounded(f"{method} {flow.remote[0]} {number} {request.get('Call-ID')} {end}")

    def _repeated(self, request: Request, flow: Flow, now: float) -> bool:
        """Whether the request belongs to what is already here; then it is dealt with."""
        key = request.transaction_key
        answer = self._answers.find(key, request, flow)
        if answer is not None:
            self._outbox.append((answer, _way_back(request, flow)))
            self._events.append(Retransmission(flow, request.method, request, True))
            return True
        transaction = self._servers.get(key)
        if transaction is None:
            request.came_after = self._accepted
            return False
        answered = transaction.state in _ANSWERED
        if request.method != "ACK":
            if request.via_text == transaction.request.via_text:  # else it was damaged on its way
                transaction.flow = _way_back(request, flow)  # a NAT may have given the repetition another port
            self._run(transaction, transaction.fire("request"), now)
        elif "deliver" in (actions := transaction.fire("ack")):
            return False
        else:
            self._run(transaction, actions, now)
        self._events.append(Retransmission(flow, request.method, request, answered))
        return True

    def _receive_response(self, response: Response, flow: Flow, now: float) -> None:
        vias = response.getall("Via")
        ours = _OUR_VIA.fullmatch(vias[0]) if vias else None
        branch = ours[1] if ours is not None else response.via.branch
        transaction = self._clients.get(f"{branch} {response.cseq.method}")
        if (
            transaction is None
            or len(vias) > 1  # RFC 3261 8.1.3.3: not meant for us
            or "," in vias[0]
            or transaction.flow.remote[0] != flow.remote[0]
            or response.call_id != transaction.request.call_id
            or response.from_.tag != transaction.request.from_.tag
        ):
            self._events.append(StrayResponse(response, flow))
            return
        _ = response.to, response.contacts  # malformed ones end here, not in the core
        actions = transaction.fire(_kind_of(response.status))
        if "ack" in actions and transaction.acknowledgement is None:
            transaction.acknowledgement = _acknowledge(transaction.request, response).to_bytes()
        self._run(transaction, actions, now)
        if "deliver" in actions:
            self._events.append(ResponseReceived(response, transaction, flow))

    def _refuse(self, error: SipError, message: Request | Response | None, data: bytes, flow: Flow) -> None:
        """Answer what is malformed, once and without memory, if it can be answered at all."""
        request = message if isinstance(message, Request) else None
        self._events.append(Malformed(flow, error, data, request))
        if request is None or not error.status or request.method == "ACK":
            return
        if not all(request.get(name) for name in _NEEDED_TO_ANSWER):
            return
        if not request.transaction_key:
            with suppress(SipError):
                self._stamp(request, flow)
        if self._answers_another(request, flow):
            return
        self.reply_statelessly(request, make_response(request, error.status, error.reason), flow)

    def _answers_another(self, request: Request, flow: Flow) -> bool:
        """Whether the sender would take the answer for that to a request which is here already: this one is its
        repetition, damaged on the way. Branch and method of CSeq are what he compares (RFC 3261 17.1.3)."""
        try:
            key = self._server_key(request, request.cseq.method, flow)
        except SipError:
            key = request.transaction_key
        return key in self._servers or key in self._answers

    # -- what the core wants

    def next_event(self) -> Event | None:
        """The oldest event that was not taken yet, or None."""
        while self._events:
            event = self._events.popleft()
            if isinstance(event, RequestReceived) and self._came_twice(event):
                continue
            return event
        return None

    def _came_twice(self, event: RequestReceived) -> bool:
        """Two equal packets may have come before the core accepted the first one."""
        key = event.request.transaction_key
        if event.request.came_after == self._accepted or event.request.method == "ACK":
            return False
        answer = self._answers.find(key, event.request, event.flow)
        answered = answer is not None
        if answer is None:
            transaction = self._servers.get(key)
            if transaction is None:
                return False
            answered = transaction.state in _ANSWERED
            if "resend" in transaction.fire("request"):
                answer = transaction.sent
        if answer is not None:
            self._outbox.append((answer, _way_back(event.request, event.flow)))
        self._events.appendleft(Retransmission(event.flow, event.request.method, event.request, answered))
        return True

    def reply_statelessly(self, request: Request, response: Response, flow: Flow) -> None:
        """Send a final answer and remember nothing (RFC 3261 8.2.7): 401, 503 and the like. Over UDP it is not much
        longer than the request, or not sent at all (see brevity)."""
        tag = self._add_to_tag(request, response, flow)
        data = response.to_bytes() if flow.reliable or not request.size else within_limit(response, request.size, tag)
        if data:
            self._outbox.append((data, _way_back(request, flow)))
        else:
            self._events.append(LeftUnanswered(request, flow))

    def reply(self, request: Request, status: int, headers: Collection[tuple[str, str]], flow: Flow) -> None:
        """What reply_statelessly(make_response(...)) does, faster for a usual request."""
        data = None
        if request.to.tag is None:
            own = "".join([f"{name}: {value}\r\n" for name, value in headers])
            data = usual_answer(request, status, self._to_tag(request, flow), own, len(headers))
        if data is None or (len(data) > FACTOR * request.size and not flow.reliable):
            self.reply_statelessly(request, make_response(request, status, headers=headers), flow)
        else:
            self._outbox.append((data, _way_back(request, flow)))

    def finish(
        self, transaction: ServerTransaction, status: int, headers: Collection[tuple[str, str]], now: float
    ) -> bytes:
        """What respond(make_response(...)) does for the final answer to anything but INVITE, faster for a usual
        request: then the answer is returned, and is the caller's to send. Else b""."""
        request, flow = transaction.request, transaction.flow
        data = None
        if (request.answer_tag or request.to.tag is None) and not flow.reliable:
            own = "".join([f"{name}: {value}\r\n" for name, value in headers])
            data = usual_answer(request, status, self._to_tag(request, flow), own, len(headers))
        if data is None:
            self.respond(transaction, make_response(request, status, headers=headers), now)
        elif "send" in transaction.fire(_kind_of(status)):
            transaction.sent = data
            key = transaction.key
            del self._servers[key]
            self._answers.keep_short(key, request, f"{status} {REASONS[status]}\r\n{own}".encode("ascii"), now)
            return data
        return b""

    def accept(self, request: Request, flow: Flow, now: float) -> ServerTransaction:
        """From now on repetitions of this request are absorbed. The core must answer it, and send a 100 itself.

        Accepting the same request again returns the same transaction.
        """
        key = request.transaction_key or self._server_key(request, request.method, flow)
        transaction = self._servers.get(key)
        return self.begin(key, request, _way_back(request, flow)) if transaction is None else transaction

    def has_seen(self, key: str) -> bool:
        """Whether a request with this key (RFC 3261 17.2.3) is here already, answered or not."""
        return key in self._servers or key in self._answers

    def begin(self, key: str, request: Request, flow: Flow) -> ServerTransaction:
        """What :meth:`accept` does for a request that is new and whose answers go back the way it came."""
        self._accepted += 1
        transaction = self._servers[key] = ServerTransaction(key, request, flow)
        transaction.fire("begin")
        return transaction

    def invite_of(self, cancel: Request, flow: Flow) -> ServerTransaction | None:
        """The INVITE that a CANCEL means (RFC 3261 9.2), None for a 481. Same branch, same sent-by, same source."""
        return self._servers.get(self._server_key(cancel, "INVITE", flow))

    def made(self, branch: str) -> bool:
        """Whether it begins as the branches of this endpoint's life do."""
        return branch.startswith(self._branch_prefix)

    def went_in_a_circle(self, request: Request) -> bool:
        """Whether a request of ours has come back (RFC 3261 16.3 step 4): one of its Via bears a branch we made."""
        return any(self._branch_prefix in value for value in request.getall("Via"))

    def respond(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Send a response within a transaction. One that no longer fits (a second final one) is not sent."""
        self._add_to_tag(transaction.request, response, transaction.flow)
        actions = transaction.fire(_kind_of(response.status))
        if "send" not in actions:
            return
        data = transaction.sent = response.to_bytes()
        self._outbox.append((data, transaction.flow))
        if transaction.kind is Kind.SERVER and transaction.state is State.COMPLETED:
            del self._servers[transaction.key]
            if not transaction.flow.reliable:
                self._answers.keep(transaction.key, transaction.request, response, data, now)
            return
        self._run(transaction, actions, now, sent=True)

    def abandon(self, transaction: Transaction) -> None:
        """Forget a transaction that will never be answered; repetitions of a peer's request count as new."""
        self._end(transaction)

    def send_request(self, request: Request, flow: Flow, now: float) -> ClientTransaction:
        """Send a request with a Via of ours on top; responses come back as events."""
        return self._begin_client(request, flow, now, self._new_branch())

    def cancel(
        self, transaction: ClientTransaction, now: float, extra: Iterable[tuple[str, str]] = ()
    ) -> ClientTransaction | None:
        """Send the CANCEL of an INVITE (RFC 3261 9.1). None when it is too late, or too early (no 1xx came yet)."""
        if transaction.kind is not Kind.INVITE_CLIENT or transaction.state is not State.PROCEEDING:
            return None
        invite = transaction.request
        headers = [line for line in invite.headers if line[0] in ("From", "To", "Call-ID", "Route")]
        cancel = Request("CANCEL", invite.uri, [*headers, ("CSeq", f"{invite.cseq.number} CANCEL"), *extra])
        return self._begin_client(cancel, transaction.flow, now, invite.via.branch or "")

    def send_statelessly(self, request: Request, flow: Flow) -> None:
        """Send a request that has no transaction: the ACK to a 2xx (RFC 3261 13.2.2.4)."""
        self._put_via(request, flow, self._new_branch())
        self._outbox.append((request.to_bytes(), flow))

    def transport_failed(self, flow: Flow, now: float) -> None:
        """The shell could not send on this flow, or its connection ended."""
        hit: list[Transaction] = list(self._clients_of.get(flow, ()))
        if flow.reliable:
            hit += [transaction for transaction in self._servers.values() if transaction.flow == flow]
        for transaction in hit:
            self._run(transaction, transaction.fire("transport error"), now)

    # -- what goes out

    def datagrams_to_send(self) -> list[tuple[bytes, Flow]]:
        """All packets that wait, in order; the endpoint has none left afterwards."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def next_timeout(self) -> float | None:
        """When handle_timeout() wants to be called at the latest; None when nothing runs."""
        heap = self._heap
        while heap and heap[0][2].deadlines.get(heap[0][3]) != heap[0][0]:
            heapq.heappop(heap)
        first = heap[0][0] if heap else None
        forget = self._answers.next_end()
        return forget if forget is not None and (first is None or forget < first) else first

    def handle_timeout(self, now: float) -> None:
        """Let all timers fire that are due."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            due, _, transaction, letter = heapq.heappop(heap)
            if transaction.deadlines.get(letter) == due:
                del transaction.deadlines[letter]
                self._run(transaction, transaction.fire(letter), now)  # type: ignore[arg-type]
        self._answers.forget(now)

    @property
    def transactions(self) -> int:
        """How many transactions are open, the remembered answers not counted."""
        return len(self._servers) + len(self._clients)

    @property
    def answers_kept(self) -> int:
        return len(self._answers)

    # -- inside

    def _run(self, transaction: Transaction, actions: tuple[Action, ...], now: float, sent: bool = False) -> None:
        for action in actions:
            if action[0] == "+":
                self._start(transaction, action[1], action[2:], now)
            elif action[0] == "-":
                transaction.deadlines.pop(action[1], None)
            elif action == "resend" or (action == "send" and not sent):
                if transaction.sent is not None:
                    self._outbox.append((transaction.sent, transaction.flow))
            elif action == "ack":
                if isinstance(transaction, ClientTransaction) and transaction.acknowledgement is not None:
                    self._outbox.append((transaction.acknowledgement, transaction.flow))
            elif action == "timeout":
                self._events.append(TransactionTimeout(transaction))
            elif action == "failed":
                self._events.append(TransportFailed(transaction, transaction.flow))
        if transaction.state is State.TERMINATED:
            self._end(transaction)

    def _start(self, transaction: Transaction, letter: str, again: str, now: float) -> None:
        if not again:
            seconds = self._timers.first(letter, transaction.flow.reliable)
            if seconds is None:
                return
        elif again == "2":
            seconds = self._timers.t2
        else:
            seconds = self._timers.again(letter, transaction.intervals[letter])
        transaction.intervals[letter] = seconds
        transaction.deadlines[letter] = now + seconds
        heapq.heappush(self._heap, (now + seconds, next(self._counter), transaction, letter))

    def _end(self, transaction: Transaction) -> None:
        transaction.deadlines.clear()
        if isinstance(transaction, ClientTransaction):
            self._clients.pop(transaction.key, None)
            on_flow = self._clients_of.get(transaction.flow)
            if on_flow is not None:
                on_flow.discard(transaction)
                if not on_flow:
                    del self._clients_of[transaction.flow]
        else:
            self._servers.pop(transaction.key, None)

    def _begin_client(self, request: Request, flow: Flow, now: float, branch: str) -> ClientTransaction:
        self._put_via(request, flow, branch)
        transaction = ClientTransaction(f"{branch} {request.method}", request, flow)
        transaction.sent = request.to_bytes()
        self._clients[transaction.key] = transaction
        self._clients_of.setdefault(flow, set()).add(transaction)
        self._run(transaction, transaction.fire("begin"), now)
        return transaction

    def _new_branch(self) -> str:
        return f"{self._branch_prefix}{next(self._counter):x}"

    @staticmethod
    def _put_via(request: Request, flow: Flow, branch: str) -> None:
        host, port = flow.local
        sent_by = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        request.prepend("Via", f"SIP/2.0/{flow.transport} {sent_by};branch={branch};rport")
        if request.get("Max-Forwards") is None:
            request.add("Max-Forwards", "70")

    def _to_tag(self, request: Request, flow: Flow) -> str:
        if request.answer_tag:
            return request.answer_tag
        return self._tag(f"{request.get('Call-ID')}|{_from_tag(request)}|{_branch(request)}|{flow.remote[0]}")

    def _add_to_tag(self, request: Request, response: Response, flow: Flow) -> str:
        """A To-tag for all but 100, the same one each time the same request is answered. Returns it, or ""."""
        if response.status == 100 or has_to_tag(request):
            return ""
        to = request.get("To")
        for index, (name, value) in enumerate(response.headers):
            if name == "To":
                if value == to:
                    tag = self._to_tag(request, flow)
                    response.headers[index] = ("To", f"{value};tag={tag}")
                    return tag
                break
        return ""


def _bounded(key: str) -> str:
    return key if len(key) <= LONG_KEY else hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _way_back(request: Request, flow: Flow) -> Flow:
    """Where the answers to a request go. Over UDP, who does not ask for rport (RFC 3581) listens on the port of its
    sent-by (RFC 3261 18.2.2); but behind a NAT, whose address is another than the one it knows, that port is closed,
    and only the one that it sent from is open. The address is always the packet's own."""
    if flow.transport != "UDP":
        return flow
    try:
        via = request.via
    except SipError:
        return flow
    if "rport" in via.params:
        return flow
    port = via.port or 5060
    if via.host != flow.remote[0] or port == flow.remote[1]:
        return flow
    return flow._replace(remote=(flow.remote[0], port))


def _kind_of(status: int) -> TableEvent:
    return "provisional" if status < 200 else "success" if status < 300 else "failure"


def _from_tag(request: Request) -> str:
    try:
        return request.from_.tag or ""
    except SipError:
        return ""


def _branch(request: Request) -> str:
    try:
        return request.via.branch or ""
    except SipError:
        return ""


def _acknowledge(invite: Request, response: Response) -> Request:
    """The ACK to a 300-699 (RFC 3261 17.1.1.3): it follows the INVITE's own path, under its own Via."""
    headers = [("Via", invite.get("Via") or ""), ("Max-Forwards", "70")]
    headers += [line for line in invite.headers if line[0] in ("From", "Call-ID", "Route")]
    headers.append(("To", response.get("To") or ""))
    headers.append(("CSeq", f"{invite.cseq.number} ACK"))
    return Request("ACK", invite.uri, headers)


def _unparametrised(via: str) -> str:
    return via.partition(";")[0].rstrip(" \t")
