"""The whole engine in memory: bytes of a stranger, and bytes of a phone in the middle of a call."""

from __future__ import annotations

from sipcore.log import Level
from tests.engine.calls_under_test import SERVER, CallWorld, LinkWire
from tests.hardening.fuzz.seeds import SDP
from tests.support.caller import read

TOLD = 1000
"""Bytes of an answer beyond those of its question, at the most."""

DIALOG = (
    b"%(method)s sip:x@pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5062;branch=z9hG4bKfuzz;rport\r\n"
    b"Max-Forwards: 70\r\nFrom: @LOCAL@\r\nTo: @REMOTE@\r\nCall-ID: @CALL@\r\nCSeq: 500 %(method)s\r\n"
    b"Contact: <sip:1001@127.0.0.1:5062>\r\n%(more)sContent-Length: %(length)d\r\n\r\n%(body)s"
)
MORE = {
    b"INVITE": (b"Content-Type: application/sdp\r\nSession-Expires: 90;refresher=uac\r\nSupported: timer\r\n", SDP),
    b"UPDATE": (b"Content-Type: application/sdp\r\nRequire: timer\r\n", SDP),
    b"REFER": (b"Refer-To: <sip:1002@pbx.test?Replaces=a%3bto-tag%3db%3bfrom-tag%3dc>\r\n", b""),
    b"INFO": (b"Content-Type: application/dtmf-relay\r\n", b"Signal=5\r\nDuration=160"),
    b"MESSAGE": (b"Content-Type: text/plain\r\n", b"Salom"),
    b"PRACK": (b"RAck: 1 1 INVITE\r\n", b""),
    b"SUBSCRIBE": (b"Event: refer\r\n", b""),
    b"NOTIFY": (b"Event: refer\r\nSubscription-State: terminated;reason=noresource\r\n", b"SIP/2.0 200 OK"),
    b"BYE": (b"", b""),
    b"OPTIONS": (b"", b""),
    b"ACK": (b"", b""),
    b"CANCEL": (b"", b""),
}
IN_A_CALL = [
    DIALOG % {b"method": method, b"more": more, b"body": body, b"length": len(body)}
    for method, (more, body) in MORE.items()
]


class LoudWorld(CallWorld):
    """A message that breaks the engine is only that message's loss, and one line in the log: here it raises."""

    level = Level.DEBUG

    def pump(self) -> None:
        """Nobody gets a packet who has not sent one; an answer may go to the port that the Via names (RFC 3261 18.2.2,
        without rport)."""
        waiting = self.core.datagrams_to_send()
        hosts = {host for host, _port in self.wires}
        strange = [
            flow.remote for data, flow in waiting
            if flow.remote not in self.wires and not (data.startswith(b"SIP/2.0") and flow.remote[0] in hosts)
        ]
        self.core.datagrams_to_send = lambda: waiting  # type: ignore[method-assign]
        super().pump()
        del self.core.datagrams_to_send
        assert not strange, f"a packet to {strange[0]}"


def strangers(data: bytes) -> None:
    world = LoudWorld()
    try:
        known = world.phone()
        wire = world.wire("203.0.113.9")
        for _again in range(2):
            wire.send(data, SERVER)
            world.pass_time(40.0)
            assert len(wire.inbox) <= 1, "more than one answer to one packet of a stranger"
            for answer in wire.inbox:
                assert len(answer) <= len(data) + TOLD
                assert not answer.startswith(b"SIP/2.0 500"), answer
                assert not answer.startswith(b"SIP/2.0 2") or b" OPTIONS" in answer, "a stranger is let in"
            wire.inbox.clear()
        calm(known.wire)
        over(world)
    finally:
        world.close()


def within_a_call(data: bytes) -> None:
    """The bytes come from the caller's own address, with the names of its call where the seed had a place for them."""
    world = LoudWorld()
    try:
        caller, called = world.phone(), world.phone()
        call = caller.invite(called.number)
        called.answer(called.expect("INVITE"), ack=False)
        ours = call.connected()
        called.expect("ACK")
        for mark, text in ((b"@LOCAL@", ours.local), (b"@REMOTE@", ours.remote), (b"@CALL@", ours.call_id)):
            data = data.replace(mark, text.encode())
        caller.wire.send(data, SERVER)
        world.pass_time(1.0)
        for packet in list(called.wire.inbox):
            if packet.startswith((b"INVITE", b"INFO", b"BYE", b"OPTIONS", b"MESSAGE", b"UPDATE", b"REFER")):
                called.respond(read(packet, SERVER, 0.0), 200 if packet[:3] == b"BYE" else 488)
        world.pass_time(1.0)
        for call_id in list(world.board.calls):
            world.hang_up(call_id)
        world.pass_time(200.0)
        over(world)
    finally:
        world.close()


def calm(wire: LinkWire) -> None:
    got = [packet for packet in wire.inbox if b".ping." not in packet]  # the PBX's own keep-alive
    assert not got, f"somebody else got {got[0]!r}"


def over(world: CallWorld) -> None:
    assert not world.loop.errors, world.loop.errors
    assert not world.leftovers(), world.leftovers()
    assert not [line for line in world.log_lines if "could not be handled" in line]
