"""How amounts are shown: with the decimals that their currency needs, and with its code where a column has several."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from ledger.money import MONEY, SCALE
from reports.cells.fields import Field

DECIMALS_MIN = 2
CODES_MAX = 50
"""Currencies of one column above which it shows no codes: each needs a style of its own."""
_PLACES, _LETTERS = (2, 4, 8, 12, 16), 4
"""Decimals and letters of a code, up to which columns leave room: in steps, as a spreadsheet has few formats."""
_LETTERS_MAX = 10
"""Letters for which room is left behind a shorter code: a spreadsheet's format has at most 255 characters."""
_CODE = "^[A-Z0-9]{1,20}$"
_ENDED = r"([A-Z0-9]{1,20})-([A-Z0-9]{1,20}):([A-Z0-9]{1,20})$"
"""How the name of a position ends: `account:BASE-QUOTE:MARGIN`."""
_BASE, _QUOTE, _MARGIN = (pl.col("position").str.extract(_ENDED, group) for group in (1, 2, 3))
_IS_LONG = pl.col("direction").cast(pl.String) == "long"
CURRENCIES = {
    "base": _BASE,
    "quote": _QUOTE,
    "margin currency": _MARGIN,
    "asset's currency": pl.when(_IS_LONG).then(_BASE).when(_IS_LONG.not_()).then(_QUOTE),
    "liability's currency": pl.when(_IS_LONG).then(_QUOTE).when(_IS_LONG.not_()).then(_BASE),
    "currency": pl.col("currency"),
    "unit": pl.col("unit"),
    "fee_currency": pl.col("fee_currency"),
}
"""The currency code of a row's amount, by the unit of its column."""


@dataclass(frozen=True)
class Shown:
    """Decimals that the amounts of a field are shown with; by currency code, where its column has several."""

    decimals: int
    by_code: Mapping[str, int] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Characters that decimals and code take at most."""
        return self._most + (1 + self._longest if self._longest else 0)

    def format(self, code: str = "") -> str:
        """The spreadsheet's format of the amounts in a currency, or of those of none."""
        if not self.by_code:
            return number_format(self.decimals)
        places = next((step for step in _PLACES if step >= self._most), self._most)
        return number_format(self.by_code.get(code, self.decimals), code, places, max(_LETTERS, self._longest))

    def without_codes(self) -> "Shown":
        """The same for every amount, for want of styles."""
        return Shown(self._most)

    @property
    def _most(self) -> int:
        return max([self.decimals, *self.by_code.values()])

    @property
    def _longest(self) -> int:
        return max(map(len, self.by_code), default=0)


def number_format(decimals: int, code: str = "", decimals_most: int = 0, letters_most: int = 0) -> str:
    """A spreadsheet's format of amounts: negative ones red and in brackets, zero a dash, the currency's code behind.

    In a column whose amounts have up to so many decimals and letters of a code, points and codes stand under each
    other: a format leaves the room of a digit with `_0` and that of a bracket with `_)`.
    """
    most = max(decimals, decimals_most)
    digits, room = f"#,##0.{'0' * decimals}", "_0" * (most - decimals)
    behind = _behind(code, max(len(code), letters_most))
    nothing = f'"-"_.{"_0" * most}_){_behind("", max(len(code), letters_most))}'
    return f"{digits}_){room}{behind};[Red]({digits}){room}{behind};{nothing}"


def _behind(code: str, letters_most: int) -> str:
    """A currency's code, with blanks where others are longer: five are about as wide as two letters."""
    if not letters_most:
        return ""
    blanks = " " * ((5 * min(_LETTERS_MAX, letters_most - len(code)) + 1) // 2)
    return f'" {code}{blanks}"'


def code_of(one: Field, columns: Collection[str]) -> pl.Expr | None:
    """The currency code of each amount of a field, empty where it has none; None without the columns to tell."""
    currency = CURRENCIES.get(one.unit) if one.currency is None else one.currency
    if currency is None or not set(currency.meta.root_names()) <= set(columns):
        return None
    code = currency.cast(pl.String)
    return pl.when(code.str.contains(_CODE)).then(code)


def shown(fields: Sequence[Field], frame: pl.DataFrame | pl.LazyFrame) -> list[Shown]:
    """How each field shows its amounts: with what all amounts of its group and unit need, by currency.

    At least 2 decimals and at most the field's own limit; a field without amounts has that limit.
    """
    schema = frame.collect_schema()
    needs: dict[tuple[str, str], dict[str | None, int]] = {}
    for one in fields:
        key = (one.group, one.unit)
        if one.kind == "amount" and key not in needs:
            amounts = [other.name for other in fields if (other.group, other.unit) == key]
            present = [name for name in dict.fromkeys(amounts) if schema.get(name) == MONEY]
            needs[key] = decimals_by_code(frame, present, code_of(one, schema)) if present else {}
    return [
        _shown(one, needs[one.group, one.unit]) if one.kind == "amount" else Shown(one.decimals_max) for one in fields
    ]


def decimals_by_code(
    frame: pl.DataFrame | pl.LazyFrame, amounts: Sequence[str], code: pl.Expr | None
) -> dict[str | None, int]:
    """The most decimals that any amount of these money columns has, by currency code; None for those without a code."""
    digits = pl.max_horizontal(_decimals(name) for name in amounts)
    found = (
        frame.lazy()
        .select(code=pl.lit(None, pl.String) if code is None else code, digits=digits)
        .group_by("code")
        .agg(pl.col("digits").max())
        .drop_nulls("digits")
        .sort("code")
        .collect(engine="streaming")
    )
    return dict(found.iter_rows())


def most_decimals(frame: pl.DataFrame, amounts: Sequence[str]) -> int:
    """The most decimals that any amount of these money columns has; 0 without amounts."""
    return decimals_by_code(frame, amounts, None).get(None, 0)


def _decimals(name: str) -> pl.Expr:
    """Decimals of each amount that say something; money prints as many zeros behind them as make 18."""
    text = pl.col(name).cast(pl.String)
    zeros = text.str.len_bytes().cast(pl.Int64) - text.str.strip_chars_end("0").str.len_bytes().cast(pl.Int64)
    return SCALE - zeros


def _shown(one: Field, needs: Mapping[str | None, int]) -> Shown:
    if not needs:
        return Shown(one.decimals_max)

    def bounded(decimals: int) -> int:
        return max(DECIMALS_MIN, min(one.decimals_max, decimals))

    most = bounded(max(needs.values()))
    if not 1 < len(needs) <= CODES_MAX:
        return Shown(most)
    # What has no code, such as a ratio among the figures of a position, keeps what it needs by itself.
    return Shown(bounded(needs.get(None, 0)), {code: bounded(digits) for code, digits in needs.items() if code})
