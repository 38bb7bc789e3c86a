"""The 200 to a REGISTER (RFC 3261 section 10.3 step 8): every binding of the address-of-record with its time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from sipcore.ports import Binding
from sipcore.protocol.headers import quote, split_list
from sipcore.protocol.message import Request, Response, make_response


def registered(request: Request, current: Iterable[Binding], wall: float, keepalive_interval: float) -> Response:
    """``wall`` in seconds since 1970, ``keepalive_interval`` in seconds."""
    headers = [("Contact", _contact_value(binding, wall)) for binding in current]
    if request.path and "path" in request.supported:
        headers += [("Path", value) for value in request.path]
    headers.append(("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(wall))))
    response = make_response(request, 200, headers=headers)
    if request.via.params.get("keep", "") is None:
        # RFC 6223 section 4.4: we agree to be sent keep-alives, so often (seconds).
        keep = f";keep={keepalive_interval:.0f}"
        vias = split_list(", ".join(request.getall("Via")))
        vias[0] = re.sub(r";\s*keep(?=[;\s]|$)", keep, vias[0], count=1, flags=re.IGNORECASE)
        response.set("Via", ", ".join(vias))
    return response


def _contact_value(binding: Binding, wall: float) -> str:
    value = f"<{binding.contact}>;expires={max(0, round(binding.expires_at - wall))}"
    if binding.instance:
        value += f";+sip.instance={quote(f'<{binding.instance}>')}"
    if binding.reg_id is not None:
        value += f";reg-id={binding.reg_id}"
    if binding.q is not None:
        value += f";q={binding.q:g}"
    return value
