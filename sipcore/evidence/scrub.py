"""A SIP message made fit to be kept and shown: no secret in it, nothing in it that a terminal or a page obeys.

What phones send wrong is kept too, so nothing here relies on a message being well made. Headers of authentication are
rebuilt from the few parameters that are no secret; whatever is called like a secret is masked wherever it stands; a
body is shown only if it is of a kind that can hold none."""

from __future__ import annotations

import re

from sipcore.protocol.names import LOWER

LIMIT = 4096
"""Characters of a scrubbed message, unless told otherwise."""

READ = 16_384
"""Bytes of a message that are looked at."""

MASK = "…"

_SHOWN_PARAMS = frozenset(("username", "realm", "algorithm", "uri", "qop", "nc", "stale"))
_SHOWN_BODIES = ("application/dialog-info+xml", "application/pidf+xml", "application/simple-message-summary",
                 "message/sipfrag")  # fmt: skip
_TEXTS = frozenset(("MESSAGE", "INFO"))  # whose bodies are what people write, or the digits they press

_LINE_END = re.compile(r"\r\n|\r|\n")
_AUTH_PARAM = re.compile(r"([A-Za-z*-]{1,32}+)[ \t]*+=[ \t]*+(\"[^\"\\]*+\"|[^\s,\"=;']++(?=[\s,]|\Z))")
_SECRET_NAMES = ("nonce", "response", "opaque", "rspauth", "password", "passwd", "pwd", "secret", "ha1")
_SECRET = re.compile(
    "(" + "|".join(_SECRET_NAMES) + ")"
    r"([ \t]*+=[ \t]*+)(\"(?:[^\"\\]|\\.)*+\"?|'[^']*+'?|[^\s,;\"'>&]++)",
    re.IGNORECASE | re.DOTALL,
)  # nonce stands for cnonce and nextnonce too
_INLINE = re.compile(r"(inline[ \t]*+:[ \t]*+)\S++", re.IGNORECASE)
_ICE_PASSWORD = re.compile(r"(ice-pwd[ \t]*+:[ \t]*+)\S++", re.IGNORECASE)
_DELIMITER = re.compile(r"([\s<>\"@,])")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SDP_LINE = re.compile(r"[a-z]=")
_NO_CONTROLS: dict[int, int | str] = {
    **{code: 0x2400 + code for code in range(32)}, 0x7F: 0x2421, 9: " ",
    **{code: f"\\x{code:02x}" for code in (*range(0x80, 0xA1), 0xAD)},  # also blanks and hyphens that nobody sees
    **{code: f"\\u{code:04x}" for code in (
        0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000), 0xFEFF,
        0xFFFE, 0xFFFF,
    )},
}  # fmt: skip


def scrubbed(data: bytes, limit: int = LIMIT) -> str:
    """The text of a message, its lines ended by a line feed, at most ``limit`` characters. Raises nothing; linear in
    what is read of ``data``."""
    text = data[:READ].decode("utf-8", "replace")
    head, body = _split(_LINE_END.split(text))
    private = _is_private(head)
    lines = _scrubbed_head(head, private)
    if body:
        lines += ["", *_scrubbed_body(body, head, private)]
    result = "\n".join([_visible(_without_secrets(line)) for line in lines])
    if len(result) > limit:
        return result[: max(0, limit - 1)] + MASK
    return result


def without_uri_passwords(text: str) -> str:
    """``sip:user:password@host`` with its password masked (RFC 3261 19.1.1), wherever it stands."""
    if "@" not in text:
        return text
    pieces = _DELIMITER.split(text)
    masked = False  # the piece before the last @ held a password, which may have an @ in it
    for index in range(1, len(pieces), 2):
        if pieces[index] != "@":
            masked = False
            continue
        before = pieces[index - 1]
        if masked:
            pieces[index - 1] = MASK
            continue
        scheme = _SCHEME.match(before)
        rest = before[scheme.end() :] if scheme is not None and scheme.group().lower() in _SIP else before
        user, colon, _ = rest.partition(":")
        if colon:
            pieces[index - 1] = f"{before[: len(before) - len(rest)]}{user}:{MASK}"
            masked = True
    return "".join(pieces)


_SIP = frozenset(("sip:", "sips:", "tel:", "mailto:", "im:", "pres:", "xmpp:"))


def _visible(line: str) -> str:
    return line if line.isprintable() else line.translate(_NO_CONTROLS)


def _split(lines: list[str]) -> tuple[list[str], list[str]]:
    """Head and body, parted by the first empty line that has something before it; folded lines of the head are made
    one (RFC 3261 7.3.1)."""
    head: list[str] = []
    for index, line in enumerate(lines):
        if not line.strip(" \t\0"):
            if head:
                return _unfolded(head), _without_tail(lines[index + 1 :])
        else:
            head.append(line)
    return _unfolded(head), []


