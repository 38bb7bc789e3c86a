"""REGISTERs as the registrar sees them."""

from __future__ import annotations

from itertools import count

from sipcore.protocol.digest import Credentials, expected_response, make_ha1
from sipcore.protocol.flow import Flow
from sipcore.registrar import ContactRequest, Registration
from tests.engine.memory_directory import REALM

_numbers = count(1)


def flow(host: str = "192.0.2.10", port: int = 5062) -> Flow:
    return Flow("UDP", ("192.0.2.1", 5060), (host, port))


def contact(uri: str = "sip:1001@192.168.1.5:5062", **fields) -> ContactRequest:
    instance, reg_id = fields.get("instance", ""), fields.get("reg_id")
    key = f"{instance};{reg_id}" if reg_id is not None else uri
    user = uri.partition(":")[2].partition("@")[0]
    values = {"instance": "", "reg_id": None, "q": None, "expires": None} | fields
    return ContactRequest(key=key, uri=uri, user=user, **values)


def asks(
    *contacts: ContactRequest,
    number: str = "1001",
    password: str = "secret",
    star: bool = False,
    call_id: str = "call-1",
    cseq: int | None = None,
    nonce: str | None = None,
    nc: int = 1,
    expires: int | None = None,
    came: Flow | None = None,
    algorithm: str = "MD5",
    **fields,
) -> Registration:
    """One REGISTER with the right digest for ``password``, each with a nonce of its own unless told."""
    serial = next(_numbers)
    credentials = Credentials(
        username=number, realm=REALM, nonce=nonce or f"nonce-{serial}", uri="sip:pbx.test", response="",
        algorithm=algorithm, qop="auth", nc=nc, nc_text=f"{nc:08x}", cnonce="cnonce",
    )
    ha1 = make_ha1(algorithm, number, REALM, password)
    credentials.response = expected_response(ha1, credentials, "REGISTER")
    return Registration(
        number=number, method="REGISTER", credentials=credentials, call_id=call_id,
        cseq=serial if cseq is None else cseq, contacts=None if star else contacts, expires=expires,
        flow=came or flow(), path=fields.get("path", ""), user_agent=fields.get("user_agent", "Zoiper"),
    )
