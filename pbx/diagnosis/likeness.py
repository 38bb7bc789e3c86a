"""Numbers that somebody who wrote this one may have meant: one slip away."""

from __future__ import annotations

import re
import string

MOST = 400  # spellings: they go into one query
LOOKALIKES = str.maketrans({"o": "0", "l": "1", "i": "1", "|": "1", "s": "5", "b": "8"})


def likely_meant(number: str) -> list[str]:
    """Spellings one slip away from ``number`` (small letters), the likeliest first: a needless prefix or a sign
    between the digits, a letter for a digit, two signs swapped, one wrong, one missing, one too many."""
    digits = re.sub(r"[^0-9]", "", number)
    letters = string.digits if digits == number else string.digits + string.ascii_lowercase + "._-"
    splits = [(number[:place], number[place:]) for place in range(len(number) + 1)]
    meant = [
        re.sub(r"[^0-9a-z]", "", number), number.translate(LOOKALIKES), digits, digits.lstrip("0"),
        digits[-4:], digits[-3:],
        *(head + tail[1] + tail[0] + tail[2:] for head, tail in splits if len(tail) > 1),
        *(head + tail[1:] for head, tail in splits if tail),
        *(head + letter + tail for head, tail in splits for letter in letters),
        *(head + letter + tail[1:] for head, tail in splits if tail for letter in letters),
    ]
    return [one for one in dict.fromkeys(meant) if len(one) > 1 and one != number][:MOST]
