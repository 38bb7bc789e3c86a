"""The system check of this app's settings. E040-E049: calls."""

from __future__ import annotations

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.utils.translation import gettext as _

MOST_DAYS = 36_500


@register
def check_call_records_days(**_options: object) -> list[CheckMessage]:
    if 0 <= settings.CALL_RECORDS_DAYS <= MOST_DAYS:
        return []
    return [
        Error(
            _("CALL_RECORDS_DAYS=%(value)d is outside 0 to %(most)d.")
            % {"value": settings.CALL_RECORDS_DAYS, "most": MOST_DAYS},
            hint=_("Write after how many days call records are deleted, or 0 to keep them for ever."),
            id="pbx.E040",
        )
    ]
