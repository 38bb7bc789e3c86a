"""What is called with the bytes. A target returns when all is well, and raises whatever is not: any exception but
those that the parser promises, and AssertionError for what came out wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from hypothesis import strategies as st

from pbx.diagnosis.ladder import ladder_of
from pbx.diagnosis.sip_text import parameter, read, seconds, user_of
from sipcore.calls.session_timer import SessionTimer
from sipcore.evidence.asked import asked_of, read_request
from sipcore.evidence.facts import WireMessage
from sipcore.evidence.scrub import scrubbed
from sipcore.media import bencode, figures, ng, rewrite
from sipcore.media.errors import MediaError
from sipcore.protocol import digest, headers, sdp, uri
from sipcore.protocol.dialog import Dialog
from sipcore.protocol.errors import SipError
from sipcore.protocol.framing import MAX_HEAD, PING, StreamFramer
from sipcore.protocol.message import MAX_HEADERS, MAX_MESSAGE, Request, make_response, parse_message, validate_request
from sipcore.subscriptions.packages import Limits, read_subscribe
from tests.hardening.fuzz import engine, grammar, seeds
from tests.hardening.fuzz.transactions import play

FIXED = 200
"""Characters of a reason, at the most: it is a phrase of our own, never text of the network."""


@dataclass(frozen=True)
class Target:
    run: Callable[[bytes], None]
    seeds: list[bytes]
    examples: int = 120
    made: st.SearchStrategy[bytes] | None = None

    @property
    def inputs(self) -> st.SearchStrategy[bytes]:
        return seeds.spoiled(self.seeds, self.made)


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def is_ours(error: SipError) -> None:
    assert error.reason.isascii() and error.reason.isprintable() and len(error.reason) < FIXED, error.reason
    assert error.status in (0, 400, 401, 406, 414, 416, 423, 483, 489, 505), error.status


def message(data: bytes) -> None:
    try:
        read_message = parse_message(data)
    except SipError as error:
        is_ours(error)
        return
    assert len(data) <= MAX_MESSAGE
    assert len(read_message.headers) <= MAX_HEADERS
    look_at(read_message)
    written = read_message.to_bytes()
    assert len(written) <= 4 * len(data) + 1000, "it grows"
    head = written.partition(b"\r\n\r\n")[0]
    assert all(byte >= 32 or byte in b"\r\n\t" for byte in head) and b"\x7f" not in head, "a control character leaves"
    if len(written) <= MAX_MESSAGE:
        with suppress(SipError):  # a first line that nobody could write is none for the next reader
            again = parse_message(written)
            assert [name for name, _ in again.headers if name != "Content-Length"] == [
                name for name, _ in read_message.headers if name != "Content-Length"
            ], "what is written is read as something else"
            assert again.body == read_message.body
    if isinstance(read_message, Request):
        with suppress(SipError):
            validate_request(read_message)
            answer = parse_message(make_response(read_message, 400, to_tag="x").to_bytes())
            assert answer.get("Call-ID") == read_message.get("Call-ID")
            Dialog.as_uas(read_message, "tag", "<sip:me@example.com>").make_request("BYE").to_bytes()


def look_at(read_message: object) -> None:
    """All that is understood only when somebody asks."""
    for name in ("via", "from_", "to", "call_id", "cseq", "max_forwards", "contacts", "path", "request_uri", "expires",
                 "supported", "require", "user_agent"):  # fmt: skip
        try:
            value = getattr(read_message, name, None)
        except SipError as error:
            is_ours(error)
            continue
        if isinstance(value, int):
            assert 0 <= value <= headers.LARGEST
        for contact in value if name == "contacts" and isinstance(value, list) else ():
            for number in (contact.expires, contact.reg_id):
                assert number is None or 0 <= number <= headers.LARGEST
            assert contact.q is None or 0 <= contact.q <= 1
            str((contact.instance, contact.uri.canonical))


def via(data: bytes) -> None:
    with suppress(SipError):
        first = headers.parse_via(text_of(data))
        assert first.port is None or 0 < first.port < 65536
        assert headers.parse_via(str(first)) == first, "what is written is read as something else"


def address(data: bytes) -> None:
    text = text_of(data)
    for parse in (headers.parse_name_addr, headers.parse_contact):
        with suppress(SipError):
            first = parse(text)
            again = parse(str(first))
            assert (again.uri, again.params) == (first.uri, first.params), "what is written is read as something else"
            assert again.display_name == first.display_name or "\\" in text or '"' in text
            assert again.tag == first.tag
            assert first.tag is None or not set(first.tag) & set(' \t\r\n;,"<>\\@'), "a tag that breaks out"


def lists(data: bytes) -> None:
    text = text_of(data)
    with suppress(SipError):
        parts = headers.split_list(text)
        assert len(parts) <= headers.MAX_LIST * 5
        assert sum(map(len, parts)) <= len(text)
    with suppress(SipError):
        params = headers.parse_params(text)
        assert len(params) <= headers.MAX_PARAMS
        again = headers.parse_params(headers.format_params(params)[1:]) if params else {}
        assert again == params
    cleaned = headers.clean_text(text, 100)
    assert len(cleaned) <= 100
    cleaned.encode("utf-8")
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in cleaned)
    number = headers.parse_number(text)
    assert number is None or 0 <= number <= headers.LARGEST
    assert headers.unquote(headers.quote(text)) == text


def one_uri(data: bytes) -> None:
    try:
        first = uri.parse_uri(text_of(data))
    except SipError as error:
        is_ours(error)
        return
    assert not set(str(first)) & set('<>" \r\n\t\0'), "it breaks out of its brackets"
    assert first.port is None or 0 < first.port < 65536
    again = uri.parse_uri(str(first))
    assert again == first, "what is written is read as something else"
    assert uri.same_uri(first, again) and uri.same_uri(again, first, ignore_params=True)
    first.canonical.encode("ascii")
    assert uri.normalise_escapes(first.canonical_user) == first.canonical_user or "%" in first.canonical_user


def authorization(data: bytes) -> None:
    text = text_of(data)
    try:
        credentials = digest.parse_authorization(text)
    except SipError as error:
        is_ours(error)
        return
    assert credentials.username and credentials.nonce and credentials.uri and credentials.response
    assert credentials.nc is None or 0 <= credentials.nc < 2**32
    assert credentials.qop is None or credentials.nc is not None
    # No bytes that were not made with the password are taken for it.
    assert not digest.response_matches("0" * 32, credentials, "REGISTER")
    nonces = digest.Nonces(b"k", 1, 10)
    assert nonces.state(credentials.nonce, 1.0, "192.0.2.1") is digest.NonceState.STALE


def challenge(data: bytes) -> None:
    with suppress(SipError):
        params = digest.parse_challenge(text_of(data))
        assert params["nonce"] and "realm" in params


def description(data: bytes) -> None:
    try:
        session = sdp.parse_sdp(data)
    except SipError as error:
        is_ours(error)
    else:
        assert len(session.media) <= sdp.MAX_MEDIA
        for media in session.media:
            assert 0 <= media.port < 65536 and all(0 <= codec.payload <= 127 for codec in media.codecs)
            str((media.ptime, session.direction_of(media), session.connection_of(media)))
        written = session.to_bytes()
        assert sdp.parse_sdp(written).to_bytes() == written, "what is written is read as something else"
    try:
        relayed = rewrite.read(data)
    except MediaError:
        return
    found = rewrite.places(relayed)
    written = rewrite.rewrite(relayed, "198.51.100.1", [0 if place.rejected else 10000 for place in found])
    for line in written.split(b"\r\n"):
        if line[:2] == b"c=":
            assert line in (b"c=IN IP4 198.51.100.1", b"c=IN IP4 0.0.0.0"), "it leads past the relay"
        assert line.partition(b":")[0] not in (b"a=candidate", b"a=ice-pwd", b"a=rtcp-mux"), "it leads past the relay"
    head = written.partition(b"\r\nm=")[0]
    assert b"\r\na=rtcp:" not in head, "it leads past the relay"


def framing(data: bytes) -> None:
    at_once, piece_by_piece = StreamFramer(), StreamFramer()
    whole = at_once.feed(data)
    pieces = []
    for at in range(0, len(data), 997):
        pieces += piece_by_piece.feed(data[at : at + 997])
        assert piece_by_piece.buffered <= MAX_MESSAGE + MAX_HEAD
    for framer in (at_once, piece_by_piece):
        assert framer.buffered <= len(data) and len(framer.rest) <= MAX_HEAD
        framer.give_up()
        assert framer.feed(data) == [], "it goes on after a fault"
    assert [one for one in whole if one != PING] == [one for one in pieces if one != PING], "the pieces matter"
    assert str(at_once.fault) == str(piece_by_piece.fault)
    for one in whole:
        assert len(one) <= MAX_MESSAGE
        message(one)


def bencoding(data: bytes) -> None:
    with suppress(bencode.BencodeError):
        value = bencode.decode(data)
        assert bencode.decode(bencode.encode(value)) == value, "what is written is read as something else"
    try:
        cookie, table = ng.unpack(data)
    except MediaError as error:
        str(error).encode("ascii")
        return
    assert 0 < len(cookie) <= ng.MAX_COOKIE
    with suppress(MediaError):
        ng.text(table, "call-id", "sdp")
        ng.words(table, "flags", "replace")
    figures.read_call_media("x", table)


def subscribe(data: bytes) -> None:
    try:
        request = parse_message(data)
        if isinstance(request, Request):
            with suppress(SipError):
                asked = read_subscribe(request, Limits())
                assert asked.expires == 0 or 60 <= asked.expires <= 3600
            timer = SessionTimer()
            timer.too_small(request)
            timer.answer(request, frozenset(("timer",)))
            assert timer.seconds >= 90
    except SipError as error:
        is_ours(error)


def scrub(data: bytes) -> None:
    text = scrubbed(data)
    assert len(text) <= 4096
    for char in text:
        code = ord(char)
        assert (code >= 32 and not 0x7F <= code < 0xA0 and not 0xD800 <= code < 0xE000) or char == "\n", repr(char)
        assert code not in (0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)), repr(char)


def ladder(data: bytes) -> None:
    """Stored text is read again by pages and commands, years later too."""
    for text in (scrubbed(data), data.decode("utf-8", "replace")[:20_000]):
        messages = [
            WireMessage(1e9 + place, bool(place % 2), "UDP", "192.0.2.1:5060", "192.0.2.9:5062", len(data), part, "1")
            for place, part in enumerate((text, text[: len(text) // 2], text[len(text) // 2 :]))
        ]
        for one in map(read, messages):
            str((one.branch, one.in_dialog, one.user_agent, one.phone, one.direction, one.repeats_as))
            for value in one.headers.values():
                parameter(value, "tag")
                user_of(value)
                seconds(value)
        drawn = ladder_of(messages)
        assert drawn.arrows


def asked(data: bytes) -> None:
    request = read_request(data)
    if request is None:
        return
    for known in (data, b""):
        facts = asked_of(request, known)
        for name in facts.__dataclass_fields__:
            value = getattr(facts, name)
            if isinstance(value, str):
                assert len(value) <= 1024 and "\n" not in value and "\0" not in value
                value.encode("utf-8")


TARGETS: Mapping[str, Target] = {
    "message": Target(message, seeds.MESSAGES, 150, made=grammar.MADE_MESSAGE),
    "via": Target(via, seeds.VIAS, made=grammar.MADE_VIA),
    "address": Target(address, seeds.ADDRESSES, made=grammar.MADE_ADDRESS),
    "lists": Target(lists, seeds.ADDRESSES + seeds.VIAS, made=grammar.MADE_LIST),
    "uri": Target(one_uri, seeds.URIS, made=grammar.MADE_URI),
    "authorization": Target(authorization, seeds.AUTHORIZATIONS, made=grammar.MADE_AUTHORIZATION),
    "challenge": Target(challenge, seeds.CHALLENGES),
    "sdp": Target(description, seeds.DESCRIPTIONS, made=grammar.MADE_SDP),
    "framing": Target(framing, seeds.STREAMS),
    "bencode": Target(bencoding, seeds.DOCUMENTS),
    "subscribe": Target(subscribe, [seeds.SUBSCRIBE, seeds.INVITE], made=grammar.MADE_MESSAGE),
    "scrub": Target(scrub, seeds.MESSAGES, 80, made=grammar.MADE_MESSAGE),
    "ladder": Target(ladder, seeds.MESSAGES, 60, made=grammar.MADE_MESSAGE),
    "asked": Target(asked, seeds.MESSAGES, 80, made=grammar.MADE_MESSAGE),
    "transactions": Target(play, [*seeds.MESSAGES, b"".join(seeds.MESSAGES[:5])]),
    "engine": Target(engine.strangers, seeds.MESSAGES, 80, made=grammar.MADE_MESSAGE),
    "call": Target(engine.within_a_call, engine.IN_A_CALL, 40),
}
