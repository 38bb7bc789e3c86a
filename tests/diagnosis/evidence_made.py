"""Evidence made by hand, as the engine writes it, for verdicts that a test wants to see alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from extensions.states import CredentialState
from pbx.diagnosis.evidence import AttemptFacts, DeviceFacts, ExtensionFacts, NumberEvidence, PeriodFacts, ServerFacts
from sipcore.evidence.facts import Asked, WireMessage

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
HOME = "198.51.100.7"
ELSEWHERE = "203.0.113.66"
ZOIPER = "Zoiper rv2.10.20.6"
LINPHONE = "LinphoneAndroid/5.2.5 (Galaxy) LinphoneSDK/5.3.74"

SERVER = ServerFacts(
    running=True, started_at=NOW - timedelta(hours=5), listening="udp and tcp 0.0.0.0:5060", domain="pbx.example.uz",
    aliases=("sip.example.uz",), port=5060, realm="pbx.example.uz", algorithms=("MD5",), min_expires=60,
    domains=frozenset({"pbx.example.uz", "sip.example.uz", "192.0.2.10", "localhost"}),
)


def ago(**amount: float) -> datetime:
    return NOW - timedelta(**amount)


def extension(**changed: Any) -> ExtensionFacts:
    facts: dict[str, Any] = {
        "number": "1001", "enabled": True, "credential_state": CredentialState.READY,
        "password_changed_at": ago(days=3), "max_devices": 5, "created_at": ago(days=3),
    }
    return ExtensionFacts(**facts | changed)


def asked(number: str = "1001", **changed: Any) -> Asked:
    facts: dict[str, Any] = {
        "request_uri": "sip:pbx.example.uz", "from_uri": f"sip:{number}@pbx.example.uz",
        "to_uri": f"sip:{number}@pbx.example.uz", "contact": f"<sip:{number}@192.168.1.20:5062>", "contacts": 1,
        "via": "192.168.1.20:5062", "via_transport": "UDP", "vias": 1, "expires": 3600, "user_agent": ZOIPER,
        "call_id": "a1b2c3", "digest_username": number, "digest_realm": "pbx.example.uz",
        "digest_uri": "sip:pbx.example.uz", "digest_algorithm": "MD5", "digest_qop": "auth",
    }
    return Asked(**facts | changed)


def attempt(cause: str, **changed: Any) -> AttemptFacts:
    facts: dict[str, Any] = {
        "id": 1, "cause": cause, "source": HOME, "port": 40112, "transport": "UDP", "first_at": ago(minutes=20),
        "last_at": ago(minutes=2), "count": 3, "repeats": 0, "proven": False, "user_agent": ZOIPER, "sources": (),
        "asked": asked(), "messages": (), "number": "1001",
    }
    return AttemptFacts(**facts | changed)


def device(**changed: Any) -> DeviceFacts:
    facts: dict[str, Any] = {
        "id": 7, "contact": "sip:1001@192.168.1.20:5062", "transport": "UDP", "source": HOME, "port": 40112,
        "user_agent": ZOIPER, "call_id": "a1b2c3", "registered_at": ago(hours=2), "refreshed_at": ago(minutes=10),
        "expires_at": NOW + timedelta(minutes=50), "silent_since": None, "old_password": False, "signed_off": False,
        "domain": "pbx.example.uz",
    }
    return DeviceFacts(**facts | changed)


def another_device(**changed: Any) -> DeviceFacts:
    """A desk phone of the same number at another place."""
    return device(**{
        "id": 8, "contact": "sip:1001@192.168.5.9:5060", "source": "198.51.100.99", "port": 5060,
        "user_agent": "Yealink SIP-T31P 124.86.0.40", "call_id": "d4e5f6", **changed,
    })


def ended_device(**changed: Any) -> DeviceFacts:
    return device(**{"refreshed_at": ago(minutes=80), "expires_at": ago(minutes=20), **changed})


def evidence(*attempts: AttemptFacts, **changed: Any) -> NumberEvidence:
    facts: dict[str, Any] = {"number": "1001", "now": NOW, "server": SERVER, "extension": extension()}
    rows = tuple(sorted(attempts, key=lambda one: one.last_at, reverse=True))
    return NumberEvidence(**facts | {"attempts": rows} | changed)


def unknown(*attempts: AttemptFacts, number: str = "1010", **changed: Any) -> NumberEvidence:
    return evidence(*attempts, **{"number": number, "extension": None, **changed})


def period(hours: float, ending: str = "expired") -> PeriodFacts:
    return PeriodFacts(ago(hours=hours + 1), ago(hours=hours), ending, f"{HOME}:40112", ZOIPER)


def sent(status: str) -> WireMessage:
    return WireMessage(NOW.timestamp(), True, "UDP", "192.0.2.10:5060", f"{HOME}:40112", 300, f"SIP/2.0 {status}\r\n")
