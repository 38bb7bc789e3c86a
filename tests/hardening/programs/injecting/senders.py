"""Who sends the texts: strangers who are refused, an extension with its password, and the phones that it calls."""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import time
from collections.abc import Iterator, Sequence

from tests.hardening.programs.forwarders import Forwarder
from tests.support.caller import Address, Fault, Msg
from tests.support.phone import authorization, read_challenge
from tests.verdicts.hostile import OBEYED, as_bytes


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def word(text: str) -> str:
    """As much of it as may stand in a URI or a Call-ID."""
    return re.sub(r"[\s<>\"@;,?:\\()\[\]]", ".", text)


def escaped(text: str) -> str:
    """All of it, escaped for the user part of a URI."""
    return "".join(f"%{byte:02X}" for byte in as_bytes(text))


def refused(server: Address, domain: str, text: str, host: str) -> None:
    """The text everywhere in messages of a stranger, one place at a time, so that no place hides behind another's
    refusal."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((host, 0))
        for message in _messages(domain, text):
            sender.sendto(message, server)
            time.sleep(0.001)


PLACES = (
    "agent", "name", "contact", "call_id", "realm", "username", "number", "domain", "via", "method", "response",
    "escaped", "uri", "tag", "subject",
)


def _messages(domain: str, text: str) -> Iterator[bytes]:
    for place in PLACES:
        for method in ("REGISTER", "INVITE", "SUBSCRIBE", "MESSAGE", "OPTIONS"):
            values = {
                "agent": "Tester", "name": '"1009"', "contact": "<sip:1009@127.0.0.1:5099>", "method": method,
                "call_id": secrets.token_hex(6), "realm": domain, "username": "1009", "number": "1009", "via": "x",
                "domain": domain, "response": "0" * 32, "escaped": "1009", "uri": f"sip:{domain}", "tag": "t",
                "subject": "x",
            } | {place: {
                "agent": text, "name": quoted(text),
                "contact": f"{quoted(text)} <sip:{word(text)}@127.0.0.1;x={word(text)}>",
                "call_id": word(text), "realm": text.replace('"', '\\"'), "username": text.replace('"', '\\"'),
                "number": word(text), "domain": f"{word(text)}.example", "via": word(text), "method": word(text),
                "response": text.replace('"', '\\"'), "escaped": escaped(text), "uri": f"sip:{word(text)}@{domain}",
                "tag": word(text), "subject": text,
            }[place]}
            user = values["number"] if place != "escaped" else values["escaped"]
            yield b"\r\n".join(as_bytes(line) for line in (
                f"{values['method']} {values['uri']} SIP/2.0",
                f"Via: SIP/2.0/UDP 127.0.0.1:5099;rport;branch=z9hG4bK{secrets.token_hex(6)};x={values['via']}",
                "Max-Forwards: 70",
                f"From: {values['name']} <sip:{user}@{values['domain']}>;tag={values['tag']}",
                f"To: {values['name']} <sip:{user}@{values['domain']}>",
                f"Call-ID: {values['call_id']}",
                f"CSeq: 1 {values['method']}",
                f"Contact: {values['contact']}",
                f"User-Agent: {values['agent']}",
                f"Subject: {values['subject']}",
                "Event: dialog",
                f'Authorization: Digest username="{values["username"]}", realm="{values["realm"]}", nonce="1", '
                f'uri="{values["uri"]}", response="{values["response"]}"',
                "Content-Length: 0", "", "",
            ))
    yield as_bytes(text)
    yield b"SIP/2.0 200 " + as_bytes(text) + b"\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKq\r\nCSeq: 1 INVITE\r\n\r\n"


class Reader(Forwarder):
    """A phone whose every answer holds a text, and which keeps what it is sent."""

    text = "x"
    final = 486

    def __post_init__(self) -> None:
        super().__post_init__()
        self.received: list[bytes] = []
        self.then = Reader._tell

    def take(self, data: bytes, source: Address) -> None:
        self.received.append(data)
        with contextlib.suppress(Fault, UnicodeDecodeError):  # it is among what was received, and is looked at there
            super().take(data, source)

    @staticmethod
    def _tell(phone: Forwarder, request: Msg) -> None:
        assert isinstance(phone, Reader)
        line = phone.text.replace("\n", "\n\t").replace("\r", " ")  # a line end here would only break its own answer
        final = 200 if request.method == "MESSAGE" or request.to_tag else phone.final
        for status in (183, final):
            body = phone.sdp() if request.method == "INVITE" and status in (183, 200) else b""
            lines = [
                f"SIP/2.0 {status} {line}",
                *(f"{name}: {value}" for name, value in request.headers if name in ("Via", "From", "Call-ID", "CSeq")),
                f"To: {request.one('To')}{'' if request.to_tag else f';tag={phone.number}x'}",
                f"Contact: {quoted(line)} <sip:{phone.number}@{phone.place}>",
                f"Server: {line}", f"User-Agent: {line}", f"Warning: 399 x {quoted(line)}", f"Organization: {line}",
                f"Reason: SIP;cause=1;text={quoted(line)}", *(["Content-Type: application/sdp"] if body else []),
                f"Content-Length: {len(body)}",
            ]
            phone.wire.send(as_bytes("\r\n".join(lines) + "\r\n\r\n") + body, phone.server)

    def sdp(self) -> bytes:
        return session(self.host, self.text)


def obeyed(received: Sequence[bytes]) -> list[str]:
    """What of the received a terminal or a screen would obey, or is no text."""
    found = []
    for data in received:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            found.append(f"no UTF-8: {data[:400]!r}")
            continue
        if match := OBEYED.search(text.replace("\r\n", "\n").replace("\t", " ")):
            found.append(f"{match[0]!r} in {text[max(0, match.start() - 80):match.end() + 20]!r}")
    return found


def session(host: str, text: str) -> bytes:
    """A session description with the text wherever a text may stand."""
    one = re.sub(r"[\r\n]", " ", text)
    lines = [
        "v=0", f"o={word(one)} 1 1 IN IP4 {host}", f"s={one}", f"i={one}", f"u=http://x/{word(one)}", f"e=x@y ({one})",
        f"c=IN IP4 {host}", "t=0 0", f"a=tool:{one}", "m=audio 40000 RTP/AVP 0", f"i={one}", f"a=label:{word(one)}",
        f"a=x-hostile:{one}", "a=rtpmap:0 PCMU/8000",
    ]
    return as_bytes("\r\n".join(lines) + "\r\n")


class Insider:
    """An extension with its password, which knows no manners."""

    def __init__(self, server: Address, domain: str, number: str, password: str, host: str) -> None:
        self.server, self.domain, self.number, self.password = server, domain, number, password
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.settimeout(0.4)
        self.host = host
        self.place = f"{host}:{self.socket.getsockname()[1]}"

    def close(self) -> None:
        self.socket.close()

    def _send(self, method: str, uri: str, lines: Sequence[str], body: bytes, branch: str) -> None:
        via = f"Via: SIP/2.0/UDP {self.place};rport;branch={branch}"
        head = [f"{method} {uri} SIP/2.0", via, "Max-Forwards: 70", *lines, f"Content-Length: {len(body)}"]
        self.socket.sendto(as_bytes("\r\n".join(head) + "\r\n\r\n") + body, self.server)

    def ask(self, method: str, uri: str, lines: Sequence[str], body: bytes = b"", number: int = 1) -> tuple[int, str]:
        """The status of the final answer (0: none came) and the answer, after a challenge."""
        more: list[str] = []
        for _ in range(2):
            branch = f"z9hG4bK{secrets.token_hex(6)}"
            self._send(method, uri, [*lines, f"CSeq: {number} {method}", *more], body, branch)
            status, answer = self._final(branch)
            if method == "INVITE" and status >= 300:
                to = re.search(r"(?m)^To: .*?\r$", answer)
                keep = [line for line in lines if line.startswith(("From:", "Call-ID:"))]
                self._send("ACK", uri, [*keep, to[0].strip() if to else "", f"CSeq: {number} ACK"], b"", branch)
            if status != 401 or more:
                break
            value = re.search(r"(?m)^WWW-Authenticate: (.*?)\r$", answer)
            assert value is not None
            more = ["Authorization: " + authorization(
                read_challenge(value[1]), username=self.number, password=self.password, method=method, uri=uri, nc=1)]
            number += 1
        return status, answer

    def _final(self, branch: str) -> tuple[int, str]:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            try:
                data = self.socket.recv(65535)
            except TimeoutError:
                return 0, ""
            text = data.decode("utf-8", "surrogateescape")
            matched = re.match(r"SIP/2\.0 (\d\d\d)", text)
            if matched and int(matched[1]) >= 200 and f"branch={branch}" in text:
                return int(matched[1]), text
            if not matched and text.strip("\r\n\0"):
                self._obey(text)
        return 0, ""

    def _obey(self, request: str) -> None:
        """200 to whatever the PBX asks."""
        lines = [line for line in request.split("\r\n") if re.match(r"(Via|From|To|Call-ID|CSeq): ", line)]
        if not request.startswith("ACK"):
            answer = "\r\n".join(["SIP/2.0 200 OK", *lines, "Content-Length: 0"]) + "\r\n\r\n"
            self.socket.sendto(as_bytes(answer), self.server)

    def _names(self, text: str, to: str, call_id: str) -> list[str]:
        line = text.replace("\r", " ").replace("\n", " ")
        return [
            f"From: {quoted(line)} <sip:{self.number}@{self.domain}>;tag={secrets.token_hex(4)}", f"To: <{to}>",
            f"Call-ID: {call_id}", f"Contact: {quoted(line)} <sip:{self.number}@{self.place}>", f"User-Agent: {line}",
            f"Subject: {line}", f"Priority: {line}", f"Organization: {line}", f"Alert-Info: <{word(line)}>",
            f"Reason: SIP;cause=1;text={quoted(line)}", f"Warning: 399 x {quoted(line)}",
        ]

    def speak(self, text: str) -> list[tuple[str, int]]:
        """Register, be refused, subscribe, write, call somebody who is busy and somebody who answers, dial the text."""
        line = text.replace("\r", " ").replace("\n", " ")
        id = re.sub(r"[^\x21-\x7e]", "", word(text))[:40]
        server, done = f"sip:{self.domain}", []
        names = self._names(text, f"sip:{self.number}@{self.domain}", f"{id}{secrets.token_hex(3)}")
        for contact in (
            f"{quoted(line)} <sip:{self.number}@{self.place}>", f"<sip:{escaped(line)[:120]}@{self.place}>",
            f"<sip:{self.number}@{self.place};x={word(line)}>",
            f"<sip:{self.number}@{self.place}>;+sip.instance={quoted('<' + line + '>')};reg-id=1",
        ):
            lines = [one for one in names if not one.startswith("Contact")]
            more = [f"Contact: {contact}", "Expires: 60", f"Path: <sip:{word(line)};lr>", "Supported: path"]
            done.append(("REGISTER", self.ask("REGISTER", server, [*lines, *more])[0]))
        for event in ("dialog", f"dialog;id={word(line)}", line):
            lines = self._names(text, f"sip:1001@{self.domain}", f"{id}{secrets.token_hex(3)}")
            status, _ = self.ask("SUBSCRIBE", f"sip:1001@{self.domain}", [*lines, f"Event: {event}", "Expires: 60"])
            done.append(("SUBSCRIBE", status))
        for kind in ("text/plain", "text/html", f"text/plain;x={quoted(line)}"):
            lines = self._names(text, f"sip:1001@{self.domain}", f"{id}{secrets.token_hex(3)}")
            lines.append(f"Content-Type: {kind}")
            done.append(("MESSAGE", self.ask("MESSAGE", f"sip:1001@{self.domain}", lines, as_bytes(text))[0]))
        for dialled in ("1001", escaped(line), word(line), f"{escaped(line)}1001"):
            uri = f"sip:{dialled}@{self.domain}"
            lines = [*self._names(text, uri, f"{id}{secrets.token_hex(3)}"), "Content-Type: application/sdp"]
            done.append(("INVITE", self.ask("INVITE", uri, lines, session(self.host, text))[0]))
        done += self._talk(text, line, id)
        return done

    def _talk(self, text: str, line: str, id: str) -> Iterator[tuple[str, int]]:
        uri = f"sip:1003@{self.domain}"
        lines = self._names(text, uri, f"{id}{secrets.token_hex(3)}")
        status, answer = self.ask("INVITE", uri, [*lines, "Content-Type: application/sdp"], session(self.host, text))
        yield "INVITE", status
        if status != 200:
            return
        to = re.search(r"(?m)^To: .*?\r$", answer)
        contact = re.search(r"(?m)^Contact: <(.*?)>", answer)
        assert to is not None and contact is not None
        keep = [one for one in lines if not one.startswith(("To:", "Content-Type"))] + [to[0].strip()]
        self._send("ACK", contact[1], [*keep, "CSeq: 2 ACK"], b"", f"z9hG4bK{secrets.token_hex(6)}")
        number = 3
        for method, kind, body in (
            ("INFO", "text/plain", as_bytes(text)), ("INFO", "application/dtmf-relay", b"Signal=" + as_bytes(line)),
            ("INFO", f"text/plain;x={quoted(line)}", b"x"), ("MESSAGE", "text/plain", as_bytes(text)),
            ("UPDATE", "application/sdp", session(self.host, text)), ("BYE", "text/plain", as_bytes(text)),
        ):
            more = [f"Content-Type: {kind}", f"Content-Disposition: {word(line)}", f"Info-Package: {word(line)}"]
            yield method, self.ask(method, contact[1], [*keep, *more], body, number)[0]
            number += 2
