"""Dialogs (RFC 3261 12): what two user agents remember of each other. No timers, no packets."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from .errors import SipError
from .headers import NameAddr, parse_name_addr, split_list
from .message import Message, Request, Response, canonical_name
from .uri import parse_uri

# RFC 3261 12.2.1.2, RFC 3311, RFC 6665: requests whose Contact moves the remote target
TARGET_REFRESHING = frozenset(("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"))

_CREDENTIALS = ("Authorization", "Proxy-Authorization")


@dataclass(slots=True, kw_only=True)
class Dialog:
    """One dialog, seen from our side. Tags are "" with an RFC 2543 peer that sends none."""

    call_id: str
    local_tag: str
    remote_tag: str
    local_uri: str  # as it stands in From of our requests, without its tag
    remote_uri: str  # as it stands in To of our requests, without its tag
    local_contact: str  # a Contact value of ours
    remote_target: str  # the URI our requests go to
    local_seq: int | None = None  # CSeq of our last request
    remote_seq: int | None = None  # CSeq of the peer's last request
    route_set: list[str] = field(default_factory=list)  # Route values, first hop first
    secure: bool = False  # sips only (12.1.1)
    early: bool = False

    @classmethod
    def as_uas(cls, request: Request, local_tag: str, local_contact: str, *, early: bool = False) -> "Dialog":
        """The dialog that our answer to this request makes (12.1.1). Raises SipError 400 when it has no Contact."""
        return cls(
            call_id=request.call_id,
            local_tag=local_tag,
            remote_tag=request.from_.tag or "",
            local_uri=_untagged(request, "To", request.to),
            remote_uri=_untagged(request, "From", request.from_),
            local_contact=local_contact,
            remote_target=_target(request),
            remote_seq=request.cseq.number,
            route_set=_routes(request),
            secure=request.request_uri.scheme == "sips",
            early=early,
        )

    @classmethod
    def as_uac(cls, request: Request, response: Response, local_contact: str) -> "Dialog":
        """The dialog that this 101-299 to our request makes (12.1.2). Raises SipError 400 without Contact or To-tag.

        A provisional response may come without Contact (RFC 3261 table 2): then the Request-URI stays the target.
        """
        if response.to.tag is None and response.status < 200:
            raise SipError(400, "Missing To Tag")
        early = response.status < 200
        target = request.uri if early and response.get("Contact") is None else _target(response)
        return cls(
            call_id=request.call_id,
            local_tag=request.from_.tag or "",
            remote_tag=response.to.tag or "",
            local_uri=_untagged(request, "From", request.from_),
            remote_uri=_untagged(request, "To", request.to),
            local_contact=local_contact,
            remote_target=target,
            local_seq=request.cseq.number,
            route_set=_routes(response)[::-1],
            secure=request.request_uri.scheme == "sips",
            early=early,
        )

    @property
    def key(self) -> tuple[str, str, str]:
        """Call-ID, local tag, remote tag: what a dialog is known by (12)."""
        return self.call_id, self.local_tag, self.remote_tag

    @staticmethod
    def key_of_request(request: Request) -> tuple[str, str, str]:
        """The key of the dialog that a received request belongs to, if there is one. Raises SipError 400."""
        return request.call_id, request.to.tag or "", request.from_.tag or ""

    @staticmethod
    def key_of_response(response: Response) -> tuple[str, str, str]:
        """The key of the dialog that a received response belongs to, if there is one. Raises SipError 400."""
        return response.call_id, response.from_.tag or "", response.to.tag or ""

    def matches(self, message: Request | Response) -> bool:
        """Whether a received message belongs here: Call-ID and both tags (12.2.2). Raises SipError 400."""
        if isinstance(message, Request):
            return self.key == self.key_of_request(message)
        return self.key == self.key_of_response(message)

    def receive_request(self, request: Request) -> None:
        """Take note of an in-dialog request (12.2.2). Raises SipError 500 when it is out of order."""
        number = request.cseq.number
        if request.method == "ACK" or request.method == "CANCEL":
            return  # they bear the number of their INVITE
        if self.remote_seq is not None and number < self.remote_seq:
            raise SipError(500, "CSeq Out Of Order")
        self.remote_seq = number
        if request.method in TARGET_REFRESHING and request.get("Contact") is not None:
            self.remote_target = _target(request)

    def receive_response(self, response: Response) -> None:
        """Take note of a response to a request of ours within this dialog (12.2.1.2, 13.2.2.4)."""
        if not 200 <= response.status < 300:
            return
        method = response.cseq.method
        if self.early and method == "INVITE":
            self.early = False
            self.route_set = _routes(response)[::-1]  # the 2xx has the last word on the route
        if method in TARGET_REFRESHING and response.get("Contact") is not None:
            self.remote_target = _target(response)

    def make_request(self, method: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> Request:
        """An in-dialog request (12.2.1.1), without Via; each one has the next CSeq. Not for ACK and CANCEL."""
        self.local_seq = 1 if self.local_seq is None else self.local_seq + 1
        return self._request(method, self.local_seq, headers, body)

    def make_ack(self, invite: Request, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> Request:
        """The ACK to a 2xx (13.2.2.4): CSeq number and credentials of its INVITE, Via of its own."""
        credentials = [line for line in invite.headers if line[0] in _CREDENTIALS]
        return self._request("ACK", invite.cseq.number, [*credentials, *headers], body)

    def _request(self, method: str, number: int, headers: Iterable[tuple[str, str]], body: bytes) -> Request:
        uri, routes = self.remote_target, self.route_set
        if routes:
            first = parse_name_addr(routes[0]).uri
            if "lr" not in first.params:
                # a strict router of RFC 2543: it wants its own URI in the start line and the target at the end
                uri, routes = str(first), [*routes[1:], f"<{self.remote_target}>"]
        lines = [("Max-Forwards", "70"), *(("Route", route) for route in routes)]
        lines += [
            ("From", f"{self.local_uri};tag={self.local_tag}" if self.local_tag else self.local_uri),
            ("To", f"{self.remote_uri};tag={self.remote_tag}" if self.remote_tag else self.remote_uri),
            ("Call-ID", self.call_id),
            ("CSeq", f"{number} {method}"),
        ]
        if method in TARGET_REFRESHING:
            lines.append(("Contact", self.local_contact))
        lines += [(canonical_name(name), value) for name, value in headers]
        return written_request(method, uri, lines, body)


def written_request(method: str, uri: str, lines: list[tuple[str, str]], body: bytes) -> Request:
    """What Request() makes of names in their canonical spelling: half of its time it looks them up."""
    request = Request.__new__(Request)
    request.method, request.uri, request.headers, request.body = method, uri, lines, body
    return request


def _untagged(message: Message, name: str, address: NameAddr) -> str:
    """The address in this header without its tag: as it is written there, where nothing but the tag follows it."""
    text, tag = message.get(name) or "", address.tag
    if len(address.params) == (tag is not None):
        end = ">" if tag is None else f">;tag={tag}"
        if text.endswith(end):
            return text[: len(text) - len(end) + 1]
    params = {name: value for name, value in address.params.items() if name != "tag"}
    return str(NameAddr(address.display_name, address.uri, params))


def _routes(message: Message) -> list[str]:
    values = [value for line in message.getall("Record-Route") for value in split_list(line)]
    for value in values:
        parse_name_addr(value)
    return values


def _target(message: Message) -> str:
    contacts = message.contacts
    if not isinstance(contacts, list) or len(contacts) != 1:
        raise SipError(400, "Need One Contact")
    contact, text = contacts[0], message.get("Contact") or ""
    uri = contact.uri
    if text[:1] == "<" and text[-1:] == ">" and not contact.params and not uri.headers:
        return text[1:-1]  # as nearly all write it
    return str(uri if not uri.headers else parse_uri(str(uri).partition("?")[0]))
