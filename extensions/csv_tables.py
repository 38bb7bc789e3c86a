"""CSV files as people's spreadsheets write and read them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.utils.translation import gettext as _

# A cell that a spreadsheet would run as a formula, with any apostrophes that this rule has put before it.
_FORMULA = re.compile(r"'*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
DELIMITERS = ",;\t"


class UnreadableTable(Exception):
    """The file as a whole cannot be read; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line of a table: its cells by lower-case column name."""

    line: int  # as an editor counts, from 1; where the row begins
    cells: dict[str, str]
    too_many: bool = False  # more cells than the header names


def harmless_cell(text: str) -> str:
    """The text with an apostrophe before what a spreadsheet would take for a formula. ``original_cell`` undoes it."""
    return f"'{text}" if _FORMULA.match(text) else text


def original_cell(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def decode(data: bytes, encoding: str = "") -> str:
    """The text of a file in UTF-8, in UTF-16 (known by its mark), or in ``encoding``. Raises UnreadableTable."""
    try:
        if encoding:
            text = data.decode(encoding)
        elif data.startswith((b"\xff\xfe", b"\xfe\xff")):
            text = data.decode("utf-16")
        else:
            text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        if encoding:
            raise UnreadableTable(
                _("Line %(line)d is not text in %(encoding)s.") % {"line": line, "encoding": encoding}
            ) from None
        raise UnreadableTable(
            _(
                "Line %(line)d is not UTF-8. Save the file as “CSV UTF-8”, or if it comes from an older Excel with "
                "Cyrillic letters, add --encoding cp1251."
            )
            % {"line": line}
        ) from None
    except LookupError:
        raise UnreadableTable(
            _("There is no encoding %(encoding)s. Examples: utf-8, cp1251.") % {"encoding": encoding}
        ) from None
    return text.removeprefix("\ufeff")


def read_table(text: str, known: Iterable[str], required: Iterable[str]) -> tuple[list[str], Iterator[TableRow]]:
    """The columns that the first line names, and the rows that are not empty. Raises UnreadableTable, also while
    the rows are read."""
    known = list(known)
    first, _newline, rest = text.partition("\n")
    before = 0
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # Excel's own hint
        text, first, before = rest, rest.partition("\n")[0], 1
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns = [cell.strip().lower() for cell in next(_lines(reader, before), (0, []))[1]]
    while columns and not columns[-1]:
        columns.pop()
    names = ", ".join(known)
    missing = [name for name in required if name not in columns]
    if missing:
        raise UnreadableTable(
            _("The first line has to name the columns, with %(missing)s among them. Columns: %(names)s.")
            % {"missing": ", ".join(missing), "names": names}
        )
    for column in columns:
        if column not in known:
            raise UnreadableTable(
                _("There is a column “%(column)s” that nobody knows. Columns: %(names)s.")
                % {"column": column[:40], "names": names}
            )
        if columns.count(column) > 1:
            raise UnreadableTable(_("The column “%(column)s” is there twice.") % {"column": column})
    return columns, _rows(reader, columns, before)


def _rows(reader, columns: list[str], before: int) -> Iterator[TableRow]:
    for line, cells in _lines(reader, before):
        if any(cell.strip() for cell in cells):
            padded = [*cells, *[""] * (len(columns) - len(cells))]
            surplus = any(cell.strip() for cell in cells[len(columns) :])
            yield TableRow(line, dict(zip(columns, padded, strict=False)), too_many=surplus)


def _lines(reader, before: int) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line that it begins on."""
    while True:
        line = before + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            raise UnreadableTable(
                _("Line %(line)d is not CSV: look for a quotation mark without its partner.") % {"line": line}
            ) from None
        yield line, cells
