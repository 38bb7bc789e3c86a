"""A phone whose Authorization can be wrong in any part. Its response is always the right one for what it sends, unless
the response itself is the lie."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence

from tests.hardening.conformance.peer import But, Peer, Received

HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256, "SHA-512-256": lambda data: hashlib.new("sha512_256", data)}
QUOTED = ("username", "realm", "nonce", "uri", "response", "cnonce", "opaque")


class LyingPhone(Peer):
    """``algorithm``: the one it answers; ``nonce`` is the last that it got for it, ``count`` its use of that."""

    algorithm = "MD5"

    def __init__(self, server: tuple[str, int], domain: str, number: str, password: str, algorithm: str) -> None:
        super().__init__(server, domain, number, password)
        self.algorithm = algorithm
        self.realm = self.nonce = ""

    # Credentials

    def take(self, refusal: Received) -> None:
        """Take up the challenge of a 401 that is for its algorithm."""
        for value in refusal.all("www-authenticate"):
            found = dict(re.findall(r'([a-z-]+)="?([^",]*)"?', value))
            if found.get("algorithm", "MD5") == self.algorithm:
                self.realm, self.nonce, self.count = found["realm"], found["nonce"], 0
                return
        raise AssertionError(f"no challenge for {self.algorithm}: {refusal}")

    def fresh(self) -> None:
        """A new challenge."""
        self.take(self.ask(self.request("REGISTER")))

    def fields(self, method: str, uri: str, /, **but: str | None) -> dict[str, str]:
        """The parameters as they stand in the header, the response among them. ``but``: other values than the right
        ones, as they stand there; None leaves one out."""
        self.count += 1
        usual = {
            "username": f'"{self.number}"', "realm": f'"{self.realm}"', "nonce": f'"{self.nonce}"', "uri": f'"{uri}"',
            "algorithm": self.algorithm, "cnonce": f'"{secrets.token_hex(4)}"', "qop": "auth",
            "nc": f"{self.count:08x}",
        }  # fmt: skip
        found = {name: value for name, value in {**usual, **but}.items() if value is not None}
        if "response" not in but:
            found["response"] = f'"{self.response(method, found)}"'
        return found

    def response(
        self,
        method: str,
        fields: dict[str, str],
        hashed_by: str = "",
        password: str | None = None,
        ha1: str | None = None,
    ) -> str:
        """The right one for these parameters (RFC 7616 3.4.1). ``hashed_by``: in spite of its label; ``password``,
        ``ha1``: in place of the right ones."""
        plain = {name: value.strip('"') for name, value in fields.items()}
        label = hashed_by or plain.get("algorithm", "MD5").upper()
        make = HASHES.get(label.removesuffix("-SESS"), HASHES[self.algorithm])

        def h(text: str) -> str:
            return make(text.encode("utf-8", "surrogateescape")).hexdigest()

        if ha1 is None:
            ha1 = h(f"{self.number}:{self.realm}:{self.password if password is None else password}")
        if label.endswith("-SESS"):
            ha1 = h(f"{ha1}:{plain.get('nonce', '')}:{plain.get('cnonce', '')}")
        a2 = f"{method}:{plain.get('uri', '')}"
        if plain.get("qop") == "auth-int":
            a2 += f":{h('')}"
        middle = f"{plain.get('nc', '')}:{plain.get('cnonce', '')}:{plain['qop']}:" if "qop" in plain else ""
        return h(f"{ha1}:{plain.get('nonce', '')}:{middle}{h(a2)}")

    def authorization(self, method: str, uri: str, /, **but: str | None) -> str:  # type: ignore[override]
        return written(self.fields(method, uri, **but))

    # What an honest person does with it

    def register(self, contact: str | None = None, expires: int = 600, **but: str | None) -> Received:
        """Fetches a challenge if it has none, and again when its nonce is told to be stale. ``contact`` "": asks what
        is registered."""
        for _ in range(3):
            if not self.nonce:
                self.fresh()
            got = self.ask(self.signed(contact, expires, **but))
            if got.status != 401:
                return got
            self.take(got)
        return got

    def signed(self, contact: str | None = None, expires: int = 600, **but: str | None) -> bytes:
        """A REGISTER with its credentials, not sent yet."""
        uri = f"sip:{self.domain}"
        lines: But = {"Contact": (contact or None) if contact is not None else self.contact, "Expires": str(expires)}
        return self.request("REGISTER", uri, lines, [("Authorization", self.authorization("REGISTER", uri, **but))])

    def with_lines(self, contact: str, lines: Sequence[tuple[str, str]], but: But | None = None) -> bytes:
        """A REGISTER with these lines at its end."""
        return self.request("REGISTER", f"sip:{self.domain}", {"Contact": contact, **(but or {})}, lines)


def written(fields: dict[str, str]) -> str:
    return "Digest " + ", ".join(f"{name}={value}" for name, value in fields.items())


def authorization_of(data: bytes) -> str:
    """What somebody who sees this request go by gets."""
    found = re.search(rb"\r\nAuthorization: ([^\r]*)", data)
    assert found
    return found[1].decode()
