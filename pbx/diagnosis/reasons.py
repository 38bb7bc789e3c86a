"""Why an attempt failed, in two or three words for lists. The codes are stable and public; the whole sentences are
those of the verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from django.utils.functional import Promise
from django.utils.translation import pgettext_lazy

REASONS: Mapping[str, Promise] = MappingProxyType({
    "wrong_password": pgettext_lazy("why a phone failed", "wrong password"),
    "unknown_extension": pgettext_lazy("why a phone failed", "no such number"),
    "disabled": pgettext_lazy("why a phone failed", "extension disabled"),
    "no_credential": pgettext_lazy("why a phone failed", "no password given yet"),
    "stale_credential": pgettext_lazy("why a phone failed", "password has to be given again"),
    "wrong_realm": pgettext_lazy("why a phone failed", "meant for another server"),
    "wrong_domain": pgettext_lazy("why a phone failed", "other server name"),
    "third_party": pgettext_lazy("why a phone failed", "two different numbers"),
    "alg_tampering": pgettext_lazy("why a phone failed", "changed on the way"),
    "malformed": pgettext_lazy("why a phone failed", "damaged message"),
    "unsupported_algorithm": pgettext_lazy("why a phone failed", "password method not known"),
    "expires_too_short": pgettext_lazy("why a phone failed", "registers for too short a time"),
    "too_many_devices": pgettext_lazy("why a phone failed", "too many devices"),
    "wrong_transport": pgettext_lazy("why a phone failed", "wrong transport"),
    "challenge_unanswered": pgettext_lazy("why a phone failed", "sent no password"),
    "reply_lost": pgettext_lazy("why a phone failed", "our answer did not arrive"),
    "nonce_loop": pgettext_lazy("why a phone failed", "asked for the password without end"),
    "rate_limited": pgettext_lazy("why a phone failed", "slowed down"),
    "blocked": pgettext_lazy("why a phone failed", "address blocked"),
})


def reason_of(cause: str) -> str:
    """A cause from a newer engine is shown as its code."""
    return str(REASONS.get(cause, cause))
