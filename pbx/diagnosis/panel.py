"""All that the pages show of one number: how far it came, what is wrong, and from what that was read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import pgettext_lazy

from extensions.models import Extension
from pbx.diagnosis.difference import DifferenceCard, difference_card
from pbx.diagnosis.explain import Explanation, explain_number
from pbx.diagnosis.ladder import Ladder, ladders_of_number
from pbx.diagnosis.models import Watch
from pbx.diagnosis.reading import is_cured, open_attempts
from pbx.diagnosis.repairs import Button, button_for, watched_name
from pbx.diagnosis.strip import Strip, strip_of
from pbx.diagnosis.verdict import Severity, Stage, Verdict

MOST_LADDERS = 6

STAGES: tuple[tuple[Stage, Promise], ...] = (
    (Stage.PHONE, pgettext_lazy("stage", "phone")),
    (Stage.INTERNET, pgettext_lazy("stage", "internet")),
    (Stage.OUR_PORT, pgettext_lazy("stage", "our port")),
    (Stage.CHALLENGE, pgettext_lazy("stage", "password asked")),
    (Stage.PASSWORD, pgettext_lazy("stage", "password")),
    (Stage.REGISTERED, pgettext_lazy("stage", "registration")),
    (Stage.REACHABLE, pgettext_lazy("stage", "reachable for calls")),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of the bar: ``passed``, ``stopped`` here, or not ``reached``."""

    name: str
    state: str
    place: int  # from 1


@dataclass(frozen=True, slots=True)
class Finding:
    verdict: Verdict
    button: Button | None


@dataclass(frozen=True, slots=True)
class Talk:
    """A ladder of the page. ``is_cured``: it failed, and that phone has registered since."""

    ladder: Ladder
    is_open: bool
    is_cured: bool


@dataclass(frozen=True, slots=True)
class Panel:
    number: str
    extension: Extension | None
    explanation: Explanation
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]  # what to fix first first
    card: DifferenceCard | None
    strip: Strip | None
    talks: tuple[Talk, ...]  # that of the first finding first, then the newest
    watched_until: datetime | None
    outside_test: str  # where its button leads; empty where there is none

    @property
    def tone(self) -> str:
        """Of the whole: ok, info, warning or error."""
        return self.findings[0].verdict.severity.value if self.findings else Severity.INFO.value

    @property
    def address(self) -> str:
        """Where the page renews it from."""
        if self.extension:
            return reverse("admin:diagnosis_extension", args=[self.extension.pk])
        return reverse("admin:diagnosis_number", args=[self.number])

    @property
    def stopped(self) -> Step | None:
        return next((step for step in self.steps if step.state == "stopped"), None)


def panel_of(number: str, extension: Extension | None, user: User) -> Panel:
    now = timezone.now()
    explanation = explain_number(number, now)
    evidence = explanation.evidence
    watch = Watch.objects.filter(number=watched_name(number), until__gt=now).first()
    return Panel(
        number=number, extension=extension, explanation=explanation,
        steps=steps_of(explanation.stopped_at, explanation.stopped_at is None and explanation.registered),
        findings=tuple(
            Finding(verdict, button_for(verdict, number, extension, user)) for verdict in explanation.verdicts
        ),
        card=difference_card(evidence) if evidence else None,
        strip=strip_of(evidence.periods, evidence.devices, now) if evidence and extension else None,
        talks=talks_of(ladders_of_number(number), explanation)[:MOST_LADDERS],
        watched_until=watch.until if watch else None,
        outside_test=_outside_test(extension, user),
    )


def steps_of(stopped_at: Stage | None, came_all_the_way: bool) -> tuple[Step, ...]:
    """Where it stopped; None when it came all the way, or when nothing says how far it came."""
    def state(stage: Stage) -> str:
        if came_all_the_way or (stopped_at is not None and stage < stopped_at):
            return "passed"
        return "stopped" if stage == stopped_at else "ahead"

    return tuple(Step(str(name), state(stage), stage + 1) for stage, name in STAGES)


def talks_of(ladders: Iterable[Ladder], explanation: Explanation) -> tuple[Talk, ...]:
    """The ladder of what is said first stands first, and open; the others as they are."""
    evidence, ladders = explanation.evidence, list(ladders)
    if evidence is None:
        return tuple(Talk(ladder, False, False) for ladder in ladders)
    counting = open_attempts(evidence)
    named = [one for one in counting if one.cause == explanation.first.code]
    cured = {one.id for one in evidence.attempts if is_cured(one, evidence)} - {one.id for one in counting}
    shown = next((
        ladder for some in (named, () if explanation.registered else counting) for one in some for ladder in ladders
        if one.id in ladder.attempts
    ), None)
    if shown is None:
        shown = next((ladder for ladder in ladders if not cured.intersection(ladder.attempts)), None)
    ordered = sorted(ladders, key=lambda ladder: ladder is not shown)  # stable: the others stay the newest first
    return tuple(
        Talk(ladder, ladder is shown, bool(ladder.attempts) and cured.issuperset(ladder.attempts))
        for ladder in ordered
    )


def _outside_test(extension: Extension | None, user: User) -> str:
    if extension is None or not user.has_perm("extensions.change_extension"):
        return ""
    try:
        return reverse("admin:diagnosis_probe_new", args=[extension.pk])
    except NoReverseMatch:
        return ""
