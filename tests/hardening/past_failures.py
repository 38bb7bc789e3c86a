"""Fifty failures of Kamailio, OpenSIPS, Asterisk, FreeSWITCH, pjsip, rtpengine and FreePBX, and the tests that keep
them from happening here. ``test_past_failures`` sees to it that every one has a test that exists, or a line in
docs/security.md that says why it cannot occur."""

from __future__ import annotations

from dataclasses import dataclass

CORE = "tests.engine.test_core"
GUARD = "tests.engine.test_calls_guard.GuardInMemory"
DOOR = "tests.engine.test_guard_door"
SIGNALLING = "tests.hardening.test_signalling"
FUZZ = "tests.hardening.fuzz.test_targets"
MESSAGE = "tests.protocol.test_message"
STRANGERS = "tests.media.test_strangers"
KILL = "tests.durability.test_kill"


@dataclass(frozen=True)
class PastFailure:
    """``tests``: dotted names. Without any it cannot occur, and docs/security.md says why."""

    what: str
    source: str
    tests: tuple[str, ...] = ()


PAST_FAILURES: dict[int, PastFailure] = {
    1: PastFailure("a name that is not that of the credentials tells which names exist", "AST-2009-008, AST-2009-003", (
        f"{CORE}.Refusing.test_whatever_is_wrong_with_the_credentials_the_answer_is_the_same",
    )),
    2: PastFailure("answers or their repetitions differ for unknown names", "AST-2013-003", (
        f"{SIGNALLING}.EnumerationTests.test_each_method_answers_known_and_unknown_numbers_alike_2",
        f"{CORE}.Repeating.test_the_same_401_twice_with_nothing_remembered",
        f"{GUARD}.test_a_wrong_password_and_an_unknown_number_look_the_same",
    )),
    3: PastFailure("a blocked address is answered otherwise than an unknown name", "AST-2018-008", (
        f"{DOOR}.SilenceTests.test_nothing_at_all_is_answered_to_a_blocked_address",
        f"{DOOR}.OfficeTests.test_an_unknown_number_and_a_wrong_password_are_slowed_alike",
    )),
    4: PastFailure("the time of an answer tells which names exist", "measured on others", (
        f"{SIGNALLING}.SameWorkTests.test_an_unknown_number_costs_the_same_hashes_as_a_known_one_4",
    )),
    5: PastFailure("passwords are guessed", "SIPVicious", (
        "tests.engine.test_guard.OldPasswordTests.test_the_wait_grows_up_to_a_minute",
        "tests.engine.test_guard.GuessingTests.test_six_numbers_block_the_address",
        "tests.engine.test_guard.GuessingTests.test_numbers_known_good_at_that_address_go_on",
        "tests.extensions.test_passwords.PasswordRuleTests.test_generated_passwords_are_strong_and_unambiguous",
    )),
    6: PastFailure("a nonce is replayed, from elsewhere too", "Kamailio auth", (
        "tests.engine.test_registrar.Replay.test_a_nonce_count_is_good_once",
        "tests.engine.test_registrar.Replay.test_a_captured_authorization_does_not_carry_another_contact",
        f"{CORE}.Nonces.test_one_from_another_address_is_stale",
        "tests.protocol.test_digest.NonceTest.test_bound_to_the_source_address",
    )),
    7: PastFailure("without qop nonce counts are not looked at", "Kamailio auth", (
        f"{CORE}.Refusing.test_qop_left_out_is_refused",
    )),
    8: PastFailure("the uri of the digest is not compared", "Kamailio", (
        f"{CORE}.Refusing.test_a_digest_uri_of_elsewhere_is_400",
        "tests.protocol.test_uri.EqualityTest.test_as_the_uri_of_a_digest",
    )),
    9: PastFailure("an algorithm is taken that was not offered", "RFC 8760, Kamailio", (
        f"{CORE}.Refusing.test_an_algorithm_that_was_not_offered_is_refused",
        f"{CORE}.TwoAlgorithms.test_both_are_offered_the_stronger_first_and_each_works",
        "tests.protocol.test_digest.AuthorizationTest.test_unknown_algorithms_never_match",
    )),
    10: PastFailure("an incomplete Authorization crashes", "CVE-2023-28098, GHSA-64qc-9x89-rx5j", (
        f"{FUZZ}.FuzzTests.test_authorization",
        f"{FUZZ}.KeptTests.test_what_once_broke_something",
        "tests.protocol.test_digest.AuthorizationTest.test_junk",
    )),
    11: PastFailure("whoever asks gets the gateway's digest", "CVE-2021-41158", (
        f"{SIGNALLING}.AnsweringStrangersTests.test_a_callee_that_asks_for_a_password_gets_none_11",
        f"{SIGNALLING}.AnsweringStrangersTests.test_a_phone_that_asks_for_a_password_within_a_call_gets_none_11",
    )),
    12: PastFailure("one INVITE after the other on ever new challenges", "AST-2020-002", (
        f"{SIGNALLING}.AnsweringStrangersTests.test_a_callee_that_asks_for_a_password_gets_none_11",
    )),
    13: PastFailure("MESSAGE is relayed without a password", "CVE-2021-37624", (
        f"{GUARD}.test_without_a_password_nothing_rings",
    )),
    14: PastFailure("SUBSCRIBE without a password spies on lines", "CVE-2021-41157", (
        "tests.engine.test_subscriptions.RefusedTests.test_without_a_password",
        f"{GUARD}.test_without_a_password_nothing_rings",
    )),
    15: PastFailure("another's number is registered with one's own password", "RFC 3261 26.1.1", (
        f"{CORE}.Refusing.test_whatever_is_wrong_with_the_credentials_the_answer_is_the_same",
        "tests.engine.test_evidence.Refused.test_another_user_in_the_credentials",
        "tests.protocol.test_uri.EqualityTest.test_canonical_is_one_spelling",
    )),
    16: PastFailure("the caller's identity is forged", "RFC 3325", (
        f"{GUARD}.test_the_callers_identity_is_built_from_the_account",
        f"{GUARD}.test_another_ones_from_is_refused",
        f"{GUARD}.test_what_of_a_caller_reaches_the_called_phone",
    )),
    17: PastFailure("headers are smuggled by what stands before the colon", "CVE-2020-28361, AST-2016-009", (
        f"{MESSAGE}.SmugglingTest.test_header_names",
        f"{GUARD}.test_the_callers_identity_is_built_from_the_account",
    )),
    18: PastFailure("strangers end or change a call", "measured on others", (
        f"{GUARD}.test_a_stranger_cannot_end_or_change_a_call",
        f"{GUARD}.test_guessed_tags_are_no_dialog",
        f"{GUARD}.test_a_strangers_cancel_is_nothing",
        f"{GUARD}.test_another_extension_cannot_take_over_a_leg",
        f"{GUARD}.test_a_strangers_ack_confirms_nothing",
    )),
    19: PastFailure("somebody answers who was never asked", "measured on others", (
        f"{GUARD}.test_a_strangers_ack_and_answers_are_nothing",
        "tests.protocol.test_endpoint.ResponseTest.test_from_anywhere_else_it_is_dropped",
    )),
    20: PastFailure("an open relay, by ACK, Route or a stray answer", "measured on others", (
        f"{SIGNALLING}.ReflectionTests.test_nothing_is_forwarded_for_a_stranger_20",
        "tests.engine.test_calls_forks.ForksInMemory.test_redirection_to_the_outside_is_not_followed",
    )),
    21: PastFailure("maddr, received or rport send answers elsewhere", "RFC 3261 26.1.5", (
        f"{SIGNALLING}.ReflectionTests.test_a_via_that_names_somebody_else_21",
        "tests.protocol.test_endpoint.SourceTest.test_what_the_sender_claims_is_replaced",
    )),
    22: PastFailure("a small question has a large answer, or many", "nickvsnetworking.com", (
        f"{SIGNALLING}.ReflectionTests.test_an_unauthenticated_phone_gets_little_and_once_22",
        "tests.protocol.test_endpoint.GarbageTest.test_what_is_not_sip_gets_no_answer",
        "tests.protocol.test_brevity.BrevityTest.test_no_length_of_request_gets_more_than_one_and_a_half_times_as_much",
    )),
    23: PastFailure("two accounts call each other without end", "RFC 5393", (
        f"{CORE}.Refusing.test_a_contact_at_the_server_itself_is_refused",
        f"{CORE}.Refusing.test_too_many_contacts_are_refused",
        "tests.engine.test_calls_forks.ForksInMemory.test_redirections_in_a_ring_end",
        "tests.engine.test_calls_forks.ForksInMemory.test_an_invite_that_came_back_is_refused",
        f"{GUARD}.test_a_text_comes_to_an_end",
    )),
    24: PastFailure("Contact, Path or Refer-To lead into the own network", "measured on others", (
        f"{SIGNALLING}.ReflectionTests.test_a_registered_phone_cannot_name_somebody_else_24",
        "tests.engine.test_registrar.Bindings.test_the_address_is_where_the_packet_came_from",
        "tests.engine.test_calls_transfer.TransferInMemory.test_targets_outside_are_refused",
    )),
    25: PastFailure("an address in a message is fetched", "AST-2022-001, AST-2022-002", (
        "tests.hardening.test_sources.SourceTests.test_nothing_fetches_an_address_25",
    )),
    26: PastFailure("sound goes to whoever sends to its port", "AST-2017-005, AST-2017-008, CVE-2017-14099", (
        f"{STRANGERS}.OnRelay.test_a_stranger_hears_nothing_and_is_not_heard",
        f"{STRANGERS}.OnRelay.test_a_stranger_does_not_take_the_place_of_a_phone_behind_a_router",
        f"{STRANGERS}.OnRelay.test_nobody_beside_a_phone_without_router_takes_its_place",
        f"{STRANGERS}.OnEngine.test_nothing_passes_before_the_answer",
    )),
    27: PastFailure("the source of sound is learned again", "CVE-2025-53399", (
        f"{STRANGERS}.OnRelay.test_a_second_port_while_the_first_speaks_is_refused",
        f"{STRANGERS}.OnRelay.test_a_new_port_with_another_voice_is_not_followed",
        f"{STRANGERS}.OnRelay.test_who_took_a_silent_phones_place_has_it_until_the_phone_speaks",
    )),
    28: PastFailure("a description names a victim, and sound is sent there", "measured on rtpengine", (
        f"{STRANGERS}.OnRelay.test_nothing_is_sent_to_somebody_a_description_names",
        f"{STRANGERS}.OnRelay.test_nothing_is_sent_before_the_phone_has_spoken",
        f"{STRANGERS}.OnEngine.test_nothing_is_sent_to_candidates_nor_reports_to_somebody_else",
    )),
    29: PastFailure("a stranger's ClientHello is first", "GHSA-39gv-hq72-j6m6, GHSA-hxj9-xwr8-w8pq"),
    30: PastFailure("numbers overflow", "CVE-2017-9372, AST-2017-009, GHSA-c6j5-f4h4-2xrq, GHSA-j5j8-rhcm-7fp9", (
        f"{MESSAGE}.NumberTest.test_cseq",
        f"{MESSAGE}.NumberTest.test_content_length",
        f"{MESSAGE}.NumberTest.test_ports",
        "tests.protocol.test_sdp.SdpTest.test_numbers_that_overflow_are_no_payload_types",
        f"{FUZZ}.KeptTests.test_what_once_broke_something",
    )),
    31: PastFailure("one message ends the transport for good", "CVE-2026-57191", (
        f"{SIGNALLING}.OneMessageAloneTests.test_what_breaks_the_handler_of_one_message_is_that_messages_loss_31",
        f"{FUZZ}.KeptTests.test_what_once_broke_something",
        f"{CORE}.Registering.test_one_that_cannot_be_answered_costs_its_neighbours_nothing",
    )),
    32: PastFailure("too many of one header, or a mandatory one missing", "AST-2018-004, AST-2017-014, AST-2018-002", (
        f"{MESSAGE}.BoundTest.test_sizes",
        f"{MESSAGE}.SmugglingTest.test_missing_headers",
        f"{GUARD}.test_an_invite_without_contact",
        f"{FUZZ}.KeptTests.test_what_once_broke_something",
    )),
    33: PastFailure("parsers of Via, To and URIs crash", "GHSA-wxfg-3gwh-rhvx, GHSA-7pf3-24qg-8v9h, CVE-2018-8828", (
        f"{FUZZ}.FuzzTests.test_via",
        f"{FUZZ}.FuzzTests.test_address",
        f"{FUZZ}.FuzzTests.test_uri",
        f"{FUZZ}.FuzzTests.test_message",
        "tests.protocol.test_rfc4475.TortureTest.test_no_message_is_left_out",
    )),
    34: PastFailure("a regular expression takes for ever", "measured", (
        "tests.protocol.test_robustness.WorstCaseTest.test_64_kilobytes_stay_below_20_ms",
        "tests.protocol.test_robustness.WorstCaseTest.test_twice_the_input_takes_about_twice_the_time",
    )),
    35: PastFailure("a flood without a password fills the memory", "CVE-2021-41145", (
        f"{SIGNALLING}.NothingKeptTests.test_thousands_without_a_password_leave_nothing_35",
        "tests.protocol.test_endpoint.MemoryTest.test_a_flood_without_password_leaves_nothing",
        "tests.engine.test_guard.BoundsTests.test_so_many_sources_and_not_one_more",
        "tests.engine.test_guard.BoundsTests.test_what_is_kept_does_not_grow_with_the_length_of_a_call_id",
        "tests.engine.test_evidence.Bounds.test_100_000_failing_sources_take_no_more_than_their_share",
    )),
    36: PastFailure("half-open and refused calls stay", "AST-2017-011, CVE-2020-28327, CVE-2018-7286", (
        "tests.engine.test_calls_guard.LimitsInMemory.test_half_open_calls",
        "tests.engine.test_calls_guard.FloodOfRefused.test_in_a_flood_nothing_is_kept_of_who_is_refused",
        "tests.engine.test_calls_timers.LongTimersInMemory.test_a_phone_that_vanishes_while_it_rings_leaves_nothing_behind",
    )),
    37: PastFailure("silent TCP connections take all places", "AST-2014-007, AST-2011-005", (
        "tests.engine.test_streams.Strangers.test_silent_connections_take_no_honest_phones_place",
        "tests.engine.test_connections.Time.test_who_says_nothing_has_little_time",
        "tests.engine.test_connections.TooMany.test_who_fills_all_places_with_one_message_each_shuts_nobody_out",
    )),
    38: PastFailure("Content-Length lies on a stream", "RFC 4475", (
        "tests.engine.test_streams.Framing.test_a_missing_length_and_a_lie_are_answered_with_400_and_the_end",
        "tests.engine.test_framing.Lies.test_a_length_beyond_all_bounds",
        f"{FUZZ}.FuzzTests.test_framing",
    )),
    39: PastFailure("text of a phone is run by an administrator's browser", "VoIPmonitor ES2021-02", (
        "tests.verdicts.test_hostile_texts.HostileTexts.test_every_page_of_the_admin",
        "tests.admin_ui.test_sign_in.WayInTests.test_nothing_inline_may_run",
        "tests.hardening.test_sources.SourceTests.test_only_pictures_of_our_own_are_not_escaped_39",
    )),
    40: PastFailure("SQL in what a page is asked for", "GHSA-4pgv-j3mr-3rcp, CVE-2026-44238, CVE-2026-28210", (
        "tests.hardening.test_sources.SourceTests.test_sql_is_written_in_few_places_40",
        "tests.admin_ui.test_call_records.ListTests.test_odd_addresses_are_answered",
    )),
    41: PastFailure("control characters reach phones and logs", "GHSA-2grh-7mhv-fcfw", (
        f"{MESSAGE}.WritingTest.test_no_control_character_leaves",
        f"{GUARD}.test_no_screen_obeys_what_a_phone_says",
        "tests.engine.test_log.LogTests.test_a_text_from_the_network_cannot_forge_a_line",
        "tests.verdicts.test_hostile_texts.HostileTexts.test_the_database_holds_clean_columns",
    )),
    42: PastFailure("the administration is taken over from the Internet", "FreePBX, August 2025", (
        "tests.admin_ui.test_admin_reach.NetworkTests.test_by_default_this_machine_and_private_networks",
        "tests.admin_ui.test_sign_in.ThrottleTests.test_the_fifth_wrong_password_locks_with_a_readable_page",
        "tests.admin_ui.test_permissions.PermissionTests.test_each_change_needs_its_csrf_token",
        "tests.frontdoor.test_start.FirstStartTests.test_two_starts",
    )),
    43: PastFailure("the HA1 or a password is shown or logged", "measured on others", (
        "tests.admin_ui.test_secrets.SecretTests.test_every_page_and_every_answer",
        f"{CORE}.Registering.test_the_log_has_the_four_lines_of_the_guide_and_no_secret",
        "tests.system.test_settings.DatabaseUrlTests.test_sqlite_under_var_is_private_and_durable",
        "tests.extensions.test_credentials.CredentialTests.test_changed_realm_is_stale_and_setting_the_password_repairs_it",
    )),
    44: PastFailure("calls at the owner's cost", "FusionPBX", (
        "tests.engine.test_calls_setup.SetupInMemory.test_unknown_number",
        "tests.engine.test_calls_guard.LimitsInMemory.test_calls_of_one_extension",
        "tests.engine.test_calls_transfer.TransferInMemory.test_targets_outside_are_refused",
    )),
    45: PastFailure("without its store it refuses for good", "dsiprouter #214, siphon-sip #373", (
        "tests.durability.test_database_restart.DatabaseRestart.test_while_it_is_away_a_phone_gets_503_and_afterwards_200",
        f"{KILL}.LockedSqliteFile.test_a_locked_file_delays_the_answer_and_refuses_nobody",
        f"{CORE}.Overload.test_a_store_that_is_away_too_long_is_503_never_4xx_and_is_not_answered_twice",
    )),
    46: PastFailure("a restart loses registrations", "OpenSIPS #1177", (
        f"{KILL}.KillOnSqlite.test_what_was_confirmed_before_the_kill_is_there_after_it",
        f"{KILL}.KillOnPostgres.test_what_was_confirmed_before_the_kill_is_there_after_it",
    )),
    47: PastFailure("a step of the clock ends all registrations", "measured on others", (
        "tests.engine.test_directory.Chores.test_a_clock_that_was_set_moves_the_times_along",
        "tests.engine.test_calls_timers.LongTimersInMemory.test_calls_go_on_when_the_clock_is_set_back",
        "tests.engine.test_guard.AdministratorTests.test_setting_the_clock_leaves_them_as_long_as_they_were",
    )),
    48: PastFailure("a kill in a write, or a full disk", "measured on others", (
        "tests.hardening.test_full_disk.FullDiskTests.test_a_full_disk_refuses_nobody_for_good_48",
        f"{KILL}.KillOnSqlite.test_what_was_confirmed_before_the_kill_is_there_after_it",
    )),
    49: PastFailure("a stop leaves phones ringing", "measured on others", (
        "tests.calls_flow.test_endings.Endings.test_asked_to_stop",
        f"{CORE}.Overload.test_while_stopping_new_ones_get_503_and_accepted_ones_their_answer",
        f"{KILL}.CleanStopOnSqlite.test_sigterm_ends_it_in_time_and_nothing_confirmed_is_lost",
    )),
    50: PastFailure("the version is told to scanners", "RFC 3261 20.35", (
        f"{SIGNALLING}.ReflectionTests.test_no_version_is_told_50",
    )),
}  # fmt: skip
