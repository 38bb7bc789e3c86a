"""The 200 to a REGISTER (RFC 3261 section 10.3 step 8): every binding of the address-of-record with its time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from functools import lru_cache

from sipcore.ports import Binding
from sipcore.protocol.headers import quote, split_list
from sipcore.protocol.message import Request, Response, make_response


def lines_of(request: Request, current: Iterable[Binding], wall: float) -> list[tuple[str, str]]:
    """What the 200 says; ``wall`` in seconds since 1970."""
    headers = [("Contact", _contact_value(binding, wall)) for binding in current]
    if request.path and "path" in request.supported:
        headers += [("Path", value) for value in request.path]
    headers.append(("Date", _date(int(wall))))
    return headers


def wants_keepalives(request: Request) -> bool:
    """Whether the phone asks to be told that it will be sent them (RFC 6223)."""
    return request.via.params.get("keep", "") is None


def promising_keepalives(request: Request, headers: Iterable[tuple[str, str]], interval: float) -> Response:
    """The 200 to such a one, with the ``interval`` in seconds (RFC 6223 section 4.4)."""
    response = make_response(request, 200, headers=headers)
    vias = split_list(", ".join(request.getall("Via")))
    vias[0] = re.sub(r";\s*keep(?=[;\s]|$)", f";keep={interval:.0f}", vias[0], count=1, flags=re.IGNORECASE)
    response.set("Via", ", ".join(vias))
    return response


@lru_cache(maxsize=4)
def _date(wall: int) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(wall))


def _contact_value(binding: Binding, wall: float) -> str:
    value = f"<{binding.contact}>;expires={max(0, round(binding.expires_at - wall))}"
    if binding.instance:
        value += f";+sip.instance={quote(f'<{binding.instance}>')}"
    if binding.reg_id is not None:
        value += f";reg-id={binding.reg_id}"
    if binding.q is not None:
        value += f";q={binding.q:g}"
    return value
