"""Verdicts as they are read in a terminal, eighty columns wide and harmless whatever a phone has sent."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from django.utils.translation import gettext as _

from pbx.diagnosis.verdict import Confidence, Severity, Verdict
from pbx.diagnosis.visible import visible

WIDTH = 88
MARKS = {Severity.OK: "✓", Severity.INFO: "i", Severity.WARNING: "!", Severity.ERROR: "✗"}


def verdicts_as_text(verdicts: Iterable[Verdict]) -> str:
    """The headline with its code, why, what to do, and the evidence indented; an empty line between two."""
    return "\n\n".join("\n".join(_lines(verdict)) for verdict in verdicts)


def one_line(text: object) -> str:
    """A text that may come from the network, on one line and without anything that a terminal obeys."""
    return visible(text).replace("\n", "\u240a").replace("\t", "\u2409")


def _lines(verdict: Verdict) -> Iterable[str]:
    code = verdict.code
    if verdict.confidence is Confidence.LIKELY:
        code = _("%(code)s, likely") % {"code": code}
    yield from _wrapped(f"{one_line(verdict.what)} [{code}]", f"{MARKS[verdict.severity]} ", "  ")
    yield from _wrapped(one_line(verdict.why), "  ", "  ")
    yield from _wrapped(one_line(verdict.do), "→ ", "  ")
    for line in verdict.evidence:
        yield from _wrapped(one_line(line), "    · ", "      ")


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )
