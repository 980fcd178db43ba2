"""The cells of a sheet out of its XML, with column operations: a workbook has millions of them.

A parser of XML takes three times as long, as it makes an object of each element. What is read here is XML as Excel,
LibreOffice, openpyxl, XlsxWriter and this tool write it, in any order of attributes, with either quotes, with or
without a prefix; what is written otherwise is refused, never overlooked.
"""

import re
from codecs import getincrementaldecoder
from collections.abc import Iterator
from html import unescape
from typing import IO

import polars as pl
from openpyxl.formula.translate import Translator  # type: ignore[import-untyped]
from openpyxl.utils import column_index_from_string  # type: ignore[import-untyped]

CELLS = pl.Schema(
    {
        "row": pl.UInt32,
        "column": pl.UInt16,
        "formula": pl.String,
        "text": pl.String,
        "number": pl.Float64,
        "is_error": pl.Boolean,
        "is_open": pl.Boolean,
    }
)
"""One row per cell that holds anything or takes entries (`is_open`): row and column from 1, the formula without its
equals sign, and the value, which is a text or a number; an error stands as its text."""
ARRAY = "array formula: "
"""Stands before the formula of a cell that is part of an array formula or of a data table."""
_BLOCK_BYTES = 16_000_000
_PLACE = r"""^[^>]*?\br=["']([A-Z]+)([0-9]+)["']"""
_SIGNS = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&amp;": "&"}
_UNUSUAL = "its cells are written in an unusual way; save it again with Excel or LibreOffice"


def read_cells(part: IO[bytes], texts: pl.Series, open_styles: frozenset[str]) -> Iterator[pl.DataFrame]:
    """The cells of a sheet (columns CELLS), some thousands at a time.

    `texts` are those that cells name by number, `open_styles` the numbers of styles of cells that take entries.
    Raises ValueError where the sheet breaks off, or is written in another way than the programs named above do.
    """
    shared: dict[str, Translator] = {}
    for rows, prefix in _rows(part):
        cells = _elements(rows, prefix, open_styles)
        yield _typed(_written_out(cells, shared), texts)


def _rows(part: IO[bytes]) -> Iterator[tuple[str, str]]:
    """The XML of a sheet's rows, some at a time, each with the prefix that this file gives to its elements."""
    text, prefix = "", None
    decode = getincrementaldecoder("utf-8")().decode
    while block := part.read(_BLOCK_BYTES):
        text += decode(block)
        if prefix is None:
            begin = re.search(r"<(\w+:)?sheetData\s*(/?)>", text)
            if begin is None:
                continue
            if begin.group(2):
                return
            prefix, text = begin.group(1) or "", text[begin.end() :]
        end = text.find(f"</{prefix}sheetData")
        cut = end if end >= 0 else text.rfind(f"</{prefix}row>")
        if "<!" in text[: max(cut, 0)]:
            raise ValueError(_UNUSUAL)
        if cut > 0:
            yield text[:cut], prefix
            text = text[cut:]
        if end >= 0:
            return
    raise ValueError("a sheet breaks off")


def _elements(rows: str, prefix: str, open_styles: frozenset[str]) -> pl.DataFrame:
    """Of each cell: letters, row, kind and value as they are written, is_open, formula and the formula's attributes."""
    cells = pl.Series("cell", [rows]).str.split(f"<{prefix}c ").explode()[1:]
    cell = pl.col("cell")
    inline = cell.str.extract(f"(?s)<{prefix}is>(.*?)</{prefix}is>")
    read_aloud = f"(?s)<{prefix}rPh.*?</{prefix}rPh>"
    value = cell.str.extract(f"<{prefix}v(?:\\s[^>]*)?>([^<]*)</")
    found = cells.to_frame().select(
        letters=cell.str.extract(_PLACE, 1),
        row=cell.str.extract(_PLACE, 2).cast(pl.UInt32),
        kind=cell.str.extract(_attribute("t")).fill_null("n"),
        is_open=cell.str.extract(_attribute("s")).is_in(list(open_styles)).fill_null(False),
        value=value.fill_null(inline.str.replace_all(read_aloud, "").str.replace_all("<[^>]*>", "")),
        formula=cell.str.extract(f"<{prefix}f(?:\\s[^>]*)?>([^<]*)</"),
        attributes=cell.str.extract(f"<{prefix}f(\\s[^>]*)>"),
    )
    if found["row"].null_count() or f"<{prefix}c>" in rows or f"<{prefix}c\n" in rows:
        raise ValueError(_UNUSUAL)
    texts = (pl.col("value"), pl.col("formula").str.strip_chars())
    return found.with_columns(_unescaped(text, by_number="&#" in rows) for text in texts)


def _attribute(name: str) -> str:
    return rf"""^[^>]*?\b{name}=["']([^"']*)["']"""


def _unescaped(text: pl.Expr, by_number: bool) -> pl.Expr:
    """Text without the escapes of XML; those by number are rare, and slow."""
    if by_number:
        return text.map_elements(unescape, return_dtype=pl.String)
    return text.str.replace_many(list(_SIGNS), list(_SIGNS.values()))


def _written_out(cells: pl.DataFrame, shared: dict[str, Translator]) -> pl.DataFrame:
    """The cells with each formula that cells share, or that is an array's, written out where it stands."""
    special = cells.with_row_index("n").filter(pl.col("attributes").str.contains(r"\bt=").fill_null(False))
    formulas = {}
    for n, letters, row, formula, said in special.select("n", "letters", "row", "formula", "attributes").iter_rows():
        kind = re.search(_attribute("t"), said)
        group = re.search(_attribute("si"), said)
        if kind is None or kind.group(1) == "normal":
            continue
        if kind.group(1) != "shared" or group is None:
            formulas[n] = ARRAY + (formula or "")
        elif formula:
            shared[group.group(1)] = Translator(f"={formula}", origin=f"{letters}{row}")
        else:
            formulas[n] = shared[group.group(1)].translate_formula(f"{letters}{row}").removeprefix("=")
    if not formulas:
        return cells
    written = pl.DataFrame({"n": formulas.keys(), "written": formulas.values()}, {"n": pl.UInt32, "written": pl.String})
    joined = cells.with_row_index("n").join(written, on="n", how="left", maintain_order="left")
    return joined.with_columns(formula=pl.coalesce("written", "formula"))


def _typed(cells: pl.DataFrame, texts: pl.Series) -> pl.DataFrame:
    """The cells with the columns CELLS."""
    kind, value = pl.col("kind"), pl.col("value")
    numbers = {letters: column_index_from_string(letters) for letters in cells["letters"].unique()}
    is_shared, is_number = kind == "s", kind == "n"
    named = pl.lit(texts).gather(pl.when(is_shared).then(value).cast(pl.UInt32))
    switch = value.replace_strict({"0": "FALSE", "1": "TRUE"}, default=value, return_dtype=pl.String)
    text = pl.when(is_shared).then(named).when(kind == "b").then(switch).when(is_number.not_()).then(value)
    # What a formula shows as nothing is an empty text; a cell without a formula is then simply empty.
    empty = pl.when(pl.col("formula").is_not_null() & (kind == "str")).then(pl.lit(""))
    typed = cells.select(
        "row",
        "formula",
        "is_open",
        column=pl.col("letters").replace_strict(numbers, return_dtype=pl.UInt16),
        text=pl.when(text.str.len_bytes() > 0).then(text).otherwise(empty),
        number=pl.when(is_number & (value != "")).then(value).cast(pl.Float64),
        is_error=kind == "e",
    )
    holds_anything = pl.any_horizontal(pl.col("formula", "text", "number").is_not_null())
    return typed.select(CELLS.names()).filter(holds_anything | pl.col("is_open"))
