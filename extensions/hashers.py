"""The password hash of extensions: PBKDF2 with a stated, low cost, used for extensions only.

The hash is never the weak point of an extension: an MD5 HA1 (RFC 7616 section 3.4.2) of the same password stands
beside it in the database, because a SIP digest cannot be answered without one. Whoever has the dump attacks that
one (a single MD5), so a slower hash would protect nothing and only make an import of 10,000 extensions slow.
Administrators keep Django's own hashers: this one is not in ``PASSWORD_HASHERS``."""

from __future__ import annotations

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class ExtensionPasswordHasher(PBKDF2PasswordHasher):
    """PBKDF2-HMAC-SHA256 at 6,000 iterations: about 3 ms each, 10,000 in half a minute on one core."""

    algorithm = "pbkdf2_sha256_extension"
    iterations = 6_000


_hasher = ExtensionPasswordHasher()


def hash_extension_password(raw: str) -> str:
    """The text for ``Extension.password``, with a fresh salt. Takes milliseconds: call it outside a transaction."""
    return _hasher.encode(raw, _hasher.salt())


def check_extension_password(raw: str, encoded: str) -> bool:
    """Whether ``raw`` is the password of ``encoded``; False for an empty or a foreign hash, never an error."""
    if not raw or not encoded.startswith(f"{_hasher.algorithm}$"):
        return False
    try:
        return _hasher.verify(raw, encoded)
    except (ValueError, AssertionError):  # a damaged hash is no password of anybody
        return False
