"""Which call each leg belongs to. Counted as it changes: looking through all calls for every new one would make the
price of a call grow with their number."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from sipcore.calls.leg import Leg
from sipcore.protocol.ordinary import ordinary

if TYPE_CHECKING:
    from sipcore.calls.call import Call


K = TypeVar("K")


@ordinary
class Engaged(dict[Leg, "Call"]):
    """``of_account``: legs of each extension, by its id. ``call_ids``: legs of each Call-ID."""

    def __init__(self) -> None:
        super().__init__()
        self.of_account: Counter[int] = Counter()
        self.call_ids: Counter[str] = Counter()

    def __setitem__(self, leg: Leg, call: Call) -> None:
        if leg not in self:
            self.of_account[leg.party.account_id] += 1
            self.call_ids[leg.call_id] += 1
        super().__setitem__(leg, call)

    def __delitem__(self, leg: Leg) -> None:
        super().__delitem__(leg)
        _less(self.of_account, leg.party.account_id)
        _less(self.call_ids, leg.call_id)


def _less(counted: Counter[K], key: K) -> None:
    counted[key] -= 1
    if not counted[key]:
        del counted[key]
