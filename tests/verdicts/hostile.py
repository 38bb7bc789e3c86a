"""Texts that strangers and broken phones send, each with a mark by which it is found again, and the eyes for what must
not come of them: a terminal that obeys, a page that runs."""

from __future__ import annotations

import re
from html.parser import HTMLParser

MARK = "zqx"
TEXTS = {
    "markup": f'{MARK}<script>alert(1)</script><img src=x onerror=alert(1)><{MARK}tag {MARK}attr="1">',
    "attribute": f"{MARK}\" onmouseover=\"alert(1)\" {MARK}attr='1",
    "template": f"{MARK}{{{{7*7}}}}{{% now 'Y' %}}%s%(number)s%n{{0}}${{x}}",
    "escape": f"{MARK}\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b[2J",
    "controls": f"{MARK}a\x00b\x08c\x7fd\x0be",
    "c1": f"{MARK}\u009b31m\u0085\u0090",
    "turned": f"{MARK}\u202egnp.exe\u2066\u200f",
    "wide": f"{MARK}📞𝕏𐍈 Дилшод ўғли",
    "broken": f"{MARK}\udcff\udcfe\udcc3",  # bytes that are no UTF-8
    "formula": f"=cmd|'/c calc'!{MARK}",
    "long": MARK + "x" * 3000,
}

OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
"""What no line on a terminal may hold: C0 but the line feed, DEL, C1, and what turns the text around."""
HIDDEN_IN_PAGE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def obeyed_by_terminal(text: str) -> list[str]:
    """Lines with what a terminal would obey."""
    return [line for line in text.split("\n") if OBEYED.search(line)]


class Page(HTMLParser):
    """Looks for elements and attributes that a hostile text has made."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.broken_out: list[str] = []
        self.texts: list[str] = []
        self._script = False
        self.feed(html)
        self.close()
        for found in HIDDEN_IN_PAGE.finditer(html):
            self.broken_out.append(f"{found[0]!r} in {html[max(0, found.start() - 60):found.end() + 30]!r}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._script = tag == "script"
        if MARK in tag:
            self.broken_out.append(f"<{tag}>")
        for name, value in attrs:
            if MARK in name or name.startswith("on") or (value or "").strip().lower().startswith("javascript:"):
                self.broken_out.append(f"<{tag} {name}={value!r}>")
            self.texts.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script and "alert(1)" in data:
            self.broken_out.append(f"script {data[:80]!r}")
        self.texts.append(data)

    @property
    def shows_it(self) -> bool:
        return any(MARK in text for text in self.texts)


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
