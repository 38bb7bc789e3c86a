"""Reads what the database knows of one number into plain evidence. A bounded number of bounded queries."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Prefetch, Q
from django.db.models.functions import Lower
from django.utils import timezone

from extensions.models import Binding, DigestCredential, Extension
from pbx.calls.models import CallRecord
from pbx.diagnosis.blocks import blocks_for
from pbx.diagnosis.evidence import (
    AttemptFacts,
    BlockFacts,
    DeviceFacts,
    DialledFacts,
    ExtensionFacts,
    NumberEvidence,
    PeriodFacts,
    ServerFacts,
)
from pbx.diagnosis.likeness import likely_meant
from pbx.diagnosis.models import Attempt, OnlinePeriod
from pbx.diagnosis.networks import is_private
from pbx.diagnosis.sip_text import messages_from_json
from pbx.system.identity import current_realm
from pbx.system.models import SipProcess
from pbx.system.server_address import sip_domain, sip_names
from sipcore.evidence.facts import Asked, WireMessage
from sipcore.protocol.headers import clean_text

RECENT = timedelta(hours=24)
"""Older attempts are history and say nothing."""

NAMELESS = timedelta(hours=1)
ALIVE = timedelta(seconds=20)
"""A SIP process that has not written its heartbeat for so long is not running."""

JUDGED_BY_MESSAGES = ("reply_lost",)
"""Causes whose verdict looks at the messages; those of the others are many kilobytes for nothing."""

MOST_ATTEMPTS, MOST_NAMELESS, MOST_DEVICES, MOST_PERIODS, MOST_HOSTS = 40, 10, 30, 300, 200
LONGEST_NUMBER = 64  # characters, as the column of the attempts
SIMILAR = 3


def gather_number(number: str, now: datetime | None = None) -> NumberEvidence:
    """Everything known of ``number``, an extension or not; capital and small letters are the same.

    :raises django.db.Error: when the database is away."""
    now, number = now or timezone.now(), clean_text(number, LONGEST_NUMBER)
    # No secret is read: neither the hash nor an HA1.
    rows = Extension.objects.by_number(number).defer("password")
    extension = rows.prefetch_related(Prefetch("credentials", DigestCredential.objects.defer("ha1"))).first()
    facts = None if extension is None else _extension(extension)
    attempts = _attempts(number, extension, now)
    devices = () if extension is None else _devices(extension, now)
    return NumberEvidence(
        number=number if extension is None else extension.number,
        now=now,
        server=_server(now, count_phones=not attempts and not devices),
        extension=facts,
        devices=devices,
        attempts=attempts,
        nameless=_nameless(now),
        blocks=_blocks(number, attempts, devices),
        periods=() if extension is None else _periods(extension, now),
        similar=_similar(number) if extension is None else (),
        renamed_to=_renamed(number) if extension is None else "",
        dialled=_dialled(number, now) if extension is None else None,
    )


def _extension(extension: Extension) -> ExtensionFacts:
    rows = list(extension.credentials.all())
    former = [row.username for row in rows if row.username != extension.number]
    return ExtensionFacts(
        number=extension.number,
        enabled=extension.enabled,
        credential_state=extension.credential_state,
        # As with_password_age: a row that was only added to the others says nothing about the password.
        password_changed_at=min((row.changed_at for row in rows), default=None),
        max_devices=extension.max_devices,
        created_at=extension.created_at,
        former_number=former[0] if former else "",
    )


def _devices(extension: Extension, now: datetime) -> tuple[DeviceFacts, ...]:
    rows = extension.bindings.with_password_age(now).order_by("-refreshed_at", "-expires_at", "-pk")[:MOST_DEVICES]
    return tuple(
        DeviceFacts(
            id=row.pk, contact=row.contact, transport=row.transport, source=row.remote_host, port=row.remote_port,
            user_agent=row.user_agent, call_id=row.call_id, registered_at=row.registered_at,
            refreshed_at=row.refreshed_at, expires_at=row.expires_at, silent_since=row.unreachable_since,
            old_password=row.has_old_password,
            # The registrar ends a binding at the very moment of the request that asks for it.
            signed_off=row.expires_at == row.refreshed_at, domain=row.domain,
        )
        for row in rows
    )


def _attempts(number: str, extension: Extension | None, now: datetime) -> tuple[AttemptFacts, ...]:
    # Rows written before a renaming belong to the extension under the number it had then: they accuse the old number.
    mine = Q(number__iexact=number) if extension is None else Q(extension=extension, number__iexact=number) | Q(
        extension=None, number__iexact=number
    )
    rows = Attempt.objects.filter(mine, last_at__gt=now - RECENT).order_by("-last_at", "-pk").defer("messages")
    rows = rows[:MOST_ATTEMPTS]
    return _facts(rows, now)


def _nameless(now: datetime) -> tuple[AttemptFacts, ...]:
    rows = Attempt.objects.filter(number="", last_at__gt=now - NAMELESS).order_by("-last_at", "-pk")
    return _facts(rows.defer("messages")[:MOST_NAMELESS], now)


def _facts(rows: Iterable[Attempt], now: datetime) -> tuple[AttemptFacts, ...]:
    rows = list(rows)
    messages = _messages(row.pk for row in rows if row.cause in JUDGED_BY_MESSAGES)
    sources = {row.source for row in rows}
    counts = _numbers_by_source(sources, now)
    known = set(Binding.objects.filter(remote_host__in=sources).order_by().values_list("remote_host", flat=True))
    return tuple(
        AttemptFacts(
            id=row.pk, cause=row.cause, source=row.source, port=row.port, transport=row.transport,
            first_at=row.first_at, last_at=row.last_at, count=row.count, repeats=row.repeats, proven=row.proven,
            user_agent=row.user_agent, sources=tuple(str(one) for one in row.sources or ()),
            asked=_asked(row.asked),
            messages=messages.get(row.pk, ()),
            numbers_from_source=counts.get(row.source, 1), number=row.number, source_known=row.source in known,
        )
        for row in rows
    )


def _numbers_by_source(sources: Collection[str], now: datetime) -> dict[str, int]:
    if not sources:
        return {}
    rows = Attempt.objects.filter(source__in=sources, last_at__gt=now - RECENT).exclude(number="").order_by()
    return dict(rows.values("source").annotate(n=Count("number", distinct=True)).values_list("source", "n"))


def _messages(ids: Iterable[int]) -> dict[int, tuple[WireMessage, ...]]:
    rows = Attempt.objects.filter(pk__in=list(ids)).order_by()
    return {pk: messages_from_json(messages) for pk, messages in rows.values_list("pk", "messages")}


def _asked(data: Any) -> Asked:
    """Another version of the engine may have written more or fewer fields."""
    known = {one.name for one in fields(Asked)}
    return Asked(**{name: value for name, value in dict(data or {}).items() if name in known})


def _periods(extension: Extension, now: datetime) -> tuple[PeriodFacts, ...]:
    rows = OnlinePeriod.objects.filter(extension=extension, ended_at__gt=now - RECENT).order_by("-ended_at")
    return tuple(
        PeriodFacts(row.started_at, row.ended_at, row.ending, row.source, row.user_agent)
        for row in rows[:MOST_PERIODS]
    )


def _blocks(
    number: str, attempts: Iterable[AttemptFacts], devices: Iterable[DeviceFacts]
) -> tuple[BlockFacts, ...]:
    return blocks_for(number, {one.source for one in attempts} | {one.source for one in devices})


def _server(now: datetime, count_phones: bool) -> ServerFacts:
    hosts = _online_hosts(now) if count_phones else []
    inside = sum(map(is_private, hosts))
    alive = list(SipProcess.objects.filter(beat_at__gt=now - ALIVE).order_by("started_at"))
    domain = sip_domain()
    return ServerFacts(
        running=bool(alive),
        # The latest: what came before it may have come to a process that had nobody to tell.
        started_at=max((row.started_at for row in alive), default=None),
        listening=", ".join(dict.fromkeys(row.listening for row in alive)),
        domain=domain,
        aliases=tuple(settings.SIP_ALIASES),
        port=settings.SIP_PORT,
        realm=current_realm(),
        algorithms=tuple(settings.SIP_DIGEST_ALGORITHMS),
        min_expires=settings.SIP_MIN_EXPIRES,
        domains=sip_names(domain),
        phones_inside=inside,
        phones_outside=len(hosts) - inside,
    )


def _online_hosts(now: datetime) -> list[str]:
    """Where phones are registered now, and answer: a sample."""
    rows = Binding.objects.online(now).filter(unreachable_since=None).order_by()
    return list(rows.values_list("remote_host", flat=True).distinct()[:MOST_HOSTS])


def _renamed(number: str) -> str:
    rows = DigestCredential.objects.filter(username=number).exclude(extension__number=number)
    return rows.order_by("-changed_at").values_list("extension__number", flat=True).first() or ""


def _dialled(number: str, now: datetime) -> DialledFacts | None:
    calls = CallRecord.objects.filter(dst=number, cause="unknown_number", start__gt=now - RECENT)
    row = calls.order_by("-start").values_list("src", "start").first()
    return None if row is None else DialledFacts(*row)


def _similar(number: str) -> tuple[str, ...]:
    spellings = likely_meant(number.lower())
    rows = Extension.objects.annotate(_lower=Lower("number")).filter(_lower__in=spellings)
    found = {name.lower(): name for name in rows.order_by().values_list("number", flat=True)}
    return tuple(found[spelling] for spelling in spellings if spelling in found)[:SIMILAR]
