"""One sentence of the front page, with its button."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.utils.translation import gettext as _

from pbx.diagnosis.repairs import Button
from pbx.diagnosis.verdict import Severity


@dataclass(frozen=True, slots=True)
class Item:
    code: str
    severity: Severity
    text: str
    subject: str = ""  # whom it is about: a number and a name
    url: str = ""  # the page of the subject
    do: str = ""  # what to do
    button: Button | None = None
    likely: bool = False


def list_button(user: User, url: str) -> Button | None:
    return Button(_("Show"), url) if user.has_perm("diagnosis.view_attempt") else None
