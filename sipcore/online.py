"""Times at which a phone was online, read from its binding before that is written over."""

from __future__ import annotations

from sipcore.evidence.facts import Period
from sipcore.ports import Binding

EXACT = 0.001
"""Seconds. A registration is granted for whole seconds, so one that did not end after a whole number of them was ended:
its connection was lost."""


def periods_over(binding: Binding, now: float) -> list[Period]:
    """What is over when this binding is renewed, begins anew or is forgotten at ``now``: the whole time if it had
    ended, and a silence that ends with this."""
    ended, silent = binding.expires_at, binding.unreachable_since
    if ended > now and silent is None:
        return []  # nearly all
    periods = []
    if ended <= now:
        if ended > binding.registered_at:
            periods.append(_period(binding, binding.registered_at, ended, ending_of(binding)))
    else:
        ended = now
    if silent is not None and ended > silent:
        periods.append(_period(binding, silent, ended, "silent"))
    return periods


def silence_over(binding: Binding, now: float) -> list[Period]:
    """The silence of a phone that answers again, whose registration goes on."""
    silent = binding.unreachable_since
    return [_period(binding, silent, now, "silent")] if silent is not None and now > silent else []


def ending_of(binding: Binding) -> str:
    """How an ended binding came to its end: one of ``sipcore.evidence.facts.ENDINGS``."""
    lasted = binding.expires_at - binding.refreshed_at
    if lasted <= EXACT:
        return "signed_off"
    if binding.connection and abs(lasted - round(lasted)) > EXACT:
        return "connection_lost"
    return "expired"


def _period(binding: Binding, started_at: float, ended_at: float, ending: str) -> Period:
    host, port = binding.remote_host, binding.remote_port
    source = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Period(binding.account_id, started_at, ended_at, ending, source, binding.user_agent)
