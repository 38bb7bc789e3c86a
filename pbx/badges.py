"""The small coloured words that say how something is."""

from __future__ import annotations

from django.utils.html import format_html


def badge(kind: str, text: str, title: str = "") -> str:
    """``kind``: good, warn, bad, off, or nothing; ``title``: what a pointer that rests on it is told."""
    css = f"pbx-badge pbx-{kind}" if kind else "pbx-badge"
    if title:
        return format_html('<span class="{}" title="{}">{}</span>', css, title, text)
    return format_html('<span class="{}">{}</span>', css, text)
