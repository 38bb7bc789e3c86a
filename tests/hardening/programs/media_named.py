"""Descriptions that name somebody else: nothing is sent there."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hardening.programs import Figure
from tests.hardening.programs.media_crowd import Crowd


def named_victims(crowd: Crowd, engine: str) -> Iterator[Figure]:
    return iter(())
