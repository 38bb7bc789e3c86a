"""The calls that are going on, as pages and the command show them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from extensions.models import Extension
from pbx.calls.models import CallAction, CallRecord
from pbx.calls.timeline import device_of
from pbx.system.models import SipProcess

MOST_SHOWN = 200
SILENT_AFTER = timedelta(seconds=20)
"""A SIP process writes its heartbeat every 5 seconds."""


@dataclass(frozen=True, slots=True)
class LiveCall:
    record: CallRecord
    devices: list[str]  # who is called, or who answered: text from the network, only ever escaped
    rings: bool  # one of them said so
    ending: bool  # somebody asked for its end

    @property
    def state(self) -> str:
        """A stable code: ending, talking, ringing, calling."""
        if self.ending:
            return "ending"
        if self.record.answer:
            return "talking"
        return "ringing" if self.rings else "calling"

    @property
    def state_in_words(self) -> str:
        return {
            "ending": _("hanging up"), "talking": _("talking"), "ringing": _("ringing"), "calling": _("calling"),
        }[self.state]


@dataclass(frozen=True, slots=True)
class ActiveCalls:
    calls: list[LiveCall]  # newest first
    total: int
    silent_nodes: list[str]  # machines with calls whose SIP server gives no sign of life

    @property
    def more(self) -> int:
        return self.total - len(self.calls)


def active_calls(now: datetime, most: int = MOST_SHOWN) -> ActiveCalls:
    """At most four queries, whatever the number of calls."""
    living = CallRecord.objects.living()
    records = list(living.defer("media").order_by("-start", "-id")[: most + 1])
    total = living.count() if len(records) > most else len(records)
    records = records[:most]
    if not records:
        return ActiveCalls([], 0, [])
    asked = set(CallAction.objects.filter(
        action="hangup", uniqueid__in=[record.uniqueid for record in records]
    ).values_list("uniqueid", flat=True))
    return ActiveCalls(
        [_live(record, record.uniqueid in asked) for record in records], total,
        silent_nodes({record.node for record in records}, now),
    )


def silent_nodes(nodes: Collection[str], now: datetime) -> list[str]:
    """Those of the machines whose SIP server has written no heartbeat lately."""
    beats = dict(
        SipProcess.objects.filter(node__in=nodes).order_by().values_list("node").annotate(last=Max("beat_at"))
    )
    return sorted(node for node in nodes if node not in beats or beats[node] < now - SILENT_AFTER)


def _live(record: CallRecord, ending: bool) -> LiveCall:
    legs = record.leg_rows
    wanted = ("answered",) if record.answer else ("ringing", "calling")
    devices = [device_of(leg) for leg in legs if leg.state in wanted]
    return LiveCall(record, devices, any(leg.state == "ringing" for leg in legs), ending)


def extension_pages(request: HttpRequest, numbers: Collection[str]) -> dict[str, str]:
    """The admin page of each of these numbers that is an extension, for somebody who may see them."""
    if not request.user.has_perm("extensions.view_extension"):
        return {}
    return {
        number: reverse("admin:extensions_extension_change", args=[pk])
        for number, pk in Extension.objects.filter(number__in=numbers).values_list("number", "pk")
    }
