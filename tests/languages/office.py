"""An office in which every state that the pages can show occurs at least once, and the addresses of those pages."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import Group, User
from django.utils import timezone

from extensions.models import DigestCredential
from pbx.calls.models import CallRecord
from pbx.calls.words import CAUSES
from pbx.diagnosis.models import Attempt, Watch
from pbx.diagnosis.reasons import REASONS
from pbx.system.models import SipProcess
from tests.admin_ui.evidence_rows import make_attempt, make_block, make_period
from tests.extensions.rows import make_binding, make_extension

ADMINISTRATOR, PASSWORD = "root", "a-Long-enough-1"
DISPOSITIONS = {"normal": "ANSWERED", "busy": "BUSY", "no_answer": "NO ANSWER", "too_many_calls": "CONGESTION"}


def furnish() -> None:
    now = timezone.now()
    User.objects.create_superuser(ADMINISTRATOR, "root@pbx.test", PASSWORD)
    User.objects.create_user("helper", password=PASSWORD, is_staff=True, first_name="Dilnoza", last_name="Karimova")
    Group.objects.create(name="Qo‘llab-quvvatlash")
    reception = make_extension("1001", display_name="Qabulxona")
    make_binding(reception, key="a", user_agent="Zoiper v2.10", refreshed_at=now - timedelta(minutes=9))
    make_binding(reception, key="b", user_agent="Linphone 5.2", unreachable_since=now - timedelta(minutes=4))
    make_binding(reception, key="c", user_agent="", seconds_left=-4000, remote_host="2001:db8:1234:5678::9")
    DigestCredential.objects.filter(extension=reception).update(changed_at=now - timedelta(minutes=5))
    desk = make_extension("1002", display_name="Акмал Каримов")
    make_binding(desk, key="d", user_agent="Grandstream GXP1625")
    store = make_extension("1003", display_name="Ombor", password=None)
    make_binding(store, key="e", user_agent="Yealink T31", unreachable_since=now)
    make_extension("1004", display_name="Бухгалтерия", enabled=False)
    stale = make_extension("1005")
    DigestCredential.objects.filter(extension=stale).update(realm="another")
    seen = make_extension("1006", display_name="Oʻtkir")
    make_binding(seen, key="f", user_agent="MicroSIP/3.21", seconds_left=-90000)
    SipProcess.objects.create(node="pbx", worker=0, pid=1, started_at=now, beat_at=now, listening="udp", version="1")
    _trouble(reception, seen)
    for number, cause in enumerate(CAUSES):
        _call(now - timedelta(minutes=3 * number + 1), cause)
    _call(now - timedelta(days=2), "normal", silent=True)
    _call(now - timedelta(seconds=70), "", answered=True)
    _call(now - timedelta(seconds=7), "", node="silent")


def _trouble(reception, seen) -> None:
    """Failed attempts of every reason, a block, a strip with every state, a phone that is watched."""
    for minutes, cause in enumerate(REASONS):
        make_attempt(f"70{minutes:02}", cause, minutes_ago=minutes, source="198.51.100.7", count=3)
    make_attempt("1001", "wrong_password", reception)
    make_attempt("1006", "challenge_unanswered", seen)
    make_attempt("10011", "unknown_extension", source="192.168.77.8")
    make_attempt("", "malformed")
    make_block("1006")
    make_period(reception, 20, 15)
    for number in range(6):
        make_period(reception, 9 - number / 7, 8.98 - number / 7)
    Watch.objects.create(number="1006", until=timezone.now() + timedelta(minutes=10))


def _call(start, cause: str, *, answered: bool = False, silent: bool = False, node: str = "pbx") -> None:
    begin, answered = start.timestamp(), answered or cause in ("normal", "media_timeout", "ack_lost")
    leg = {
        "number": "1002", "device": "Grandstream", "user_agent": "Grandstream GXP1625", "remote": "203.0.113.9:5062",
        "ringing_at": begin + 1, "state": "answered" if answered else "ringing" if not cause else "failed",
        "answered_at": begin + 6 if answered else None, "ended_at": begin + 60 if cause else None,
        "code": 200 if answered else 486 if cause else None, "reason": "Busy Here" if cause and not answered else "",
    }
    heard = {"packets": 2500, "bytes": 430_000, "lost": 12, "jitter_ms": 3.4, "first_at": begin + 6,
             "last_at": begin + 60, "foreign_packets": 400}
    CallRecord.objects.create(
        uniqueid=f"{node}-{begin:.3f}-{cause}", node=node, src="1001", dst="1002", clid='"Qabulxona" <1001>',
        start=start, answer=start + timedelta(seconds=6) if answered else None,
        end=start + timedelta(seconds=60) if cause else None, duration=60, billsec=54 if answered else 0,
        disposition=DISPOSITIONS.get(cause, "ANSWERED" if answered else "FAILED") if cause else "",
        cause=cause, hung_up_by="caller" if cause == "normal" else "", legs=[leg],
        media=[] if not answered else [
            {"from_number": "1001", "to_number": "1002", **heard},
            {"from_number": "1002", "to_number": "1001", **({} if silent else heard)},
        ],
    )


def addresses() -> dict[str, str]:
    """What to open, by short names."""
    from extensions.models import Extension

    ids = {extension.number: extension.pk for extension in Extension.objects.all()}
    binding = Extension.objects.get(number="1001").bindings.order_by("pk").first()
    calls = {call.cause or f"alive-{call.node}": call.pk for call in CallRecord.objects.order_by("-start")}
    silent = CallRecord.objects.order_by("start").first()
    user, group = User.objects.get(username="helper").pk, Group.objects.get().pk
    one = f"/admin/extensions/extension/{ids['1001']}"
    pages = {
        "index": "/admin/", "extensions": "/admin/extensions/extension/", "add": "/admin/extensions/extension/add/",
        "nothing-found": "/admin/extensions/extension/?q=zzz",
        **{f"extension-{number}": f"/admin/extensions/extension/{pk}/change/" for number, pk in ids.items()},
        "password": f"{one}/password/", "card": f"{one}/card/", "phone-link": f"{one}/phone-link/",
        "card-without-password": f"/admin/extensions/extension/{ids['1003']}/card/",
        "phone-link-refused": f"/admin/extensions/extension/{ids['1004']}/phone-link/",
        "forget-all": f"{one}/forget/", "forget-one": f"{one}/forget/{binding.pk}/",
        "delete": f"{one}/delete/", "history": f"{one}/history/",
        "number": "/admin/diagnosis/number/10011/", "never-seen": "/admin/diagnosis/number/5555/",
        "attempts": "/admin/diagnosis/attempt/", "no-attempts": "/admin/diagnosis/attempt/?q=zzz",
        "attempt": f"/admin/diagnosis/attempt/{Attempt.objects.get(number='').pk}/change/",
        "registrations": "/admin/extensions/binding/", "no-registrations": "/admin/extensions/binding/?q=zzz",
        "active-calls": "/admin/calls/activecall/", "calls": "/admin/calls/callrecord/",
        "call-silent": f"/admin/calls/callrecord/{silent.pk}/change/",
        **{f"call-{cause}": f"/admin/calls/callrecord/{pk}/change/" for cause, pk in calls.items()},
        "users": "/admin/auth/user/", "user": f"/admin/auth/user/{user}/change/", "add-user": "/admin/auth/user/add/",
        "user-password": f"/admin/auth/user/{user}/password/", "delete-user": f"/admin/auth/user/{user}/delete/",
        "user-history": f"/admin/auth/user/{user}/history/",
        "groups": "/admin/auth/group/", "group": f"/admin/auth/group/{group}/change/",
        "own-password": "/admin/password_change/",
    }
    return pages
