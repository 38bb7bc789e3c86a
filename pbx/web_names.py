"""Names and addresses under which browsers open the pages, in the form of ALLOWED_HOSTS."""

from __future__ import annotations

from urllib.parse import urlsplit


def web_names(*names: str) -> list[str]:
    """This machine by its own names for itself, and by these; an IPv6 address gets its brackets."""
    written = [f"[{name.strip('[]')}]" if ":" in name else name.rstrip(".").lower() for name in names if name]
    return list(dict.fromkeys(["localhost", "127.0.0.1", "[::1]", *written]))


def host_of(url: str) -> list[str]:
    """The host of WEB_PUBLIC_URL; none when it has none."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return []
    return web_names(host)[3:] if host else []
