"""The rows of a table as the XML of a sheet, made by Polars column by column, so that no Python runs per cell.

A sheet has an element per row, and in it one per cell, in the order of the columns; `s` is the number of its style:

- a row, with a height where prose needs more than a line: `<row r="7" ht="28" customHeight="1">...</row>`
- a number: `<c r="B7" s="5"><v>1.5</v></c>`
- text: `<c r="B7" s="5" t="inlineStr"><is><t xml:space="preserve">some text</t></is></c>`
- a formula and its value: `<c r="B7" s="5"><f>A7+1</f><v>2.5</v></c>`, with `t="str"` where that is text or nothing
- an empty cell: `<c r="B7" s="5"/>`
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from xml.sax.saxutils import escape

import polars as pl
from xlsxwriter.utility import xl_col_to_name  # type: ignore[import-untyped]

from reports.cells.fields import ENTRY, LONG_ENTRY, Field, Placed
from reports.cells.texts import entered_texts, escaped, like_formulas, safe_texts

CHUNK_ROWS = 10_000
"""Rows that are made at a time, which bounds the memory."""
LINE_HEIGHT = 14
PROSE_LINE = 54
"""Characters of a line of wrapped text that surely fit its column."""
ENTRY_LINE = 23
"""The same of a short cell that people fill in."""
_NARROW, _WIDE = r"[fijlrtI .,:;'|()/\[\]-]", "[A-HJ-Zmw@%]"
"""Letters that take about half the room of a digit, and those that take a third more."""
_LOST = 7
"""Characters of a line that stay empty, as the next word does not fit."""
_LINES_MAX = 29
"""Lines of the highest row that a spreadsheet shows."""

Rows = pl.DataFrame | pl.LazyFrame
"""What a table holds; a lazy frame is read so many rows at a time."""
Piece = str | pl.Series
"""Part of the XML of a row: the same in each, or one text per row."""


@dataclass(frozen=True)
class Looks:
    """The styles of a field's cells, each by its place among the styles of the table.

    `marked` is that of text which begins like a formula. `by_code` has those of amounts by currency, which `code`
    gives for a row; an amount without one is plain.
    """

    plain: int
    marked: int
    by_code: Mapping[str, int] = field(default_factory=dict)
    code: pl.Expr | None = None


@dataclass(frozen=True)
class Body:
    """The rows of a table: its name, where they stand, what they hold, and how the cells of each field look.

    `before` is where the rows before these ones stand, when they are on another sheet.
    """

    table: str
    placed: Placed
    frame: Rows
    looks: Sequence[Looks]
    before: Placed | None = None

    def xml(self, styles: Sequence[str]) -> Iterator[bytes]:
        """The rows, so many at a time; `styles` has the number of each style of the table.

        Raises ValueError where a number is not finite: no cell can hold it.
        """
        first = self.placed.first
        for part in _parts(self.frame):
            yield _rows(self, part, first, styles)
            first += part.height

    def size(self, styles: Sequence[str]) -> int:
        """About how many bytes the rows take, judged by the first ones; 0 for few rows, which come to nothing much."""
        return len(next(self.xml(styles))) * self.rows // CHUNK_ROWS if self.rows > CHUNK_ROWS else 0

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.placed.last - self.placed.first + 1


def _parts(frame: Rows) -> Iterator[pl.DataFrame]:
    if isinstance(frame, pl.DataFrame):
        return frame.iter_slices(CHUNK_ROWS)
    return iter(frame.collect_batches(chunk_size=CHUNK_ROWS, maintain_order=True))


def _rows(body: Body, part: pl.DataFrame, first: int, styles: Sequence[str]) -> bytes:
    """The XML of a part of the rows, which stands from row `first` on."""
    fields = body.placed.fields
    values = part.select(
        pl.int_range(first, first + pl.len()).cast(pl.String).alias("row"),
        *(one.values.alias(f"value {n}") for n, one in enumerate(fields)),
        *(looks.code.alias(f"code {n}") for n, looks in enumerate(body.looks) if looks.code is not None),
    )
    rows = values["row"]
    pieces: list[Piece] = ['<row r="', rows, '"', *_height(fields, values), ">"]
    for number, (one, looks) in enumerate(zip(fields, body.looks, strict=True)):
        value = values[f"value {number}"]
        text = _cell_texts(one)(value) if value.dtype == pl.String else _digits(value, body.placed.sheet, one)
        code = values[f"code {number}"] if looks.code is not None else None
        pieces += [f'<c r="{xl_col_to_name(number)}', rows, '" s="', _style(looks, styles, one, text, code), '"']
        pieces += _live(value, text, _formula(body, one, rows)) if one.is_live else _recorded(value, text)
    return bytes(_joined([*pieces, "</row>"]).str.join("").cast(pl.Binary).item())


def _cell_texts(one: Field) -> Callable[[pl.Series], pl.Series]:
    return entered_texts if one.kind in (ENTRY, LONG_ENTRY) else safe_texts


def _digits(numbers: pl.Series, sheet: str, one: Field) -> pl.Series:
    """Numbers as text: of floats the shortest that reads back as the same."""
    if not numbers.dtype.is_float():
        return numbers.cast(pl.String)
    if not numbers.is_finite().all():
        raise ValueError(f"sheet {sheet}, {one.heading}: a number that is not finite")
    return numbers.cast(pl.String).replace("-0.0", "0.0")


def _style(looks: Looks, styles: Sequence[str], one: Field, text: pl.Series, code: pl.Series | None) -> Piece:
    """The number of the style: one for all cells, or one per row."""
    plain = styles[looks.plain]
    if code is not None:
        by_code = {name: styles[place] for name, place in looks.by_code.items()}
        return code.replace_strict(by_code, default=plain, return_dtype=pl.String)
    if one.is_live or looks.marked == looks.plain:
        return plain
    return _where(like_formulas(text), styles[looks.marked], plain)


def _recorded(value: pl.Series, text: pl.Series) -> list[Piece]:
    """What follows the style in a cell that holds a value, or none."""
    before, behind = "><v>", "</v></c>"
    if value.dtype == pl.String:
        text = escaped(text)
        before, behind = ' t="inlineStr"><is><t xml:space="preserve">', "</t></is></c>"
    if not value.null_count():
        return [before, text, behind]
    return [_joined([before, text, behind]).fill_null("/>")]


def _live(value: pl.Series, text: pl.Series, formula: Iterable[Piece]) -> list[Piece]:
    """What follows the style in a cell that holds a formula and its value."""
    kind: Piece = ""
    if value.dtype == pl.String:
        kind, text = ' t="str"', escaped(text)
    elif value.null_count():
        kind = _where(value.is_null(), ' t="str"', "")
    return [kind, "><f>", *formula, "</f><v>", text.fill_null(""), "</v></c>"]


def _formula(body: Body, one: Field, rows: pl.Series) -> list[Piece]:
    """The text of a field's formula in these rows, in pieces."""
    first = int(rows[0])
    if one.formulas:
        offset = first - body.placed.first
        return [escaped(pl.Series(one.formulas[offset : offset + len(rows)], dtype=pl.String))]
    row: dict[str | None, Piece] = {"row": rows, "above": (rows.cast(pl.Int64) - 1).cast(pl.String), "sheet": ""}
    if body.before and first == body.placed.first:
        begins = rows == rows[0]
        row["above"] = _where(begins, str(body.before.last), row["above"])
        row["sheet"] = _where(begins, escape(f"'{body.before.sheet}'!"), "")
    pieces: list[Piece] = []
    for literal, name, _, _ in Formatter().parse(one.formula):
        pieces += [escape(literal), *([row[name]] if name else [])]
    return pieces


