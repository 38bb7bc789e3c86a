"""The support bundle: what somebody else needs to help, in one zip, without anything that says who telephones here.

Verdicts, settings from a list of those that hold no secret, versions, and the messages of failures; numbers, names,
addresses and domains masked, the same one the same everywhere (``masking``)."""

from __future__ import annotations

import io
import os
import platform
import socket
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import django
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection
from django.utils import timezone
from django.utils.translation import gettext as _

from extensions.models import Binding, Extension
from pbx import __version__
from pbx.calls.models import CallRecord
from pbx.calls.words import media_facts
from pbx.diagnosis.calls import call_faults
from pbx.diagnosis.doctor import check_titles, is_seen
from pbx.diagnosis.explain import verdicts_of
from pbx.diagnosis.gather import gather_number
from pbx.diagnosis.masking import Mask
from pbx.diagnosis.models import Attempt, CallTrace, WatchedMessage
from pbx.diagnosis.server import judge
from pbx.diagnosis.server_evidence import ServerEvidence
from pbx.diagnosis.server_gather import gather_server
from pbx.diagnosis.sip_text import messages_from_json
from pbx.diagnosis.verdict import Severity, Verdict
from pbx.system.identity import current_realm
from pbx.system.models import SipProcess
from pbx.system.server_address import own_address, sip_domain
from sipcore.evidence.facts import WireMessage

DAY = timedelta(hours=24)
MOST_EXTENSIONS = 200
MOST_ATTEMPTS = 200
MOST_CALLS = 200
MOST_LADDERS = 60
MOST_TRACES = 30
MOST_WATCHED = 500

BAD_ENDS = ("ack_lost", "codec_mismatch", "failed")

PLAIN_SETTINGS = (
    "SIP_PORT", "SIP_DIGEST_ALGORITHMS", "SIP_MIN_EXPIRES", "SIP_MAX_EXPIRES", "SIP_DEFAULT_EXPIRES",
    "SIP_NONCE_LIFETIME", "SIP_STORE_WAIT", "SIP_INBOX_LIMIT", "SIP_KEEPALIVE_INTERVAL", "CALL_RECORDS_DAYS",
    "SIP_MAX_CALLS", "SIP_MAX_CALLS_PER_EXTENSION", "SIP_MAX_RINGING", "SIP_EMERGENCY_NUMBERS",
    "SIP_SESSION_EXPIRES", "SIP_MEDIA_TIMEOUT",
    "SIP_DECLINE_STOPS_ALL", "SIP_BLF_REMOTE_PARTY", "RTP_PORTS", "RTP_WORKERS", "LOG_FORMAT", "WEB_PORT", "WEB_HTTPS",
    "DEBUG", "ADMIN_TOTP", "LANGUAGE_CODE", "TIME_ZONE",
)
"""Numbers and words that say nothing about who or where."""

MASKED_SETTINGS = ("SIP_HOST", "SIP_DOMAIN", "SIP_ALIASES", "EXTERNAL_IP", "LOCAL_NETS", "SIP_TRUSTED_PROXIES",
                   "RTPENGINE_URLS", "WEB_HOST", "SIP_NODE", "ADMIN_NETS")


def make_bundle() -> bytes:
    """A zip of text files. Never raises for a database that is away: then the bundle says so and is smaller."""
    evidence = gather_server(quick=True)
    checks = judge(evidence)
    server = [verdict for found in checks.values() for verdict in found]
    try:
        mask = _mask()
    except DatabaseError:
        mask = Mask(words=_own_words())
    parts: list[tuple[str, Iterable[str]]] = [
        ("server.txt", _server(evidence, checks, mask)),
        ("settings.txt", _settings(mask)),
        ("versions.txt", _versions()),
        ("processes.txt", _processes(mask)),
        ("verdicts.txt", _extensions(server, mask)),
        ("attempts.txt", _attempts(mask)),
        ("ladders-of-failures.txt", _failures(mask)),
        ("ladders-of-calls.txt", _calls(mask)),
        ("ladders-of-watched-phones.txt", _watched(mask)),
    ]
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("README.txt", _readme())
        for name, lines in parts:
            try:
                text = "\n".join(lines)
            except DatabaseError as error:
                text = _("The database did not answer (%(kind)s).") % {"kind": type(error).__name__}
            bundle.writestr(name, text + "\n")
    return output.getvalue()


