"""Told after a change that may let in a phone that was refused until now: a new password, a new number, enabling."""

from __future__ import annotations

from django.dispatch import Signal

repaired = Signal()
"""Sent with ``numbers``, a list of those extensions."""
