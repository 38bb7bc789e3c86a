"""The system check of this app's settings. E040-E049: calls, E050-E059: their sound."""

from __future__ import annotations

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.utils.translation import gettext as _

from pbx.checks import is_host
from sipcore.media.ng import parse_url
from sipcore.media.ports import LEAST_PORTS, port_range

MOST_DAYS = 36_500
MOST_WORKERS = 64


@register("pbx")
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


@register("pbx")
def check_sound(**_options: object) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    workers = settings.RTP_WORKERS
    if not 1 <= workers <= MOST_WORKERS:
        found.append(
            Error(
                _("%(name)s=%(value)d is outside %(low)d to %(high)d.")
                % {"name": "RTP_WORKERS", "value": workers, "low": 1, "high": MOST_WORKERS},
                hint=_("Write a number in that range, or take the line out to use the default."),
                id="pbx.E051",
            )
        )
    try:
        port_range(settings.RTP_PORTS, workers)
    except ValueError:
        found.append(
            Error(
                _("RTP_PORTS=%(value)s is no range of ports from 1024 to 65535, with %(count)d or more for each of "
                  "RTP_WORKERS.") % {"value": settings.RTP_PORTS[:40], "count": LEAST_PORTS},
                hint=_("Write the first port and the last, for example RTP_PORTS=10000-20000."),
                id="pbx.E050",
            )
        )
    wrong = [url for url in settings.RTPENGINE_URLS if not _is_engine(url)]
    if wrong:
        found.append(
            Error(
                _("RTPENGINE_URLS has a value that is not the address of a media engine: %(value)s")
                % {"value": wrong[0][:80]},
                hint=_("Write addresses with commas between, for example RTPENGINE_URLS=udp:127.0.0.1:2223."),
                id="pbx.E052",
            )
        )
    return found


def _is_engine(url: str) -> bool:
    try:
        host, _port = parse_url(url)
    except ValueError:
        return False
    return is_host(host)
