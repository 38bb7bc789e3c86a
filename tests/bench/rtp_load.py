"""Load for the relay benchmark: one process that plays the phones of many calls.

    python -m tests.bench.rtp_load SECONDS LOCAL>REMOTE ...

Each further argument is a phone: its own port, and the port of the relay that faces it. Every phone sends a G.711
packet each 20 ms, all of them spread evenly over the 20 ms, after a second of warming up that does not count. Says
"go", "end" and one line of JSON: sent, received, delay in milliseconds, processor seconds of its own."""

from __future__ import annotations

import json
import resource
import select
import socket
import struct
import sys
import time

PERIOD = 0.020
SLICES = 20  # bursts a period: each phone keeps its place in the 20 ms
HEAD = struct.Struct("!BBHIId")  # RTP header, and the time of sending where the sound would be
PADDING = bytes(172 - HEAD.size)


def main() -> None:
    seconds = float(sys.argv[1])
    phones = []
    for number, word in enumerate(sys.argv[2:]):
        local, remote = (int(part) for part in word.split(">"))
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        opened.bind(("127.0.0.1", local))
        opened.connect(("127.0.0.1", remote))
        phones.append((opened, number + 1))
    poll = select.epoll()
    receivers = {}
    for opened, _ in phones:
        poll.register(opened, select.EPOLLIN)
        receivers[opened.fileno()] = opened.recv_into
    slices = [phones[start::SLICES] for start in range(SLICES)]
    buffer = bytearray(2048)
    delays: list[float] = []
    # A second of warming up: both sides learn, nothing counts.
    sent = received = 0
    warm = 50
    start = time.monotonic() + 0.05
    turns = warm + int(seconds / PERIOD)
    marker = None
    for turn in range(turns):
        for place, some in enumerate(slices):
            due = start + turn * PERIOD + place * PERIOD / SLICES
            while True:
                left = due - time.monotonic()
                got = poll.poll(max(0.0, left), 1024) if left > 0 else poll.poll(0, 1024)
                now = time.monotonic()
                for number, _ in got:
                    receivers[number](buffer)
                    count, stamp = buffer[1], HEAD.unpack_from(buffer)[5]
                    if count & 0x7F == 8 and stamp > 0:
                        received += 1
                        if received % 64 == 0:
                            delays.append(now - stamp)
                if left <= 0:
                    break
            counted = turn >= warm
            if counted and marker is None:
                marker = resource.getrusage(resource.RUSAGE_SELF)
                print("go", flush=True)
            now = time.monotonic()
            for opened, ssrc in some:
                stamp = now if counted else 0.0
                opened.send(HEAD.pack(0x80, 8, turn & 0xFFFF, turn * 160, ssrc, stamp) + PADDING)
                sent += counted
    print("end", flush=True)
    while received < sent:
        late = poll.poll(1.0, 1024)
        if not late:
            break
        for number, _ in late:
            receivers[number](buffer)
            received += HEAD.unpack_from(buffer)[5] > 0
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert marker is not None
    delays.sort()
    print(json.dumps({
        "sent": sent,
        "received": received,
        "cpu": used.ru_utime + used.ru_stime - marker.ru_utime - marker.ru_stime,
        "median_ms": 1000 * delays[len(delays) // 2] if delays else None,
        "p99_ms": 1000 * delays[len(delays) * 99 // 100] if delays else None,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
