"""Text as the cells of a sheet can hold it."""

import re

import polars as pl

TEXT_LENGTH_MAX = 32_000
"""Longer text is cut, visibly: a cell takes 32,767 characters, and counts those beyond the first 65,536 of Unicode
as two."""
FORMULA_SIGNS = ("=", "+", "-", "@")

_UNSEEN = (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFFFE, 0xFFFF)
_CODES = {chr(code): f"\\x{code:02x}" for code in _UNSEEN}
UNSEEN = "".join(_CODES)
"""Characters that no cell shows as they are."""
_ESCAPE = "_x([0-9A-Fa-f]{4})_"
"""What a spreadsheet takes for one character: it shows `_x0041_` as A."""
_WIDE = "[\U00010000-\U0010ffff]"
_UNSAFE = f"[{''.join(_CODES)}]|{_ESCAPE}"
_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def safe_texts(texts: pl.Series) -> pl.Series:
    """Texts as cells can hold them: what cannot be seen is written as its code, overlong text ends with its length."""
    is_long = (texts.str.len_bytes() > TEXT_LENGTH_MAX).any()
    if not is_long and not texts.str.contains(_UNSAFE).any():
        return texts
    clean = texts.str.replace_many(_CODES).str.replace_all(_ESCAPE, r"\x5fx${1}\x5f")
    frame = pl.DataFrame({"text": texts, "clean": clean})
    wide = pl.col("clean").str.count_matches(_WIDE)
    room = pl.when(wide > 0).then(TEXT_LENGTH_MAX // 2).otherwise(TEXT_LENGTH_MAX)
    cut = pl.format("{}... ({} characters)", pl.col("clean").str.head(room), pl.col("text").str.len_chars())
    too_long = pl.col("clean").str.len_chars() + wide > TEXT_LENGTH_MAX
    return frame.select(pl.when(too_long).then(cut).otherwise("clean")).to_series()


def entered_texts(texts: pl.Series) -> pl.Series:
    """Texts that people entered in cells, unchanged: line breaks and tabs stay, what looks like a code is none."""
    text = pl.col("text")
    plain = text.str.replace_all("_x", "_x005F_x", literal=True)
    return texts.to_frame("text").select(pl.when(text.str.contains(_ESCAPE)).then(plain).otherwise(text)).to_series()


def safe_text(text: str) -> str:
    """One text as a cell can hold it, as `safe_texts` has it."""
    return str(safe_texts(pl.Series([text], dtype=pl.String))[0])


def like_formulas(texts: pl.Series) -> pl.Series:
    """Whether a text begins as a formula does."""
    return texts.str.contains(f"^[{''.join(map(re.escape, FORMULA_SIGNS))}]")


def escaped(texts: pl.Series) -> pl.Series:
    """The texts as they stand in XML."""
    return texts.str.replace_many(_MARKUP)
