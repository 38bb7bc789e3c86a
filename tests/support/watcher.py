"""A phone that watches others: SUBSCRIBE and NOTIFY (RFC 6665) of a strict ``Caller``, and what stands in the
documents it is sent. It shares no line with ``sipcore``."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from xml.etree import ElementTree

from tests.support.caller import SECONDS, Caller, Dialog, Fault, Header, Msg

DIALOG_INFO = "{urn:ietf:params:xml:ns:dialog-info}"
PIDF = "{urn:ietf:params:xml:ns:pidf}"
RPID = "{urn:ietf:params:xml:ns:pidf:rpid}"
MODEL = "{urn:ietf:params:xml:ns:pidf:data-model}"
TYPES = {
    "dialog": "application/dialog-info+xml",
    "presence": "application/pidf+xml",
    "message-summary": "application/simple-message-summary",
}
REASONS = {"deactivated", "probation", "rejected", "timeout", "giveup", "noresource"}


@dataclass
class News:
    """One NOTIFY. ``lamp``: the state of each dialog told (RFC 4235); ``open``, ``on_the_phone``: of presence."""

    message: Msg
    active: bool
    reason: str
    expires: int | None
    lamp: list[str] = field(default_factory=list)
    directions: list[str] = field(default_factory=list)
    version: int | None = None
    open: bool | None = None
    on_the_phone: bool = False
    note: str = ""
    messages: dict[str, str] = field(default_factory=dict)


class Watch:
    """One subscription of ``phone``, made at once. ``refusal`` is the answer when it was not accepted."""

    def __init__(
        self, phone: Caller, number: str, event: str = "dialog", *, expires: int | None = 600,
        accept: str | None = None, headers: tuple[Header, ...] = (), status: int = 200, uri: str = "",
    ) -> None:
        self.phone, self.number, self.event = phone, number, event
        self.package = event.partition(";")[0]
        self.call_id = secrets.token_hex(8)
        self.uri = uri or f"sip:{number}@{phone.domain}"
        self.local = f"<{phone.aor}>;tag={secrets.token_hex(4)}"
        self.last_cseq = 0
        self.last_version = -1
        lines = [("From", self.local), ("To", f"<{self.uri}>"), ("Call-ID", self.call_id), ("Contact", phone.contact)]
        answer = phone.ask("SUBSCRIBE", self.uri, [*lines, *self._asking(expires, accept), *headers])
        if answer.status != status:
            raise Fault(f"SUBSCRIBE got\n{answer}")
        self.answer = answer
        if status == 200:
            self._check_accepted(answer, expires)
            self.dialog = Dialog(
                self.call_id, self.local, answer.one("To"), answer.target, answer.all("Record-Route")[::-1], answer.cseq
            )

    def _asking(self, expires: int | None, accept: str | None) -> list[Header]:
        lines = [("Event", self.event)]
        if accept != "":
            lines.append(("Accept", accept or TYPES.get(self.package, "text/plain")))
        if expires is not None:
            lines.append(("Expires", str(expires)))
        return lines

    def _check_accepted(self, answer: Msg, expires: int | None) -> None:
        granted = int(answer.one("Expires"))
        if expires is not None and granted > expires:
            raise Fault(f"more time than was asked for (RFC 6665 4.2.1.1):\n{answer}")

    def again(self, expires: int = 600, *, status: int = 200, phone: Caller | None = None,
              headers: tuple[Header, ...] = ()) -> Msg:
        """A SUBSCRIBE within the dialog; ``expires`` 0 ends it. ``phone``: from another address."""
        phone = phone or self.phone
        sent = phone.request(self.dialog, "SUBSCRIBE", [*self._asking(expires, None), *headers])
        answer = phone.final(sent)
        if answer.status == 401 and status != 401 and phone.password is not None:
            self.dialog.cseq += 1
            answer = phone.final(phone.with_credentials(sent, answer, cseq=self.dialog.cseq))
        if answer.status != status:
            raise Fault(f"SUBSCRIBE got\n{answer}")
        return answer

    def news(self, seconds: float = SECONDS, *, status: int = 200, headers: tuple[Header, ...] = ()) -> News:
        """The next NOTIFY of this subscription, checked and answered (``status`` 0: not answered)."""
        message = self.phone.expect("NOTIFY", seconds, call_id=self.call_id)
        if status:
            self.phone.respond(message, status, headers=headers)
        return self.read(message)

    def wait_lamp(self, *wanted: str, seconds: float = SECONDS) -> News:
        """NOTIFYs until one shows this; what came before it is in between."""
        end = self.phone.wire.now() + seconds
        seen = []
        while self.phone.wire.now() < end:
            news = self.news(end - self.phone.wire.now())
            if news.lamp == list(wanted):
                return news
            seen.append(news.lamp)
        raise Fault(f"never {wanted}, but {seen}")

    def wait_open(self, wanted: bool, on_the_phone: bool | None = None, seconds: float = SECONDS) -> News:
        end = self.phone.wire.now() + seconds
        while self.phone.wire.now() < end:
            news = self.news(end - self.phone.wire.now())
            if news.open is wanted and on_the_phone in (None, news.on_the_phone):
                return news
        raise Fault(f"presence never became {wanted} {on_the_phone}")

    def quiet(self, seconds: float = 1.0) -> None:
        self.phone.quiet(seconds)

    def read(self, message: Msg) -> News:
        if message.from_tag != self.answer.to_tag or f";tag={message.to_tag}" not in self.local:
            raise Fault(f"the tags are of another dialog:\n{message}")
        if message.cseq <= self.last_cseq:
            raise Fault(f"CSeq does not rise ({self.last_cseq}):\n{message}")
        self.last_cseq = message.cseq
        if message.uri != f"sip:{self.number_of(self.phone.contact)}":
            raise Fault(f"not sent to our Contact:\n{message}")
        if message.one("Event") != self.event:
            raise Fault(f"Event is not {self.event}:\n{message}")
        line = message.one("Subscription-State")
        state = re.fullmatch(r"(active|terminated)(?:;expires=(\d+))?(?:;reason=(\w+))?", line)
        if not state or (state[1] == "active") == bool(state[3]) or (state[3] and state[3] not in REASONS):
            raise Fault(f"Subscription-State:\n{message}")
        if message.one("Content-Type") != TYPES[self.package]:
            raise Fault(f"Content-Type:\n{message}")
        news = News(message, state[1] == "active", state[3] or "", int(state[2]) if state[2] else None)
        {"dialog": self._read_dialogs, "presence": self._read_presence, "message-summary": self._read_summary}[
            self.package
        ](news)
        return news

    @staticmethod
    def number_of(contact: str) -> str:
        return contact.strip("<>").removeprefix("sip:")

    def _read_dialogs(self, news: News) -> None:
        root = ElementTree.fromstring(news.message.body)
        version = root.get("version", "")
        if root.tag != DIALOG_INFO + "dialog-info" or set(root.attrib) != {"version", "state", "entity"}:
            raise Fault(f"not a dialog-info (RFC 4235 4.4):\n{news.message}")
        if root.get("state") != "full" or root.get("entity") != self.uri or not version.isdigit():
            raise Fault(f"state, entity or version:\n{news.message}")
        news.version = int(version)
        if news.version <= self.last_version:
            raise Fault(f"version does not rise:\n{news.message}")
        self.last_version = news.version
        ids = set()
        for dialog in root:
            if dialog.tag != DIALOG_INFO + "dialog" or not set(dialog.attrib) <= {"id", "direction"}:
                raise Fault(f"not a dialog:\n{news.message}")
            if dialog.get("id") in ids or not dialog.get("id"):
                raise Fault(f"ids must differ:\n{news.message}")
            ids.add(dialog.get("id"))
            state = dialog.find(DIALOG_INFO + "state")
            if state is None or dialog[0] is not state or state.text not in (
                "trying", "proceeding", "early", "confirmed", "terminated"
            ):
                raise Fault(f"state of a dialog:\n{news.message}")
            if dialog.get("direction") not in (None, "initiator", "recipient"):
                raise Fault(f"direction of a dialog:\n{news.message}")
            news.lamp.append(state.text)
            news.directions.append(dialog.get("direction", ""))

    def _read_presence(self, news: News) -> None:
        root = ElementTree.fromstring(news.message.body)
        if root.tag != PIDF + "presence" or set(root.attrib) != {"entity"} or root.get("entity") != self.uri:
            raise Fault(f"not a PIDF (RFC 3863 4.1):\n{news.message}")
        tuples = root.findall(PIDF + "tuple")
        if len(tuples) != 1 or root[0] is not tuples[0] or not tuples[0].get("id"):
            raise Fault(f"one tuple with an id:\n{news.message}")
        order = [child.tag for child in tuples[0]]
        wanted = [PIDF + name for name in ("status", "contact", "note")]
        if order != [tag for tag in wanted if tag in order] or PIDF + "status" not in order:
            raise Fault(f"order within the tuple:\n{news.message}")
        basic = tuples[0].findtext(f"{PIDF}status/{PIDF}basic")
        if basic not in ("open", "closed"):
            raise Fault(f"basic:\n{news.message}")
        news.open = basic == "open"
        news.note = tuples[0].findtext(PIDF + "note") or ""
        news.on_the_phone = root.find(f"{MODEL}person/{RPID}activities/{RPID}on-the-phone") is not None

    def _read_summary(self, news: News) -> None:
        lines = news.message.body.decode().split("\r\n")
        if lines.pop() != "" or not re.fullmatch(r"Messages-Waiting: (yes|no)", lines[0]):
            raise Fault(f"not a message summary (RFC 3842 5.2):\n{news.message}")
        for line in lines:
            name, colon, value = line.partition(": ")
            if not colon:
                raise Fault(f"not a line of a summary: {line!r}")
            news.messages[name] = value
        if not re.fullmatch(r"\d+/\d+( \(\d+/\d+\))?", news.messages.get("Voice-Message", "0/0")):
            raise Fault(f"Voice-Message:\n{news.message}")
