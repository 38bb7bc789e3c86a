"""How long the pages take the server: ``python -m tests.bench.crowd_pages`` prints {what is shown: milliseconds}
as JSON, for the database that the environment names. The median of some looks each, by Django's own test client: all
that gunicorn's worker does for a request, and nothing of gunicorn.

An *empty page* is the list of groups while there are none: the frame, the menu, the session, one count and one read."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from statistics import median

EMPTY, EMPTY_PAGE = "/admin/auth/group/", "an empty page"
LISTS = (
    "Extensions", "Extensions, the last page", "Registrations", "Registrations, the last page", "Calls",
    "Calls, the last page",
)
"""The lists as they open, and their ends."""

LOOKS = 7
EACH = sys.maxsize


def addresses() -> dict[str, str]:
    """By what they show. One of each kind of page that can grow with the number of phones."""
    from django.contrib import admin
    from django.urls import reverse

    from extensions.models import Binding, Extension
    from pbx.calls.models import CallRecord
    from pbx.calls.totals import MOST_UNASKED
    from tests.support.many_bindings import FIRST

    some = Extension.objects.get(number=str(FIRST + 77))
    extensions, registrations, calls = (
        reverse(f"admin:{name}_changelist")
        for name in ("extensions_extension", "extensions_binding", "calls_callrecord")
    )
    pages = {  # of fifty rows each
        name: -(-min(model.objects.count(), most) // 50)
        for name, model, most in (("e", Extension, EACH), ("r", Binding, EACH), ("c", CallRecord, MOST_UNASKED))
    }
    found = {
        "front page": reverse("admin:index"),
        "Extensions": extensions,
        "Extensions, the last page": f"{extensions}?p={pages['e']}",
        "Extensions, in the middle": f"{extensions}?p={pages['e'] // 2}",
        "Extensions, online": f"{extensions}?online=yes",
        "Extensions, not online": f"{extensions}?online=no",
        "Extensions, without a password": f"{extensions}?password_state=missing",
        "Extensions, disabled": f"{extensions}?enabled__exact=0",
        "Extensions, one number": f"{extensions}?q={FIRST + 77}",
        "Extensions, part of a number": f"{extensions}?q=0077",
        "Extensions, by last seen": f"{extensions}?o=-6",
        "Extensions, by online": f"{extensions}?o=-3",
        "one extension": reverse("admin:extensions_extension_change", args=[some.pk]),
        "Registrations": registrations,
        "Registrations, the last page": f"{registrations}?p={pages['r']}",
        "Registrations, in the middle": f"{registrations}?p={pages['r'] // 2}",
        "Registrations, silent ones": f"{registrations}?answers=no",
        "Registrations, UDP": f"{registrations}?transport=UDP",
        "Registrations, one number": f"{registrations}?q={FIRST + 77}",
        "Registrations, part of an address": f"{registrations}?q=77.9.1",
        "Registrations, by address": f"{registrations}?o=4",
        "Calls": calls,
        "Calls, the last page": f"{calls}?p={pages['c']}",
        "Calls, in the middle": f"{calls}?p={pages['c'] // 2}",
        "Calls, one number": f"{calls}?q={FIRST + 77}",
        "Calls, busy ones": f"{calls}?disposition__exact=BUSY",
    }
    for model in admin.site._registry:
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        found.setdefault(f"{model._meta.verbose_name_plural}".capitalize(), address)
    return found


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "pbx.settings"
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client(HTTP_HOST="127.0.0.1", REMOTE_ADDR="127.0.0.1")
    user, _created = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")

    def look(address: str) -> Callable[[], float]:
        def once() -> float:
            begin = time.perf_counter()
            response = client.get(address)
            took = (time.perf_counter() - begin) * 1000
            assert response.status_code == 200, (address, response.status_code)
            return took

        return once

    once = {name: look(address) for name, address in {EMPTY_PAGE: EMPTY, **addresses()}.items()}
    took: dict[str, list[float]] = {name: [] for name in once}
    looks = int(sys.argv[1]) if sys.argv[1:] else LOOKS
    for turn in range(looks + 1):  # the first look reads the templates
        for name, one in once.items():
            if turn < 2 or sum(took[name]) < 3000:  # a slow page is slow enough after two
                took[name].append(one())
    print(json.dumps({name: round(median(values[1:] or values), 2) for name, values in took.items()}))


if __name__ == "__main__":
    main()