def _readme() -> str:
    return _(
        "Support bundle of the PBX, made at %(time)s. Numbers, names, addresses and domains are masked: the same phone "
        "has the same mask in all files. It holds no passwords and no keys. Give it only to whom you want to help you."
    ) % {"time": f"{timezone.now():%Y-%m-%d %H:%M} UTC"} + "\n"


def _mask() -> Mask:
    numbers = [*Extension.everything.order_by("pk").values_list("number", flat=True)]
    names = [*Extension.everything.exclude(display_name="").values_list("display_name", flat=True)]
    tried = Attempt.objects.exclude(number="").order_by("pk").values_list("number", flat=True).distinct()
    users = get_user_model().objects.values_list("username", "first_name", "last_name", "email")
    words = [
        *_own_words(),
        (current_realm(), "realm"),
        *((host, "host") for host in Binding.objects.exclude(domain="").values_list("domain", flat=True).distinct()),
        *((name, "name") for name in names),
        *((part, "name") for name in names for part in name.split() if len(part) > 2),
        *((word, "name") for row in users for word in row if len(word) > 2),
        *((node, "host") for node in SipProcess.objects.values_list("node", flat=True)),
        *((number, "num") for number in tried),
    ]
    agents = {
        *Binding.objects.exclude(user_agent="").values_list("user_agent", flat=True).distinct()[:2000],
        *Attempt.objects.exclude(user_agent="").values_list("user_agent", flat=True).distinct()[:2000],
    }
    return Mask(numbers, words, agents)


def _own_words() -> list[tuple[str, str]]:
    hosts = (
        sip_domain(), *settings.SIP_ALIASES, settings.EXTERNAL_IP, own_address(), socket.gethostname(),
        socket.getfqdn(), settings.SIP_NODE, *settings.ALLOWED_HOSTS,
    )
    paths = (str(settings.VAR_DIR), str(settings.BASE_DIR), str(Path.home()))
    return [
        *((path, "path") for path in sorted(paths, key=len, reverse=True) if len(path) > 4),
        *((host, "host") for host in hosts if host and host != "*"),
    ]


def _verdict_lines(verdicts: Iterable[Verdict], mask: Mask) -> Iterator[str]:
    for verdict in verdicts:
        yield f"[{verdict.code}] {verdict.severity.value}, {verdict.confidence.value}: {mask.text(verdict.what)}"
        yield f"    {mask.text(verdict.why)}"
        yield f"    {mask.text(verdict.do)}"
        for line in verdict.evidence:
            yield f"    - {mask.text(line)}"


def _server(evidence: ServerEvidence, checks: Mapping[str, list[Verdict]], mask: Mask) -> Iterator[str]:
    """Every check that takes no time, with what it found."""
    titles = check_titles()
    for name, found in checks.items():
        # Where a name leads is asked of the network, which a bundle does not wait for.
        seen = is_seen(name, evidence) and (name != "domain" or evidence.domain_leads is not None)
        yield f"{'PROBLEM' if found else 'OK' if seen else 'NOT SEEN'}  {name}: {titles[name]}"
        for line in _verdict_lines(found, mask):
            yield f"    {line}"


def _settings(mask: Mask) -> Iterator[str]:
    for name in PLAIN_SETTINGS:
        value = getattr(settings, name, None)
        yield f"{name}={','.join(map(str, value)) if isinstance(value, list | tuple) else value}"
    for name in MASKED_SETTINGS:
        value = getattr(settings, name, None)
        values = value if isinstance(value, list | tuple) else [value] if value else []
        yield f"{name}={','.join(mask.network(str(one)) for one in values)}"
    yield f"SIP_REALM={'set' if settings.SIP_REALM else ''}"
    yield f"DATABASE={connection.vendor}"


def _versions() -> Iterator[str]:
    yield f"PBX {__version__}"
    yield f"Python {sys.version.split()[0]} {platform.machine()}"
    yield f"Django {django.get_version()}"
    yield f"Linux {platform.release()}"
    try:
        for line in Path("/etc/os-release").read_text("utf-8", "replace").splitlines():
            if line.startswith("PRETTY_NAME="):
                yield line.partition("=")[2].strip('"')
    except OSError:
        pass
    yield f"processors {os.cpu_count()}"
    try:
        yield " ".join(Path("/proc/meminfo").read_text().splitlines()[0].split())
        yield f"uptime {float(Path('/proc/uptime').read_text().split()[0]):.0f} s"
    except (OSError, ValueError, IndexError):
        pass
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT sqlite_version()" if connection.vendor == "sqlite" else "SHOW server_version")
            yield f"{connection.vendor} {cursor.fetchone()[0]}"
    except DatabaseError as error:
        yield f"{connection.vendor}: {type(error).__name__}"


