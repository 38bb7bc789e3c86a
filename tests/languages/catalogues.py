"""Reads .po files: enough of the format for what gettext's own tools write."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LOCALE = ROOT / "pbx" / "locale"
LANGUAGES = ("uz", "ru")
_LINE = re.compile(r'(msgctxt|msgid_plural|msgid|msgstr)(?:\[\d+\])? (".*")')


@dataclass
class Entry:
    context: str | None = None
    text: str = ""
    plural: str = ""
    translations: list[str] = field(default_factory=list)
    is_fuzzy: bool = False

    @property
    def key(self) -> tuple[str | None, str, str]:
        return self.context, self.text, self.plural


def catalogues() -> list[Path]:
    return sorted(LOCALE.glob("*/LC_MESSAGES/*.po"))


def read(path: Path) -> list[Entry]:
    """Without the header."""
    return [entry for block in path.read_text("utf-8").split("\n\n") if (entry := _entry(block)) and entry.text]


def _entry(block: str) -> Entry | None:
    entry, kind = Entry(), ""
    for line in block.splitlines():
        if line.startswith("#"):
            entry.is_fuzzy |= line.startswith("#,") and "fuzzy" in line
            continue
        match = _LINE.fullmatch(line)
        if match:
            kind = match[1]
            if kind == "msgstr":
                entry.translations.append("")
            elif kind == "msgctxt":
                entry.context = ""
        text = ast.literal_eval(match[2] if match else line) if line else ""
        if kind == "msgctxt":
            entry.context = (entry.context or "") + text
        elif kind == "msgid":
            entry.text += text
        elif kind == "msgid_plural":
            entry.plural += text
        elif kind == "msgstr":
            entry.translations[-1] += text
    return entry if kind else None
