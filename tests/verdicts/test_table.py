"""The proof that the PBX names the right cause: for every code the fault is really made, with a real phone where
one can be brought to it, in networks of its own; then ``manage.py why`` is asked. The score is printed last."""

from __future__ import annotations

from tests.support.cases import OnPostgres, OnSqlite
from tests.support.media_engines import OnOurRelay
from tests.verdicts.case import Loopback
from tests.verdicts.faults_account import AccountFaults
from tests.verdicts.faults_calls import CallFaults
from tests.verdicts.faults_network import NetworkFaults
from tests.verdicts.faults_server import ServerFaults
from tests.verdicts.healthy import HealthyPhones


class Table(
    HealthyPhones, AccountFaults, NetworkFaults, ServerFaults, CallFaults, OnOurRelay, OnSqlite
):
    """One class, so that there is one score, and nearly all of it is waiting side by side."""

    at_once = 12


class SomeOnPostgres(Loopback, OnOurRelay, OnPostgres):
    """The same questions to the other database."""

    title = "The same on PostgreSQL, a handful:"
    at_once = 4
    by_hand = AccountFaults.by_hand
    test_wrong_password = AccountFaults.test_wrong_password_baresip
    test_unknown_extension = AccountFaults.test_unknown_extension
    test_disabled_while_registered = AccountFaults.test_disabled_while_registered
    test_no_credential = AccountFaults.test_no_credential
    test_renamed_number = AccountFaults.test_renamed_number
    test_malformed = AccountFaults.test_malformed
    test_too_many_devices = AccountFaults.test_too_many_devices
    test_guessed_at = AccountFaults.test_guessed_at
    test_cured = AccountFaults.test_cured
    test_healthy = HealthyPhones.test_linphone
    test_challenge_unanswered = NetworkFaults.test_challenge_unanswered
    test_signed_off = NetworkFaults.test_signed_off
    phone, uniqueid = CallFaults.phone, CallFaults.uniqueid
    test_codec_mismatch = CallFaults.test_codec_mismatch
    test_not_registered = CallFaults.test_not_registered


del HealthyPhones, AccountFaults, NetworkFaults, ServerFaults, CallFaults  # the loader would take them for cases