def _processes(mask: Mask) -> Iterator[str]:
    for row in SipProcess.objects.order_by("-beat_at")[:20]:
        listening = ", ".join(
            f"{words} {mask.place(place)}" for words, _space, place in
            (part.strip().rpartition(" ") for part in row.listening.split(","))
        )
        yield (f"{mask.host(row.node)} {row.version} since {_time(row.started_at)}, last beat {_time(row.beat_at)}: "
               f"{listening}")


def _extensions(server: list[Verdict], mask: Mask) -> Iterator[str]:
    """The verdicts on every extension about which something speaks of trouble, and on numbers that were tried."""
    yield f"extensions: {Extension.objects.count()}, registrations: {Binding.objects.shown().online().count()}"
    since = timezone.now() - DAY
    unheard = set(_unheard(since))
    for number in _troubled():
        faults = call_faults(number, since) if number in unheard else ()
        verdicts = verdicts_of(gather_number(number), server, faults)
        if any(verdict.severity in (Severity.ERROR, Severity.WARNING) for verdict in verdicts):
            yield ""
            yield f"== {mask.number(number)}"
            yield from _verdict_lines(verdicts, mask)


def _troubled() -> list[str]:
    now = timezone.now()
    since = now - DAY
    recent = Attempt.objects.filter(last_at__gt=since).order_by("-last_at")
    numbers = [
        *recent.filter(extension__hidden=False).values_list("extension__number", flat=True)[:MOST_ATTEMPTS],
        *recent.filter(extension__isnull=True).exclude(number="").values_list("number", flat=True)[:20],
        *Binding.objects.shown().online(now).filter(unreachable_since__isnull=False)
        .values_list("extension__number", flat=True)[:MOST_EXTENSIONS],
        *Binding.objects.shown().filter(expires_at__gt=since, expires_at__lte=now)
        .values_list("extension__number", flat=True)[:MOST_EXTENSIONS],
        *_unheard(since),
        *Extension.objects.with_presence().exclude(stored_credential_state="ready")
        .values_list("number", flat=True)[:MOST_EXTENSIONS],
    ]
    return list(dict.fromkeys(numbers))[:MOST_EXTENSIONS]


def _unheard(since: datetime) -> list[str]:
    """The extensions in those of the newest calls whose sound, or whose end, was not good."""
    calls = CallRecord.objects.filter(start__gt=since).order_by("-start")[:MOST_CALLS]
    now = timezone.now()
    found = {
        number for call in calls
        if call.cause in BAD_ENDS or media_facts(call.media_rows, call.talk_seconds(now))
        for number in (call.src, call.dst)
    }
    return list(Extension.objects.filter(number__in=found).order_by("pk").values_list("number", flat=True))


def _attempts(mask: Mask) -> Iterator[str]:
    for row in Attempt.objects.order_by("-last_at")[:MOST_ATTEMPTS]:
        yield (
            f"{_time(row.last_at)} {mask.number(row.number)} {row.transport} {mask.host(row.source)}:{row.port} "
            f"{row.cause} x{row.count} repeats {row.repeats} since {_time(row.first_at)}"
            f"{' proven' if row.proven else ''}: {mask.text(row.user_agent) if row.user_agent else '-'}"
        )


def _failures(mask: Mask) -> Iterator[str]:
    for row in Attempt.objects.order_by("-last_at")[:MOST_LADDERS]:
        yield f"==== {row.cause} {mask.number(row.number)} {_time(row.last_at)}"
        yield from _ladder(messages_from_json(row.messages), mask)


def _calls(mask: Mask) -> Iterator[str]:
    for row in CallTrace.objects.order_by("-updated_at")[:MOST_TRACES]:
        yield f"==== {_time(row.updated_at)}"
        yield from _ladder(messages_from_json(row.messages), mask)


def _watched(mask: Mask) -> Iterator[str]:
    rows = WatchedMessage.objects.order_by("-at")[:MOST_WATCHED]
    yield from _ladder(messages_from_json([row.message for row in reversed(rows)]), mask)


def _ladder(messages: Iterable[WireMessage], mask: Mask) -> Iterator[str]:
    for one in messages:
        arrow = "-->" if one.sent else "<--"
        yield (f"{one.at:.3f} {one.transport} {mask.place(one.local)} {arrow} {mask.place(one.remote)} "
               f"{one.size} bytes")
        yield "\n".join(f"    {line}" for line in mask.message(one.text).split("\n"))


def _time(moment: object) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}"

