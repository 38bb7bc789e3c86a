"""Evidence for the tests of the diagnosis pages, as the engine writes it: what a Zoiper behind a home router did."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from extensions.models import DigestCredential, Extension
from pbx.diagnosis.models import Attempt, Block, OnlinePeriod, WatchedMessage
from pbx.system.models import SipProcess
from tests.extensions.rows import make_extension

PHONE, SOURCE = "Zoiper v2.10.20", "203.0.113.9"
HOSTILE = '"><script>alert(1)</script>\x00\x1b[31m\u202e\U0001f4de'
"""HTML, control characters, a turn of the writing direction and a character of four bytes."""


def make_old_extension(number: str = "1001", **fields) -> Extension:
    """One whose password was given long ago, so that a wrong one is no old one."""
    extension = make_extension(number, **fields)
    DigestCredential.objects.filter(extension=extension).update(changed_at=timezone.now() - timedelta(days=40))
    return extension


def make_server_run() -> None:
    now = timezone.now()
    SipProcess.objects.update_or_create(node="test", defaults={
        "worker": 0, "pid": 1, "started_at": now - timedelta(hours=48), "beat_at": now,
        "listening": "UDP 0.0.0.0:5060",
    })


def register(number: str, *, proves: bool = False, phone: str = PHONE, call_id: str = "a84b4c76e66710") -> str:
    proof = f'Authorization: Digest username="{number}", realm="pbx", algorithm=MD5\r\n' if proves else ""
    return (
        f"REGISTER sip:pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK{proves};rport\r\n"
        f"From: <sip:{number}@pbx.test>;tag=a\r\nTo: <sip:{number}@pbx.test>\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {1 + proves} REGISTER\r\nContact: <sip:{number}@192.168.1.50:5062>\r\n{proof}User-Agent: {phone}\r\n"
        "Expires: 3600\r\nContent-Length: 0\r\n\r\n"
    )


def answer(status: str, number: str, step: int, call_id: str = "a84b4c76e66710") -> str:
    return (
        f"SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 192.168.1.50:5062;branch=z9hG4bK;rport=5062;received={SOURCE}\r\n"
        f"From: <sip:{number}@pbx.test>;tag=a\r\nTo: <sip:{number}@pbx.test>;tag=b\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {step} REGISTER\r\nContent-Length: 0\r\n\r\n"
    )


def message(at: datetime, sent: bool, text: str) -> dict[str, object]:
    return {
        "at": at.timestamp(), "sent": sent, "transport": "UDP", "local": "192.0.2.1:5060", "remote": f"{SOURCE}:5062",
        "size": len(text), "text": text, "number": "",
    }


def refused(number: str, at: datetime, *, phone: str = PHONE, call_id: str = "a84b4c76e66710") -> list[dict]:
    """REGISTER, 401, REGISTER with a password, 403."""
    step = timedelta(milliseconds=20)
    return [
        message(at - 3 * step, False, register(number, phone=phone, call_id=call_id)),
        message(at - 2 * step, True, answer("401 Unauthorized", number, 1, call_id)),
        message(at - step, False, register(number, proves=True, phone=phone, call_id=call_id)),
        message(at, True, answer("403 Forbidden", number, 2, call_id)),
    ]


def make_attempt(number: str, cause: str = "wrong_password", extension: Extension | None = None, *,
                 minutes_ago: float = 2, source: str = SOURCE, phone: str = PHONE, count: int = 1, **more) -> Attempt:
    last = timezone.now() - timedelta(minutes=minutes_ago)
    call_id = more.pop("call_id", "a84b4c76e66710")
    asked = {
        "method": "REGISTER", "request_uri": "sip:pbx.test", "from_uri": f"sip:{number}@pbx.test",
        "to_uri": f"sip:{number}@pbx.test", "contact": f"sip:{number}@192.168.1.50:5062", "contacts": 1,
        "via": "192.168.1.50:5062", "via_transport": "UDP", "vias": 1, "expires": 3600, "user_agent": phone,
        "call_id": call_id, "digest_username": number, "digest_realm": "pbx.test", "digest_uri": "sip:pbx.test",
        "digest_algorithm": "MD5",
    }
    clean = {name: value.replace("\0", "") if isinstance(value, str) else value for name, value in asked.items()}
    return Attempt.objects.create(
        number=number.replace("\0", "")[:64], extension=extension, cause=cause, source=source, port=5062,
        transport="UDP", count=count, first_at=last - timedelta(minutes=1 if count > 1 else 0), last_at=last,
        user_agent=phone.replace("\0", ""), asked=clean, **{
            "messages": refused(number.replace("\0", ""), last, phone=phone.replace("\0", ""),
                                call_id=call_id.replace("\0", "")), **more,
        },
    )


def make_period(extension: Extension, began: float, ended: float, ending: str = "expired") -> OnlinePeriod:
    """Times in hours before now."""
    now = timezone.now()
    return OnlinePeriod.objects.create(
        extension=extension, started_at=now - timedelta(hours=began), ended_at=now - timedelta(hours=ended),
        ending=ending, source=f"{SOURCE}:5062", user_agent=PHONE,
    )


def make_block(number: str = "1001", source: str = SOURCE, **more) -> Block:
    now = timezone.now()
    return Block.objects.create(**{
        "source": source, "number": number, "reason": Block.Reason.WRONG_PASSWORD, "since": now,
        "until": now + timedelta(hours=1), "failures": 100, "numbers": [number], **more,
    })


def make_watched(number: str, text: str, *, sent: bool = False, call_id: str = "w") -> WatchedMessage:
    now = timezone.now()
    return WatchedMessage.objects.create(
        number=number.lower(), call_id=call_id, at=now, message=message(now, sent, text)
    )
