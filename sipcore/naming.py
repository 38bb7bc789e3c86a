"""What a log line says of a sender and of a request. Never anything secret."""

from __future__ import annotations

from functools import lru_cache

from sipcore.protocol.errors import SipError
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Request


@lru_cache(maxsize=8192)
def place(flow: Flow, *, ours: bool = False) -> str:
    """``host:port`` of the other end, or of our own; IPv6 in brackets."""
    host, port = flow.local if ours else flow.remote
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def summary(request: Request) -> str:
    """Method, number and application."""
    try:
        user = request.to.uri.user or ""
    except SipError:
        user = ""
    return summary_of(request.method, user, request.user_agent)


def summary_of(method: str, user: str, user_agent: str) -> str:
    return f"{method[:20]} {user[:40]} {user_agent[:40]}".rstrip()
