"""A whole engine without socket, thread or database: packets in, packets out, time by hand."""

from __future__ import annotations

import os
from itertools import count

from sipcore.batch import RegistrationBatch
from sipcore.core import Core, Settings
from sipcore.log import SipLog
from sipcore.protocol.digest import Credentials, expected_response, make_ha1
from sipcore.protocol.flow import Flow
from sipcore.protocol.headers import parse_params, unquote
from sipcore.protocol.message import parse_message
from sipcore.registrar import Policy
from tests.engine.asking import flow as make_flow
from tests.engine.memory_directory import REALM, MemoryDirectory

DOMAIN = "pbx.test"


class FakeClock:
    def __init__(self) -> None:
        self.time = 1000.0
        self.epoch = 1_800_000_000.0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.epoch + self.time

    def step(self) -> float:
        return 0.0


class HeldStore:
    """Keeps the jobs until the test says ``settle()``."""

    has_room = staticmethod(lambda job, beside: True)
    available = True

    def __init__(self, work) -> None:
        self.work, self.jobs = work, []
        self.hand_over = lambda: None

    def submit(self, *jobs) -> None:
        self.jobs += jobs

    def settle(self):
        self.hand_over()
        jobs, self.jobs = [job for job in self.jobs if not job.abandoned], []
        for job, decision in zip(jobs, self.work([job.asked for job in jobs]), strict=True):
            job.decision = decision
        return jobs


class Engine:
    def __init__(self, **settings) -> None:
        self.clock = FakeClock()
        self.directory = MemoryDirectory()
        self.read_end, write_end = os.pipe()
        self.log = SipLog(write_end)
        self._write_end = write_end
        values = {"algorithms": ("MD5",), "domains": frozenset({DOMAIN}), "key": b"k" * 32, "node": "n1"} | settings
        self.core = Core(Settings(realm=REALM, **values), self.log, self.clock)
        decoys = {"MD5": "0" * 32, "SHA-256": "0" * 64}
        counts = self.core.authenticator.registration_counts
        batch = RegistrationBatch(self.directory, Policy(node="n1"), decoys, self.clock.wall, counts=counts)
        self.core.store = self.store = HeldStore(batch)
        self.store.hand_over = self.core.hand_over

    def exchange(self, data: bytes, flow: Flow | None = None, settle: bool = True):
        """What comes back for one packet: a list of parsed messages."""
        self.core.receive(data, flow or make_flow())
        if settle:
            self.core.completed(self.store.settle())
        return self.sent()

    def sent(self):
        return [parse_message(data) for data, _flow in self.core.datagrams_to_send()]

    def tick(self, seconds: float):
        """Let time pass, looking every 100 ms as the loop does."""
        messages = []
        for _ in range(round(seconds * 10)):
            self.clock.time += 0.1
            self.core.tick()
            messages += self.sent()
        return messages

    def log_lines(self) -> list[str]:
        self.log.close()
        os.close(self._write_end)
        with os.fdopen(self.read_end, "rb") as pipe:
            return pipe.read().decode().splitlines()


class Phone:
    """Makes REGISTERs as a phone does; ``edit`` spoils the text of one before it is sent."""

    _branches = count(1)

    def __init__(self, engine: Engine, number: str = "1001", password: str = "secret", flow: Flow | None = None):
        self.engine, self.number, self.password = engine, number, password
        self.flow = flow or make_flow()
        self.call_id, self.cseq, self.nonce, self.nc = f"{number}@phone", 0, None, 0
        self.algorithm, self.domain = "MD5", DOMAIN
        self.to_number: str | None = None
        self.credentials_edit = lambda text: text

    def request(self, contact: str | None = "<sip:{number}@192.168.1.5:5062>", headers=(), method="REGISTER") -> bytes:
        self.cseq += 1
        uri, to = f"sip:{self.domain}", self.to_number or self.number
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP 192.168.1.5:5062;rport;branch=z9hG4bK{next(self._branches)}",
            f"From: <sip:{to}@{self.domain}>;tag=a", f"To: <sip:{to}@{self.domain}>",
            f"Call-ID: {self.call_id}", f"CSeq: {self.cseq} {method}", "Max-Forwards: 70", "User-Agent: Zoiper",
            *headers,
        ]
        if contact:
            lines.append("Contact: " + contact.format(number=self.number))
        if self.nonce is not None:
            lines.append("Authorization: " + self.credentials_edit(self._authorization(uri, method)))
        return ("\r\n".join(lines) + "\r\nContent-Length: 0\r\n\r\n").encode()

    def register(self, *args, **kwargs):
        """The final answer, after a challenge if there is one."""
        answer = self.send(self.request(*args, **kwargs))
        if answer.status == 401:
            answer = self.send(self.request(*args, **kwargs))
        return answer

    def send(self, data: bytes):
        [answer] = self.engine.exchange(data, self.flow)
        if answer.status == 401:
            self.take_challenge(answer)
        return answer

    def take_challenge(self, answer) -> None:
        for value in answer.getall("WWW-Authenticate"):
            params = parse_params(value.partition(" ")[2].replace(", ", ";"))
            if unquote(params.get("algorithm", "MD5")) == self.algorithm:
                self.nonce, self.nc = unquote(params["nonce"]), 0

    def _authorization(self, uri: str, method: str) -> str:
        self.nc += 1
        credentials = Credentials(
            username=self.number, realm=REALM, nonce=self.nonce, uri=uri, response="", algorithm=self.algorithm,
            qop="auth", nc=self.nc, nc_text=f"{self.nc:08x}", cnonce="c",
        )
        ha1 = make_ha1(self.algorithm, self.number, REALM, self.password)
        response = expected_response(ha1, credentials, method)
        return (
            f'Digest username="{self.number}", realm="{REALM}", nonce="{self.nonce}", uri="{uri}", '
            f'response="{response}", algorithm={self.algorithm}, qop=auth, nc={self.nc:08x}, cnonce="c"'
        )
