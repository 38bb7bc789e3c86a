"""Session timers of one leg (RFC 4028): a phone that is gone ends the call, and who keeps it up is settled here."""

from __future__ import annotations

from collections.abc import Callable

from sipcore.protocol.headers import parse_number, parse_params
from sipcore.protocol.message import Request, Response

DEFAULT_SECONDS = 1800
MIN_SECONDS = 90
MAX_SECONDS = 86_400


def nobody() -> None:
    """Is told of a refresh."""


class SessionTimer:
    """``seconds``: the interval; ``ours``: we refresh; ``known``: the phone supports session timers at all."""

    def __init__(self, seconds: int = DEFAULT_SECONDS) -> None:
        """``seconds`` is what we ask for."""
        self.seconds = seconds
        self.minimum = MIN_SECONDS
        self.ours = True
        self.known = False
        self.refreshed: Callable[[], None] = nobody
        """Called at each refresh that comes from the phone."""

    @property
    def patience(self) -> float:
        """Seconds from a refresh until the next one is to be sent, or is given up (section 10)."""
        return self.seconds / 2 if self.ours else self.seconds - min(32.0, self.seconds / 3)

    def offer(self) -> list[tuple[str, str]]:
        """For the first INVITE of ours: the phone may choose who refreshes."""
        return [("Session-Expires", str(self.seconds)), ("Min-SE", str(self.minimum))]

    def grow(self, refusal: Response) -> bool:
        """After a 422 to an INVITE of ours: whether it is worth asking again, for as long as the phone wants (7.4)."""
        wanted = parse_number((refusal.get("Min-SE") or "").partition(";")[0].strip()) or 0
        if wanted <= self.seconds:
            return False
        self.seconds = self.minimum = min(wanted, MAX_SECONDS)
        return True

    def refresh(self) -> list[tuple[str, str]]:
        """For a re-INVITE or UPDATE of ours: nothing changes about who refreshes."""
        if not self.known:
            return []
        role = "uac" if self.ours else "uas"
        return [("Session-Expires", f"{self.seconds};refresher={role}"), ("Min-SE", str(self.minimum))]

    def too_small(self, request: Request) -> bool:
        """422: the phone supports timers and asks for less than we grant (section 9)."""
        asked, _ = _read(request.get("Session-Expires"))
        return asked is not None and asked < MIN_SECONDS and "timer" in request.supported

    def answer(self, request: Request, supported: frozenset[str]) -> list[tuple[str, str]]:
        """For the 2xx to an INVITE or UPDATE of the phone (section 9). Refreshing is left to the phone if it asks for
        that; where it cannot, it is ours."""
        headers = self._answer(request, supported)
        self.refreshed()
        return headers

    def _answer(self, request: Request, supported: frozenset[str]) -> list[tuple[str, str]]:
        if "timer" not in (request.supported or supported):
            return []
        self.known = True
        asked, refresher = _read(request.get("Session-Expires"))
        minimum = parse_number((request.get("Min-SE") or "").partition(";")[0].strip()) or 0
        self.seconds = max(asked or self.seconds, minimum, MIN_SECONDS)
        self.ours = refresher != "uac"
        headers = [("Session-Expires", f"{self.seconds};refresher={'uas' if self.ours else 'uac'}")]
        if not self.ours:
            headers.append(("Require", "timer"))
        return headers

    def answered(self, response: Response) -> None:
        """The 2xx to an INVITE or UPDATE of ours (section 7.2)."""
        seconds, refresher = _read(response.get("Session-Expires"))
        if seconds is not None:
            self.known = True
            self.seconds = max(seconds, MIN_SECONDS)
            self.ours = refresher != "uas"
        else:
            self.ours = True


def _read(value: str | None) -> tuple[int | None, str]:
    """Seconds and refresher of a Session-Expires; (None, "") when there is none or it is no number."""
    if not value:
        return None, ""
    number, _, rest = value.partition(";")
    params = parse_params(rest) if rest else {}
    return parse_number(number.strip()), (params.get("refresher") or "").lower()
