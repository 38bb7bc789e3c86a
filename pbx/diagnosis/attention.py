"""What needs attention now, worst first, in sentences with a button each.

Only rows that speak of trouble are looked at, and only so many: the page costs the same for ten extensions and for ten
thousand. What strangers do all day is one calm sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from extensions.models import Binding, Extension
from extensions.overview import Overview, without_password
from pbx.calls.models import CallRecord
from pbx.calls.words import media_facts
from pbx.diagnosis.calls import SOUND_FAULTS, explain_call
from pbx.diagnosis.charts import Chart, charts
from pbx.diagnosis.cured import is_cured
from pbx.diagnosis.explain import verdicts_of
from pbx.diagnosis.front_item import Item, list_button
from pbx.diagnosis.front_strangers import of_blocks, of_guesser, of_strangers
from pbx.diagnosis.gather import gather_number
from pbx.diagnosis.guessers import DAY, MOST_TOLD, Guessers, guessers
from pbx.diagnosis.models import Attempt, Block
from pbx.diagnosis.networks import is_private
from pbx.diagnosis.repairs import Button, button_for
from pbx.diagnosis.server import server_verdicts
from pbx.diagnosis.verdict import Confidence, Severity, Verdict

LATELY = timedelta(hours=3)
"""Calls with trouble of their sound are told for so long."""

SUSPECT_ENDS = ("codec_mismatch", "ack_lost")
"""Ends of calls that are faults of their sound or of their way, besides those that the counters of sound tell."""

MOST_EXTENSIONS = 8
"""Explained, which costs a dozen queries each; the others are counted."""

MOST_UNKNOWN = 3
MOST_CALLS = 3
MOST_ROWS = 200
"""Read of each table in search of candidates, newest first."""

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2, Severity.OK: 3}


@dataclass(frozen=True, slots=True)
class Front:
    items: tuple[Item, ...]  # worst first
    notices: tuple[Item, ...]  # look like trouble and are none
    calm: tuple[Item, ...]  # worth knowing, nothing to do
    charts: tuple[Chart, ...]

    @property
    def is_well(self) -> bool:
        return not self.items


def front_of(user: User, now: datetime | None = None, counted: Overview | None = None) -> Front | None:
    """None for someone who may not see extensions. ``counted``: where that is known already."""
    if not may_see(user):
        return None
    now = now or timezone.now()
    server = server_verdicts(quick=True)
    strangers = guessers(now)
    unknown = list(_of_unknown_numbers(user, now, server, strangers))
    candidates = list(dict.fromkeys(_candidates(now, strangers)))
    items = [
        *(_of_server(verdict) for verdict in server),
        *_of_extensions(candidates[:MOST_EXTENSIONS], user, now, server, strangers),
        *unknown,
        *_of_passwords(*(counted.missing, counted.stale) if counted else without_password().values()),
        *_of_calls(user, now),
    ]
    pressing = [item for item in items if item.severity in (Severity.ERROR, Severity.WARNING)]
    calm = [item for item in items if item.severity is Severity.INFO]
    return Front(
        (*sorted(pressing, key=lambda item: _ORDER[item.severity]), *_of_more(len(candidates), user)),
        tuple(of_guesser(one, user, now) for one in strangers.found[:MOST_TOLD]),
        (*calm, *of_strangers(user, now, [item.subject for item in unknown], strangers),
         *of_blocks(user, now, strangers)),
        tuple(charts(now, counted.answering if counted else None)),
    )


def may_see(user: User) -> bool:
    return user.has_perm("extensions.view_extension") or user.has_perm("extensions.change_extension")


def _of_server(verdict: Verdict) -> Item:
    return Item(
        verdict.code, verdict.severity, verdict.what, subject=_("Server"), do=verdict.do,
        likely=verdict.confidence is Confidence.LIKELY,
    )


# extensions

def _of_extensions(
    chosen: Sequence[int], user: User, now: datetime, server: Sequence[Verdict], strangers: Guessers
) -> Iterable[Item]:
    rows = Extension.objects.defer("password").in_bulk(chosen)
    for pk in chosen:
        extension = rows.get(pk)
        if extension is None:
            continue
        verdict = _worst(extension.number, now, server, strangers, extension)
        if verdict is not None:
            yield _of_verdict(verdict, extension, user)


def _of_more(found: int, user: User) -> Iterable[Item]:
    more = found - MOST_EXTENSIONS
    if more > 0:
        page = reverse("admin:diagnosis_attempt_changelist")
        yield Item("more", Severity.WARNING, ngettext(
            "Something failed in the last 24 hours with %(count)d more extension.",
            "Something failed in the last 24 hours with %(count)d more extensions.", more,
        ) % {"count": more}, button=list_button(user, f"{page}?whose=known"))


def _of_verdict(verdict: Verdict, extension: Extension, user: User) -> Item:
    page = reverse("admin:extensions_extension_change", args=[extension.pk])
    return Item(
        verdict.code, verdict.severity, verdict.what, f"{extension.number} {extension.display_name}".strip(), page,
        verdict.do, button_for(verdict, extension.number, extension, user) or Button(_("See why"), page),
        verdict.confidence is Confidence.LIKELY,
    )


def _worst(
    number: str, now: datetime, server: Sequence[Verdict], strangers: Guessers, extension: Extension | None = None
) -> Verdict | None:
    """The first that asks for something, in the order of what to fix first, but for what is said of the server or of
    a guesser. Calls have items of their own."""
    told = {verdict.code for verdict in server}
    evidence = strangers.without(gather_number(number, now), extension.pk if extension else None)
    return next((
        verdict for verdict in verdicts_of(evidence, server)
        if verdict.severity in (Severity.ERROR, Severity.WARNING) and verdict.code not in told
    ), None)


def _candidates(now: datetime, strangers: Guessers) -> Iterable[int]:
    """Extensions about which something speaks of trouble, the likeliest first; the same one may come twice."""
    since = now - DAY
    shown = Binding.objects.shown()
    living = shown.online(now)
    yield from _failing(now, strangers)
    yield from (
        living.filter(unreachable_since__isnull=False)
        .order_by("-unreachable_since").values_list("extension_id", flat=True)[:MOST_ROWS]
    )
    numbers = Block.objects.filter(until__gt=now).exclude(number="").order_by("-since")
    blocked = list(numbers.values_list("number", flat=True)[:MOST_EXTENSIONS])
    if blocked:
        yield from Extension.objects.filter(number__in=blocked).values_list("pk", flat=True)
    yield from (
        shown.filter(expires_at__gt=since, expires_at__lte=now)
        .exclude(Exists(living.filter(extension=OuterRef("extension"))))
        .order_by("-expires_at").values_list("extension_id", flat=True)[:MOST_ROWS]
    )


def _failing(now: datetime, strangers: Guessers) -> Iterable[int]:
    """Those whose phones failed, the newest first, but for phones that have registered since."""
    rows = list(
        Attempt.objects.filter(extension__isnull=False, extension__hidden=False, last_at__gt=now - DAY)
        .order_by("-last_at").values_list("extension_id", "source", "user_agent", "cause", "proven", "last_at")
        [:MOST_ROWS]
    )
    later: dict[tuple[int, str, str], datetime] = {}
    devices = Binding.objects.filter(extension__in={row[0] for row in rows}, refreshed_at__gt=now - DAY)
    for pk, source, user_agent, refreshed_at in devices.order_by("refreshed_at").values_list(
        "extension_id", "remote_host", "user_agent", "refreshed_at"
    ):
        later[pk, source, user_agent] = refreshed_at
    for pk, source, user_agent, cause, proven, last_at in rows:
        mended = later.get((pk, source, user_agent))
        if (mended is None or mended <= last_at) and not strangers.made(cause, proven, source, pk):
            yield pk


def _of_passwords(missing: int, stale: int) -> Iterable[Item]:
    """All those without a usable password at once: there may be a thousand after an import."""
    page = f"{reverse('admin:extensions_extension_changelist')}?enabled__exact=1&password_state="
    if missing:
        yield Item("no_credential", Severity.WARNING, ngettext(
            "%(count)d extension has no password yet: no phone can sign in with it.",
            "%(count)d extensions have no password yet: no phone can sign in with them.", missing,
        ) % {"count": missing}, button=Button(_("Show them"), f"{page}missing"))
    if stale:
        yield Item("stale_credential", Severity.WARNING, ngettext(
            "%(count)d extension needs its password again: the number or the realm has changed.",
            "%(count)d extensions need their passwords again: the number or the realm has changed.", stale,
        ) % {"count": stale}, button=Button(_("Show them"), f"{page}stale"))


# numbers that are no extensions

def _of_unknown_numbers(
    user: User, now: datetime, server: Sequence[Verdict], strangers: Guessers
) -> Iterable[Item]:
    """Those that are surely a phone of ours with a slip of the finger: from where our phones are, or inside."""
    rows = [
        (number, source)
        for number, source in Attempt.objects.filter(
            extension__isnull=True, last_at__gt=now - DAY, cause="unknown_extension"
        ).exclude(number="").order_by("-last_at").values_list("number", "source")[:MOST_ROWS]
        if not strangers.made("unknown_extension", False, source, None)
    ]
    sources = {source for _number, source in rows}
    ours = set(Binding.objects.online(now).filter(remote_host__in=sources).values_list("remote_host", flat=True))
    numbers = dict.fromkeys(number for number, source in rows if source in ours or is_private(source))
    for number in list(numbers)[:MOST_UNKNOWN]:
        verdict = _worst(number, now, server, strangers)
        if verdict is not None:
            page = reverse("admin:diagnosis_number", args=[number])
            yield Item(
                verdict.code, Severity.WARNING, verdict.what, number, page, verdict.do,
                button_for(verdict, number, None, user) or Button(_("See why"), page),
                verdict.confidence is Confidence.LIKELY,
            )


# calls

def _of_calls(user: User, now: datetime) -> Iterable[Item]:
    """Calls whose sound did not come through, unless a later call has shown that it does now. Their counters find
    them; only the newest are explained."""
    if not user.has_perm("calls.view_callrecord"):
        return
    calls = CallRecord.objects.filter(start__gt=now - LATELY).exclude(end__isnull=True, answer__isnull=True)
    recent = list(calls.order_by("-start")[:MOST_ROWS])
    suspect = [call for call in recent if _has_faults(call, recent, now)]
    for call in suspect[:MOST_CALLS]:
        verdict = next((
            verdict for verdict in explain_call(call)
            if verdict.code in SOUND_FAULTS and not is_cured(verdict.code, call, recent, now)
        ), None)
        if verdict is not None:
            page = reverse("admin:calls_callrecord_change", args=[call.pk])
            yield Item(
                verdict.code, Severity.WARNING, verdict.what,
                _("Call from %(src)s to %(dst)s at %(time)s") % {
                    "src": call.src, "dst": call.dst, "time": f"{timezone.localtime(call.start):%H:%M}",
                }, page, verdict.do, Button(_("See the call"), page), verdict.confidence is Confidence.LIKELY,
            )
    more = len(suspect) - MOST_CALLS
    if more > 0:
        yield Item("no_audio", Severity.WARNING, ngettext(
            "%(count)d more call of the last hours had trouble with its sound.",
            "%(count)d more calls of the last hours had trouble with their sound.", more,
        ) % {"count": more}, button=Button(_("Show"), reverse("admin:calls_callrecord_changelist")))


def _has_faults(call: CallRecord, recent: Sequence[CallRecord], now: datetime) -> bool:
    codes = {fact.code for fact in media_facts(call.media_rows, call.talk_seconds(now))}
    if call.cause in SUSPECT_ENDS:
        codes.add(call.cause)
    return any(not is_cured(code, call, recent, now) for code in codes)
