"""The difference card: what the phone sent beside what it should be, in the words of the phone's own screens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from pbx.diagnosis.evidence import AttemptFacts, DeviceFacts, NumberEvidence, ServerFacts
from pbx.diagnosis.lines import place, shown
from pbx.diagnosis.networks import is_address, is_public
from pbx.diagnosis.phone_apps import PhoneApp, app_of
from pbx.diagnosis.reading import is_guess, is_of, living, open_attempts
from pbx.diagnosis.wire import host_of, own_address, stun_address, uri_of

PASSWORD_CAUSES = ("wrong_password", "no_credential", "stale_credential")


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """``field``: what the app calls it, or our own word; ``general``: our own word where ``field`` is the app's.
    ``sent`` is text from the network. ``expected`` is empty where nothing is wanted; ``note`` is short."""

    field: str
    sent: str
    expected: str
    wrong: bool = False
    note: str = ""
    general: str = ""


@dataclass(frozen=True, slots=True)
class DifferenceCard:
    """``app`` is empty for a phone that is not known. ``at``: when it was sent."""

    app: str
    rows: tuple[DifferenceRow, ...]
    at: datetime

    @property
    def wrong_rows(self) -> tuple[DifferenceRow, ...]:
        return tuple(row for row in self.rows if row.wrong)


def difference_card(evidence: NumberEvidence) -> DifferenceCard | None:
    """Of the latest attempt that still counts, else of the phone that is registered or was last. None when nothing
    has come."""
    attempt = _attempt(evidence)
    if attempt is not None:
        app = app_of(attempt.user_agent or attempt.asked.user_agent)
        return DifferenceCard(app.name, tuple(_of_attempt(attempt, evidence, app)), attempt.last_at)
    device = next(iter((*living(evidence), *evidence.devices)), None)
    if device is None:
        return None
    app = app_of(device.user_agent)
    return DifferenceCard(app.name, tuple(_of_device(device, evidence, app)), device.refreshed_at)


def _attempt(evidence: NumberEvidence) -> AttemptFacts | None:
    attempts = open_attempts(evidence)
    if evidence.extension is not None:
        attempts = tuple(one for one in attempts if not is_guess(one, evidence))
    alive = living(evidence)
    if alive:
        attempts = tuple(one for one in attempts if any(is_of(one, device) for device in alive))
    return next(iter(attempts), None)


class _Rows:
    """Names the fields as the app does."""

    def __init__(self, app: PhoneApp) -> None:
        self.app = app
        self.rows: list[DifferenceRow] = []

    def add(self, key: str, general: str, sent: str, expected: str, wrong: bool = False, note: str = "") -> None:
        label = self.app.labels.get(key, "")
        self.rows.append(DifferenceRow(
            label or general, shown(sent), expected, wrong, note, general if label and label != general else "",
        ))


def _of_attempt(attempt: AttemptFacts, evidence: NumberEvidence, app: PhoneApp) -> list[DifferenceRow]:
    asked, server, rows = attempt.asked, evidence.server, _Rows(app)
    target, sender = uri_of(asked.to_uri), uri_of(asked.from_uri)
    user = (target.user if target else None) or (sender.user if sender else None) or attempt.number
    number = evidence.extension.number if evidence.extension else ""
    meant = number or evidence.renamed_to or next(iter(evidence.similar), "")
    if user:
        note = "" if number else _("there is no extension %(number)s") % {"number": shown(user)}
        rows.add("user", _("User name"), user, meant or _("the number of an extension"), user != number, note)
    if asked.digest_username:
        rows.add(
            "auth_user", _("Name to sign in with"), asked.digest_username, meant or _("the same as the user name"),
            asked.digest_username != (meant or user),
            _("empty, or the same as the user name") if meant else "",
        )
    if attempt.cause in PASSWORD_CAUSES:
        sent = _("not the right one") if attempt.cause == "wrong_password" else _("cannot be compared")
        rows.add("password", _("Password"), sent, _("that of %(number)s") % {"number": number}, True)
    host = host_of(asked.to_uri) or host_of(asked.request_uri)
    _domain(rows, host, asked.request_uri, server, wrong=attempt.cause == "wrong_domain")
    _transport(rows, attempt.transport, attempt.cause == "wrong_transport")
    if asked.expires is not None:
        _expires(rows, asked.expires, server)
    _stun(rows, attempt, asked.contact)
    _proxy(rows, asked.route, server, attempt.cause)
    if asked.digest_realm and asked.digest_realm != server.realm:
        rows.add("realm", _("Realm"), asked.digest_realm, _("empty, or %(realm)s") % {"realm": server.realm}, True)
    if attempt.cause == "unsupported_algorithm":
        rows.add(
            "algorithm", _("Way of encrypting the password"), asked.digest_algorithm, ", ".join(server.algorithms), True
        )
    _user_agent(rows, attempt.user_agent or asked.user_agent)
    return rows.rows


def _of_device(device: DeviceFacts, evidence: NumberEvidence, app: PhoneApp) -> list[DifferenceRow]:
    rows, number = _Rows(app), evidence.extension.number if evidence.extension else evidence.number
    rows.add("user", _("User name"), number, number)
    if device.old_password:
        rows.add("password", _("Password"), _("the old one"), _("that of %(number)s") % {"number": number}, True)
    # Any address of this machine is ours too; a name that is none of ours any more will fail.
    old_name = device.domain.lower().rstrip(".") not in evidence.server.domains and not is_address(device.domain)
    _domain(rows, device.domain, "", evidence.server, wrong=old_name)
    _transport(rows, device.transport, False)
    if not device.signed_off:
        granted = round((device.expires_at - device.refreshed_at).total_seconds())
        rows.add("expires", _("Registration time"), _seconds(granted), "")
    _stun(rows, device, device.contact)
    _user_agent(rows, device.user_agent)
    return rows.rows


def _domain(rows: _Rows, host: str, request_uri: str, server: ServerFacts, wrong: bool) -> None:
    if not host:
        return
    expected = server.domain
    if rows.app.port_in_domain and server.port != 5060:
        expected = place(server.domain, server.port)
    uri = uri_of(request_uri)
    port = uri.port if uri is not None else None
    sent = host if port is None or not rows.app.port_in_domain else place(host, port)
    rows.add("domain", _("Server (domain)"), sent, expected, wrong)
    if not rows.app.port_in_domain:
        rows.add("port", _("Port"), str(port or server.port), str(server.port))


def _transport(rows: _Rows, transport: str, wrong: bool) -> None:
    rows.add("transport", _("Transport"), "TLS" if wrong else transport, "UDP", wrong)


def _expires(rows: _Rows, seconds: int, server: ServerFacts) -> None:
    wrong, unit = 0 < seconds < server.min_expires, rows.app.expires_unit
    note = _("this field counts minutes") if unit == 60 else ""
    expected = _("%(seconds)s or more") % {"seconds": _seconds(server.min_expires)}
    rows.add("expires", _("Registration time"), _seconds(seconds), expected, wrong, note)


def _seconds(count: int) -> str:
    return pgettext("seconds, short", "%(count)d s") % {"count": count}


def _stun(rows: _Rows, phone: AttemptFacts | DeviceFacts, contact: str) -> None:
    own = own_address(contact)
    if own is None:
        return
    if stun_address(phone) is not None:
        note = _("it says that it is at %(own)s, and comes from %(source)s") % {
            "own": shown(place(*own)), "source": place(phone.source, phone.port)}
        rows.add("stun", "STUN", _("on, it seems"), pgettext("a switch", "off"), True, note)
    elif not is_public(own[0]):
        rows.add("stun", "STUN", pgettext("a switch", "off"), pgettext("a switch", "off"))


def _proxy(rows: _Rows, route: str, server: ServerFacts, cause: str) -> None:
    host = host_of(route)
    astray = bool(host) and host.lower() not in server.domains
    wrong = astray and cause in ("wrong_domain", "challenge_unanswered", "reply_lost", "nonce_loop")
    empty = pgettext("a field", "empty")
    rows.add("proxy", _("Outbound proxy"), route or empty, empty, wrong)


def _user_agent(rows: _Rows, user_agent: str) -> None:
    if user_agent:
        rows.add("user_agent", _("It calls itself"), user_agent, "")
