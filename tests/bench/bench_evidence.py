"""What the recording of evidence costs a registration: ``python -m tests.bench.bench_evidence [--quick]``.

The engine in one thread without its sockets, on a SQLite database with fsync at each commit: REGISTER, 401, REGISTER
with digest, 200, committed in batches. The same phones with the recorder and without, batch by batch in turn, so that
a noisy minute of the machine hits both alike; processor time, the medians. The goal: at most 10 % more."""

from __future__ import annotations

import argparse
import os
import time
from statistics import median

from tests.support.pbx import CROWD, CROWD_PASSWORD, DOMAIN, SqliteStore

BATCH = 200
GOAL = 0.10


class NoRecorder:
    """Answers whatever a core says to its recorder, and does nothing."""

    watched = frozenset()

    def __getattr__(self, name: str):
        return self.nothing

    @staticmethod
    def nothing(*_args, **_kwargs) -> None: ...


class Bench:
    def __init__(self) -> None:
        from extensions.directory import DjangoDirectory
        from pbx.diagnosis.store import DjangoEvidenceStore
        from sipcore.batch import RegistrationBatch
        from sipcore.clock import MachineClock
        from sipcore.log import SipLog
        from sipcore.registrar import Policy

        self.clock = MachineClock()
        self.log = SipLog(os.open(os.devnull, os.O_WRONLY))
        decoys = {"MD5": "0" * 32, "SHA-256": "0" * 64}
        directory = DjangoDirectory(DOMAIN, ["MD5"])
        self.work = RegistrationBatch(directory, Policy(node="bench"), decoys, self.clock.wall)
        self.store = DjangoEvidenceStore()
        self.jobs: list = []
        self.has_room = lambda job: True
        self.rounds = 0

    def submit(self, job) -> None:
        self.jobs.append(job)

    def core(self, recording: bool):
        from sipcore.core import Core, Settings

        settings = Settings(realm=DOMAIN, domains=frozenset({DOMAIN}), algorithms=("MD5",), key=b"k" * 32, node="bench")
        core = Core(settings, self.log, self.clock)
        core.store = self
        if not recording:
            core.recorder = NoRecorder()
        return core

    def run(self, core, numbers: range, recording: bool) -> float:
        """Microseconds of processor time for each registration of one batch of phones."""
        self.rounds += 1
        phones = [_Phone(number, self.rounds) for number in numbers]
        asks = [phone.request(1) for phone in phones]
        started = time.process_time()
        for phone, data in zip(phones, asks, strict=True):
            core.receive(data, phone.flow)
        challenges = core.datagrams_to_send()
        spent = time.process_time() - started
        answers = [phone.request(2, data) for phone, (data, _flow) in zip(phones, challenges, strict=True)]
        started = time.process_time()
        for phone, data in zip(phones, answers, strict=True):
            core.receive(data, phone.flow)
        jobs, self.jobs = self.jobs, []
        for job, decision in zip(jobs, self.work([job.asked for job in jobs]), strict=True):
            job.decision = decision
        core.completed(jobs)
        sent = core.datagrams_to_send()
        if recording:  # once a second in life, far oftener here
            core.recorder.take().write(self.store)
        self.log.flush()
        spent += time.process_time() - started
        assert all(data.startswith(b"SIP/2.0 200") for data, _flow in sent), "not all were registered"
        return spent / len(numbers) * 1e6


class _Phone:
    def __init__(self, number: int, serial: int) -> None:
        from sipcore.protocol.flow import Flow

        self.number, self.serial = str(number), serial
        host = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self.flow = Flow("UDP", ("192.0.2.1", 5060), (host, 5062))
        self.sent_by = f"{host}:5062"

    def request(self, cseq: int, challenge: bytes = b"") -> bytes:
        aor = f"sip:{self.number}@{DOMAIN}"
        lines = [
            f"REGISTER sip:{DOMAIN} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.sent_by};rport;branch=z9hG4bK{self.number}.{self.serial}.{cseq}",
            "Max-Forwards: 70", f"From: <{aor}>;tag=t{self.serial}", f"To: <{aor}>",
            f"Call-ID: {self.number}.{self.serial}@{self.sent_by}", f"CSeq: {cseq} REGISTER", "User-Agent: Zoiper 5.6",
            f"Contact: <sip:{self.number}@{self.sent_by}>", "Expires: 3600", "Allow: INVITE,ACK,CANCEL,BYE,OPTIONS",
        ]
        if challenge:
            lines.append(f"Authorization: {self._credentials(challenge)}")
        return ("\r\n".join(lines) + "\r\nContent-Length: 0\r\n\r\n").encode()

    def _credentials(self, challenge: bytes) -> str:
        from sipcore.protocol.digest import Credentials, expected_response, make_ha1

        nonce, uri = challenge.partition(b'nonce="')[2].partition(b'"')[0].decode(), f"sip:{DOMAIN}"
        credentials = Credentials(self.number, DOMAIN, nonce, uri, "", "MD5", "auth", 1, "00000001", "c")
        ha1 = make_ha1("MD5", self.number, DOMAIN, CROWD_PASSWORD.format(number=self.number))
        return (
            f'Digest username="{self.number}", realm="{DOMAIN}", nonce="{nonce}", uri="{uri}", qop=auth, nc=00000001, '
            f'cnonce="c", response="{expected_response(ha1, credentials, "REGISTER")}", algorithm=MD5'
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=48, help=f"batches of {BATCH} phones of each kind")
    parser.add_argument("--quick", action="store_true", help="12 batches")
    options = parser.parse_args()
    batches = 12 if options.quick else options.batches
    store = SqliteStore()
    try:
        store.fill(crowd=True)
        os.environ |= {"DATABASE_URL": store.url, "DJANGO_SETTINGS_MODULE": "pbx.settings"}
        import django

        django.setup()
        bench = Bench()
        cores = {recording: bench.core(recording) for recording in (False, True)}
        measured: dict[bool, list[float]] = {True: [], False: []}
        for batch in range(batches + 2):
            first = batch * BATCH % (len(CROWD) - BATCH)
            for recording in (False, True) if batch % 2 else (True, False):
                spent = bench.run(cores[recording], CROWD[first : first + BATCH], recording)
                if batch > 1:  # what is loaded once
                    measured[recording].append(spent)
        without, recorded = median(measured[False]), median(measured[True])
        share = recorded / without - 1
        print(f"medians of {batches} batches of {BATCH} phones: {without:.0f} us a registration without evidence, "
              f"{recorded:.0f} us with it: {share:+.1%} (goal: at most {GOAL:.0%})")
    finally:
        store.remove()


if __name__ == "__main__":
    main()