def _height(fields: Sequence[Field], values: pl.DataFrame) -> list[Piece]:
    """The height of rows whose prose or entries need more than a line."""
    widths = {"prose": PROSE_LINE, ENTRY: ENTRY_LINE, LONG_ENTRY: PROSE_LINE}
    wrapped = [_lines(pl.col(f"value {n}"), widths[one.kind]) for n, one in enumerate(fields) if one.kind in widths]
    if not wrapped:
        return []
    lines = pl.max_horizontal(wrapped).fill_null(1).clip(1, _LINES_MAX)
    height = pl.format(' ht="{}" customHeight="1"', lines * LINE_HEIGHT)
    return [values.select(pl.when(lines > 1).then(height).otherwise(pl.lit(""))).to_series()]


def _lines(text: pl.Expr, width: int) -> pl.Expr:
    """Lines that a text surely finds room on, its own breaks among them, judged by how wide its letters are."""
    narrow, wide = text.str.count_matches(_NARROW), text.str.count_matches(_WIDE)
    taken = text.str.len_chars() - 0.5 * narrow + 0.3 * wide
    lines = ((taken + 2 - _LOST) / (width - _LOST)).ceil().cast(pl.Int64)
    return lines.clip(lower_bound=1) + text.str.count_matches("\n", literal=True)


def _where(is_so: pl.Series, one: Piece, other: Piece) -> pl.Series:
    """One piece in the rows where it is so, the other in the rest."""
    return pl.select(pl.when(is_so).then(pl.lit(one)).otherwise(pl.lit(other))).to_series()


def _joined(pieces: Iterable[Piece]) -> pl.Series:
    """The pieces one after another, a text per row; literal ones that stand side by side are put together first."""
    parts: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and parts and isinstance(parts[-1], str):
            parts[-1] += piece
        else:
            parts.append(piece)
    return pl.select(pl.concat_str(map(pl.lit, parts))).to_series()
