"""Rules for the passwords of extensions, and the generator.

A password is hashed as it was typed, in UTF-8 (RFC 7616 section 4): no Unicode normalisation, because the phones do
none either, and a password that the server had changed would never match the phone's."""

from __future__ import annotations

import secrets
import unicodedata

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

MIN_LENGTH = 8
MAX_LENGTH = 128
GENERATED_LENGTH = 16

# Small letters and digits that cannot be taken for each other (no i, l, o, 0, 1) and need no shift key on a phone:
# 31 characters, 79 bits in 16 of them.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"

# The first guesses of the SIP scanners that are long enough to pass the other rules.
_COMMON_TEXT = """
password password1 password12 password123 passw0rd p@ssw0rd qwerty123 asterisk freepbx1 extension
sip12345 sippassword changeme changeme1 letmein1 admin123 administrator welcome1 iloveyou 1q2w3e4r 1qaz2wsx
q1w2e3r4 abc12345 abcd1234 secret123 test1234 testtest
"""
COMMON = frozenset(_COMMON_TEXT.split())
_RUNS = ("01234567890123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "asdfghjkl")


def generate_password() -> str:
    """A strong password that is easy to type into a phone."""
    return "".join(secrets.choice(ALPHABET) for _position in range(GENERATED_LENGTH))


def check_usable(raw: str) -> None:
    """Refuse what no phone could ever sign in with. Raises ValidationError; the text never holds the password."""
    if not raw:
        raise ValidationError(_("The password is empty."), code="empty")
    if len(raw) > MAX_LENGTH:
        raise ValidationError(
            ngettext_lazy(
                "The password is too long: at most %(limit)d character.",
                "The password is too long: at most %(limit)d characters.",
                "limit",
            )
            % {"limit": MAX_LENGTH},
            code="too_long",
        )
    # Cc are control characters, Cs lone surrogates, which UTF-8 cannot carry; U+2028/9 break a line as well.
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in raw):
        raise ValidationError(
            _("The password contains a control character (a tab or a line break, for example). Type it again."),
            code="control_character",
        )
    if raw != raw.strip():
        raise ValidationError(
            _("The password begins or ends with a space. Many phones cut it off: type it without."), code="outer_space"
        )


def validate_password(raw: str, number: str = "") -> None:
    """Refuse an unusable or an easily guessed password for the extension ``number``. Raises ValidationError."""
    check_usable(raw)
    if len(raw) < MIN_LENGTH:
        raise ValidationError(
            ngettext_lazy(
                "The password is too short: at least %(limit)d character.",
                "The password is too short: at least %(limit)d characters.",
                "limit",
            )
            % {"limit": MIN_LENGTH},
            code="too_short",
        )
    folded = raw.casefold()
    if number and folded in {number.casefold() * times for times in range(1, MAX_LENGTH // len(number) + 1)}:
        raise ValidationError(
            _("The password is the number itself. That is the first thing a stranger tries."), code="is_number"
        )
    if folded in COMMON or len(set(folded)) < 3 or _is_run(folded):
        raise ValidationError(
            _("The password is one of those that strangers try first. Use another one, or let one be generated."),
            code="common",
        )


def password_warning(raw: str) -> str:
    """A sentence on a password that is accepted although it is weak or risky; empty when there is nothing to say."""
    if not raw.isascii():
        return _(
            "The password has letters outside a-z. Some phones send them in another encoding and are then refused: "
            "if this one is, use plain letters and digits."
        )
    kinds = sum((any(c.isdigit() for c in raw), any(c.islower() for c in raw), any(c.isupper() for c in raw)))
    if raw.isdigit() or (len(raw) < 12 and kinds < 3):
        return _(
            "This password is accepted but weak: good enough for a quick test, not for a phone that can be reached "
            "from the Internet. A generated one is safer."
        )
    return ""


def _is_run(text: str) -> bool:
    """Whether the characters only count up or down or follow a row of keys, such as 12345678 or qwertyui."""
    return any(text in run or text in run[::-1] for run in _RUNS)
