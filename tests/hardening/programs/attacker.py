"""Somebody who writes his SIP messages by hand: any line may be wrong, doubled or somebody else's."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

from tests.support.caller import Address, Fault, Msg, UdpWire, Wire, read
from tests.support.phone import authorization, read_challenge

PATIENCE = 0.6
"""Seconds without any answer after which none is expected any more."""


class Attacker:
    """``number`` and ``password``: of the extension that is really his, if he has one."""

    def __init__(
        self, server: Address, host: str, number: str = "", password: str = "", domain: str = "pbx.test",
        wire: Wire | None = None,
    ) -> None:
        self.wire = wire or UdpWire(host)
        self.server, self.number, self.password, self.domain = server, number, password, domain
        self.transport = "UDP" if wire is None else "TCP"
        self.inbox: list[Msg] = []

    @property
    def sent_by(self) -> str:
        return f"{self.wire.address[0]}:{self.wire.address[1]}"

    def close(self) -> None:
        self.wire.close()

    def write(self, start: str, lines: Sequence[str], body: bytes = b"", *, branch: str = "") -> str:
        """Send one message and return its branch. Without a Via among the lines it has the attacker's own."""
        branch = branch or f"z9hG4bK{secrets.token_hex(8)}"
        own = not any(re.match(r"(?i)(via|v)\s*:", line) for line in lines)
        via = [f"Via: SIP/2.0/{self.transport} {self.sent_by};rport;branch={branch}"] if own else []
        text = "\r\n".join([start, *via, *lines, f"Content-Length: {len(body)}"]) + "\r\n\r\n"
        self.wire.send(text.encode("utf-8", "surrogateescape") + body, self.server)
        return branch

    def final(self, branch: str, seconds: float = PATIENCE) -> Msg | None:
        """The final answer to what had this branch; whatever else comes is kept in the inbox."""
        end = self.wire.now() + seconds
        while (left := end - self.wire.now()) > 0:
            got = self.wire.receive(left)
            if got is None:
                return None
            data, source = got
            if not data.strip(b"\r\n\0"):
                continue
            try:
                message = read(data, source, self.wire.now())
            except Fault:
                if data.startswith(b"SIP/2.0 4"):
                    return None  # the refusal of something too broken to be answered strictly
                raise
            if message.status >= 200 and message.branch == branch:
                return message
            self.inbox.append(message)
        return None

    def ask(
        self, method: str, uri: str, lines: Sequence[str], body: bytes = b"", *, username: str | None = None,
        named: str | None = None, digest_uri: str | None = None, field: str = "Authorization",
        more: Sequence[str] = (), cseq: bool = True,
    ) -> Msg | None:
        """A request and its final answer, the challenge answered with the attacker's own password. ``username``: whose
        name is hashed; ``named``: the name written into the credentials; ``more``: header lines beside them."""
        number = 1 + secrets.randbelow(1000)
        for _ in range(2):
            counted = [f"CSeq: {number} {method}"] if cseq else []
            branch = self.write(f"{method} {uri} SIP/2.0", [*lines, *counted, *more], body)
            answer = self.final(branch)
            if answer is None:
                return None
            if method == "INVITE" and answer.status >= 300:
                self._confirm(uri, lines, answer, branch)
            if answer.status != 401 or not self.password or any(line.startswith(field) for line in more):
                return answer
            challenge = read_challenge(answer.one("WWW-Authenticate"))
            username = self.number if username is None else username
            value = authorization(
                challenge, username=username, password=self.password, method=method, uri=digest_uri or uri, nc=1
            )
            if named is not None:
                value = value.replace(f'username="{username}"', named if "=" in named else f'username="{named}"')
            more = [f"{field}: {value}", *more]
            number += 1
        return answer

    def _confirm(self, uri: str, lines: Sequence[str], answer: Msg, branch: str) -> None:
        keep = [line for line in lines if re.match(r"(?i)(from|call-id|max-forwards)\s*:", line)]
        self.write(
            f"ACK {uri} SIP/2.0", [*keep, f"To: {answer.one('To')}", f"CSeq: {answer.cseq} ACK"], branch=branch
        )
