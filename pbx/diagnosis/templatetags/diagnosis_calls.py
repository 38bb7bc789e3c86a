"""What the page of a call shows of its diagnosis: the template loads it, the room of the calls knows nothing of it."""

from __future__ import annotations

from django import template

from pbx.calls.models import CallRecord
from pbx.diagnosis.calls import explain_call
from pbx.diagnosis.ladder import ladder_of_call

register = template.Library()


@register.inclusion_tag("admin/diagnosis/_call_verdicts.html")
def call_verdicts(call: CallRecord):
    """What to fix first first."""
    return {"findings": [{"verdict": verdict, "button": None} for verdict in explain_call(call)]}


@register.inclusion_tag("admin/diagnosis/_call_ladder.html")
def call_ladder(call: CallRecord):
    return {"call": call, "ladder": ladder_of_call(call)}