def _unfolded(lines: list[str]) -> list[str]:
    whole: list[list[str]] = []
    for line in lines:
        if whole and line[:1] in (" ", "\t"):
            whole[-1].append(line.strip(" \t"))
        else:
            whole.append([line])
    return [" ".join(parts) for parts in whole]


def _without_tail(lines: list[str]) -> list[str]:
    while lines and not lines[-1].strip(" \t\0"):
        lines.pop()
    return lines


def _is_private(head: list[str]) -> bool:
    """Whether its body, or what is left of it, is a text or a digit."""
    method = "".join(filter(str.isalpha, head[0].strip().partition(" ")[0])).upper() if head else ""
    if method in _TEXTS or method.startswith("MESSAGE"):
        return True
    for line in head[1:]:
        name, _, value = line.partition(":")
        if name.strip(" \t").lower() == "cseq" and any(word in value.upper() for word in _TEXTS):
            return not head[0].upper().startswith("SIP/")
    return False


def _scrubbed_head(head: list[str], private: bool) -> list[str]:
    lines = head[:1]
    after_secret = False
    for line in head[1:]:
        name, colon, value = line.partition(":")
        plain = name.strip(" \t").lower()
        if _names_authentication(line[:48].lower()):
            start = f"{name}: " if colon and len(name) < 40 and name.isprintable() else "(authentication): "
            lines.append(start + _scrubbed_credentials(value if colon else line))
            after_secret = True
        elif (private and plain not in LOWER) or (not colon and (after_secret or private)):
            lines.append(f"(text of {len(line)} characters)")
        elif plain in ("call-id", "i", "in-reply-to"):
            lines.append(line)
            after_secret = False
        else:
            lines.append(without_uri_passwords(line))
            after_secret = after_secret and not colon
    if lines:
        lines[0] = without_uri_passwords(lines[0])
    return lines


def _names_authentication(start: str) -> bool:
    if start.isprintable() and "auth" not in start and "digest" not in start:
        return False
    squeezed = "".join(filter(str.isalpha, start))
    return squeezed.startswith((
        "authorization", "proxyauthorization", "wwwauthenticate", "proxyauthenticate", "authenticationinfo",
        "proxyauthenticationinfo",
    )) or "authoriz" in start or "digest" in start  # fmt: skip


def _scrubbed_credentials(value: str) -> str:
    """Scheme and harmless parameters; of the others the names, if they are the usual ones."""
    scheme, _, params = value.strip(" \t").partition(" ")
    if scheme.lower() != "digest":
        return f"{scheme} {MASK}" if scheme.lower() in ("basic", "bearer", "negotiate", "ntlm") else MASK
    shown: list[str] = []
    for name, text in _AUTH_PARAM.findall(params):
        if name.lower() in _SHOWN_PARAMS:
            shown.append(f"{name}={without_uri_passwords(text[:256])}")
        else:
            shown.append(f'{name}="{MASK}"')
        if len(shown) == 32:
            break
    return f"{scheme} " + (", ".join(shown) if shown else MASK)


def _scrubbed_body(body: list[str], head: list[str], private: bool) -> list[str]:
    kind = ""
    for line in head[1:]:
        name, _, value = line.partition(":")
        if name.strip(" \t").lower() in ("content-type", "c"):
            kind = value.partition(";")[0].strip(" \t").lower()
            break
    if not private and kind in _SHOWN_BODIES:
        return [without_uri_passwords(line) for line in body]
    if not private and kind == "application/sdp":
        return [_scrubbed_sdp(line) for line in body]
    if not private and kind.startswith("multipart/"):
        return [
            _scrubbed_sdp(line) if _SDP_LINE.match(line) or not line else f"(text of {len(line)} characters)"
            for line in body
        ]
    characters = sum(len(line) for line in body) + len(body) - 1
    return [f"(text of {characters} characters)"]


def _scrubbed_sdp(line: str) -> str:
    squeezed = "".join(line[:64].split()).lower()
    if squeezed.startswith("a=crypto"):
        return " ".join([*line.split()[:2], f"inline:{MASK}"]) if "inline" in line[:256].lower() else f"a=crypto:{MASK}"
    for start in ("k=", "a=key-mgmt", "a=ice-pwd"):
        if squeezed.startswith(start):
            return start if start == "k=" and squeezed == "k=" else f"{start}{'' if start == 'k=' else ':'}{MASK}"
    if line and not _SDP_LINE.match(line):
        return f"(text of {len(line)} characters)"
    return without_uri_passwords(line)


def _without_secrets(line: str) -> str:
    """Whatever is called like a secret, wherever it stands."""
    lower = line.lower()
    if "=" in line and any(name in lower for name in _SECRET_NAMES):
        line = _SECRET.sub(lambda found: f'{found.group(1)}{found.group(2)}"{MASK}"', line)
    if "inline" in lower:
        line = _INLINE.sub(lambda found: found.group(1) + MASK, line)
    if "ice-pwd" in lower:
        line = _ICE_PASSWORD.sub(lambda found: found.group(1) + MASK, line)
    return line
