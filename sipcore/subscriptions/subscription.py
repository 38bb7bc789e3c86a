"""One subscription, seen from the notifier (RFC 6665 section 4.2), and what the answer to a NOTIFY means. No timers,
no packets."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from sipcore.protocol.dialog import Dialog
from sipcore.protocol.errors import SipError
from sipcore.protocol.flow import Flow
from sipcore.protocol.headers import clean_text, parse_number
from sipcore.protocol.message import Request, Response
from sipcore.protocol.uri import Uri, parse_uri
from sipcore.subscriptions.packages import PACKAGES, Package
from sipcore.subscriptions.ports import CALL_ID_LIMIT, ROUTES_LIMIT, TAG_LIMIT, URI_LIMIT, SubscriptionRow
from sipcore.subscriptions.states import Conversation

if TYPE_CHECKING:
    from sipcore.subscriptions.watched import Watched

SEQ_BLOCK = 1000
"""NOTIFYs that one written row is good for: numbers are taken in advance, so that none is used twice after a crash
and not every NOTIFY costs a write."""

MAX_FAILURES = 3
"""Refusals in a row that would only mean "later", after which the subscription ends."""

RETRY_SECONDS, MAX_RETRY_SECONDS = 30.0, 300.0

_GONE = frozenset((401, 403, 404, 405, 407, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 603, 604))
"""RFC 6665 section 4.2.2 and RFC 5057 section 5.1: the phone knows nothing of it, or does not answer."""


Source = tuple[int, str, str, str, tuple[str, int], str]


class Outcome(Enum):
    DELIVERED = "delivered"
    GONE = "gone"
    LATER = "later"
    ASLEEP = "asleep"  # the connection has ended; its phone may come back on another one


@dataclass(slots=True, eq=False, kw_only=True)
class Subscription:
    """``ends``: monotonic seconds. ``contact``: the phone's at first.

    ``told``: what the last NOTIFY showed; ``wanted``: there may be something newer;
    ``must``: tell it even when nothing has changed; ``final``: why the next NOTIFY is the last one."""

    package: Package
    event_id: str
    subscriber_id: int
    subscriber: str
    resource_id: int
    resource: str
    dialog: Dialog
    flow: Flow
    ends: float
    contact: str = ""
    watched: Watched | None = None
    told: Hashable = None
    told_conversations: tuple[Conversation, ...] = ()
    wanted: bool = False
    must: bool = False
    final: str = ""
    under_way: bool = False
    due: float | None = None
    earliest: float = 0.0
    failures: int = 0
    asleep: bool = False
    over: bool = False
    reserved: int = 0

    @property
    def tag(self) -> str:
        """Ours; it names the subscription."""
        return self.dialog.local_tag

    @property
    def source(self) -> Source:
        """Phone, event and resource: of two subscriptions that are alike in this, only the newer one is wanted."""
        return (
            self.subscriber_id, self.package.name, self.event_id, self.resource, self.flow.remote,
            self.contact,
        )  # fmt: skip

    @property
    def event(self) -> str:
        return f"{self.package.name};id={self.event_id}" if self.event_id else self.package.name

    def entity(self, domain: str) -> str:
        """The extension under the name by which its phone asked for it: phones compare it with what they show."""
        uri = parse_uri(self.dialog.local_uri[1:-1])
        if uri.canonical_user.lower() != self.resource.lower():
            return f"sip:{self.resource}@{domain}"
        return str(Uri(uri.scheme, uri.user, None, uri.host, uri.port))

    def reserve(self) -> bool:
        """Whether the row must be written (anew), for the next NOTIFY has a number that no row covers."""
        if (self.dialog.local_seq or 0) < self.reserved:
            return False
        self.reserved += SEQ_BLOCK
        return True

    def row(self, node: str, worker: int, expires_at: float) -> SubscriptionRow:
        dialog, flow = self.dialog, self.flow
        return SubscriptionRow(
            local_tag=dialog.local_tag,
            remote_tag=dialog.remote_tag,
            call_id=dialog.call_id,
            event=self.package.name,
            event_id=self.event_id,
            subscriber_id=self.subscriber_id,
            subscriber=self.subscriber,
            resource_id=self.resource_id,
            resource=self.resource,
            local_uri=dialog.local_uri,
            remote_uri=dialog.remote_uri,
            remote_target=dialog.remote_target,
            next_seq=self.reserved,
            remote_seq=dialog.remote_seq or 0,
            transport=flow.transport,
            remote_host=flow.remote[0],
            remote_port=flow.remote[1],
            local_host=flow.local[0],
            local_port=flow.local[1],
            connection=flow.connection,
            node=node,
            worker=worker,
            expires_at=expires_at,
            route_set=list(dialog.route_set),
        )


def new_dialog(request: Request, tag: str) -> Dialog:
    """The dialog that our 200 to this SUBSCRIBE makes. Raises SipError 400 when it leads nowhere, or could not be
    stored."""
    dialog = Dialog.as_uas(request, tag, "")
    dialog.local_uri, dialog.remote_uri = f"<{request.to.uri}>", f"<{request.from_.uri}>"
    if not dialog.remote_tag:
        raise SipError(400, "Missing From Tag")
    if not dialog.remote_target.startswith(("sip:", "sips:")):
        raise SipError(400, "Bad Contact")
    texts = (dialog.local_uri, dialog.remote_uri, dialog.remote_target, *dialog.route_set)
    if (
        len(dialog.call_id) > CALL_ID_LIMIT
        or len(dialog.remote_tag) > TAG_LIMIT
        or len(dialog.route_set) > ROUTES_LIMIT
        or any(clean_text(text, URI_LIMIT) != text for text in texts)
    ):
        raise SipError(400, "Header Too Long")
    return dialog


def from_row(row: SubscriptionRow, ends: float) -> Subscription | None:
    """A subscription of before a restart. One over a connection sleeps until its phone is back. None for a package
    that there is no more."""
    package = PACKAGES.get(row.event)
    if package is None:
        return None
    dialog = Dialog(
        call_id=row.call_id,
        local_tag=row.local_tag,
        remote_tag=row.remote_tag,
        local_uri=row.local_uri,
        remote_uri=row.remote_uri,
        local_contact="",
        remote_target=row.remote_target,
        local_seq=row.next_seq,
        remote_seq=row.remote_seq,
        route_set=list(row.route_set),
    )
    flow = Flow(
        row.transport, (row.local_host, row.local_port), (row.remote_host, row.remote_port), row.connection
    )
    return Subscription(
        package=package,
        event_id=row.event_id,
        subscriber_id=row.subscriber_id,
        subscriber=row.subscriber,
        resource_id=row.resource_id,
        resource=row.resource,
        dialog=dialog,
        flow=flow,
        ends=ends,
        contact=row.remote_target,
        wanted=True,
        must=True,
        asleep=row.transport != "UDP",
        reserved=row.next_seq,
    )


def outcome(response: Response, answered: bool, reliable: bool) -> Outcome:
    """What the final response to a NOTIFY means. ``answered`` False: we made it up, for none came (408) or the flow
    broke (503)."""
    if response.status < 300:
        return Outcome.DELIVERED
    if not answered and response.status == 503 and reliable:
        return Outcome.ASLEEP
    if not answered or response.status in _GONE:
        return Outcome.GONE
    return Outcome.LATER


def retry_after(response: Response) -> float:
    """Seconds until the phone wants to hear of it again."""
    seconds = parse_number((response.get("Retry-After") or "").partition(";")[0].partition("(")[0].strip(" \t"))
    return min(float(seconds), MAX_RETRY_SECONDS) if seconds else RETRY_SECONDS


def dialog_key(request: Request) -> tuple[str, str]:
    """What an in-dialog request is looked up by: Call-ID and our tag."""
    return request.call_id, request.to.tag or ""
