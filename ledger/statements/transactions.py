"""From rows of exchange files to canonical events: what happened to which position, and which rows say so.

rows -> legs paired, charges once, margin rows -> position of each -> course of each position -> events
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from ledger.columns import EVENTS, schema
from ledger.events import RULES
from ledger.money import MONEY, ZERO
from ledger.refusals import REFUSAL_SCHEMA
from ledger.rules import broken_rules, refusals_of
from ledger.statements.charges import charges
from ledger.statements.event_rows import course, with_events
from ledger.statements.legs import LEG_MEANINGS, WHOLE_MEANINGS, fills_of_legs, whole_fills
from ledger.statements.margin_currency import MARGIN_MEANINGS, TAKEOVER, TELLING, Defaults, with_margin_currency
from ledger.statements.margins import opening_balances, placed_margin, with_margin_rows, with_path
from ledger.statements.merging import ROWS_SCHEMA, id_order

__all__ = ["Defaults", "Transactions", "events_of"]

PLACED_SCHEMA = pl.Schema({"input": pl.UInt16, "row": pl.UInt32, "event_id": pl.String, "reason": pl.String})
"""Where each row went: the event it is part of, or why it gives none."""

INFERRED_SCHEMA = pl.Schema(
    {
        "position": pl.String,
        "mode": pl.String,
        "margin_currency": pl.String,
        "mode_from": pl.String,
        "currency_from": pl.String,
    }
)
"""What was inferred of each position, and from what."""

_EVENTS = pl.Schema([*schema(EVENTS).items(), ("input", pl.UInt16), ("row", pl.UInt32)])
_MEANT = (*LEG_MEANINGS, *WHOLE_MEANINGS, "interest", *TELLING)
_CODE = "[A-Z0-9]{1,20}"
_PAIR = f"^({_CODE})-({_CODE})$"
# a takeover by the insurance fund, its settlement and a clawback: a leg where it has another, else part of a close
_TAKEOVER = r"(^|/)(108|110|111|224|225)$|(?i)(liquidation|repayment) transfer (in|out)$|clawback"


@dataclass(frozen=True)
class Transactions:
    """`events` (columns EVENTS, `input`, `row`) in the order they happened; `placed` (PLACED_SCHEMA) has every row;
    `refusals` (REFUSAL_SCHEMA) what cannot be an event; `inferred` (INFERRED_SCHEMA) one row per position and mode;
    `path` the course of each position: `position`, `time`, `meaning`, and what it owes after it, `owed`;
    `alone` the legs without their other leg (columns `input`, `row`)."""

    events: pl.DataFrame
    placed: pl.DataFrame
    refusals: pl.DataFrame
    inferred: pl.DataFrame
    path: pl.DataFrame
    alone: pl.DataFrame


def events_of(rows: pl.DataFrame, defaults: Defaults, files: Mapping[int, str] | None = None) -> Transactions:
    """The canonical events that merged `rows` (ROWS_SCHEMA) state. `files` names the files by number.

    Events are sorted by time, those of one moment by the exchange's identifiers, as it booked them; `input` and `row`
    say where each comes from and not when it happened. Raises nothing: what is wrong is in `refusals`.
    """
    numbered = _numbered(rows, defaults)
    ours = numbered.filter(pl.col("meaning").is_in(_MEANT) & pl.col("base_currency").is_not_null())
    fills, of_row, alone = _fills(ours)
    interest, same_charge = charges(ours)
    items = _items(ours, fills, interest, alone)
    items = with_margin_currency(items, defaults)
    homeless = items.filter(pl.col("margin_currency").is_null())
    items = _with_position(items.filter(pl.col("margin_currency").is_not_null()))
    margins = items.filter(pl.col("meaning").is_in(MARGIN_MEANINGS))
    moves = with_margin_rows(items.filter(~pl.col("meaning").is_in(MARGIN_MEANINGS)), margins)
    path = with_path(moves, _openings(moves, ours))
    placed = placed_margin(margins, path)
    events, inferred = with_events(moves, path, margins, placed, defaults)
    events = events.cast({name: dtype for name, dtype in _EVENTS.items() if name in events.columns})
    of_row = pl.concat([of_row, same_charge, placed.filter(pl.col("fill").is_not_null()).select("number", "fill")])
    evidence = placed.filter(pl.col("is_evidence")).select("number")
    lone = alone.join(of_row, on="number", how="anti").join(evidence, on="number", how="anti")
    return Transactions(
        events=events.select(_EVENTS.names()),
        placed=_placed(numbered, events, of_row, _why_not(placed, homeless, alone)),
        refusals=_refusals(events, homeless, defaults, files or {}),
        inferred=inferred.select(INFERRED_SCHEMA.names()),
        path=course(moves, path),
        alone=numbered.join(lone, on="number", how="semi").select("input", "row"),
    )


# --- rows ---------------------------------------------------------------------------------------------------


def _numbered(rows: pl.DataFrame, defaults: Defaults) -> pl.DataFrame:
    """The rows in the order they were booked, numbered, with the two currencies of an instrument that is a pair."""
    keys = [pl.col("time"), *id_order(), pl.col("layout")]
    lengths = rows.select(low=pl.col("row_id").str.len_bytes().min(), high=pl.col("row_id").str.len_bytes().max())
    numbers = rows["row_id"].cast(pl.UInt64, strict=False)
    if rows["row_id"].null_count():  # what they say, so that the order of the files decides nothing
        keys += [pl.col(name) for name in ("account", "instrument", "order_id", "trade_id", "currency")]
        keys += [pl.col(name).fill_null(ZERO) for name in ("size", "change", "interest")]
    elif not numbers.null_count() and lengths["low"].equals(lengths["high"]):
        keys = [pl.col("time"), pl.lit(numbers)]  # of the same length: as numbers or as text, the order is the same
        keys += [pl.col("layout")] if rows["layout"].n_unique() > 1 else []
    order = rows.select(pl.arg_sort_by([*keys, "input", "row"])).to_series()
    instruments = rows.select(pl.col("instrument").drop_nulls().unique()).to_series()
    legs = {name: instruments.str.extract(_PAIR, group) for name, group in (("base", 1), ("quote", 2))}
    return (
        rows[order]
        .select(ROWS_SCHEMA.names())
        .with_row_index("number")
        .with_columns(
            pl.col("number").cast(pl.Int64),
            pl.col("account").fill_null(pl.lit(defaults.account)),
            pl.col("meaning").cast(pl.String),
            **{
                f"{name}_currency": pl.col("instrument").replace_strict(
                    instruments, codes, default=None, return_dtype=pl.String
                )
                for name, codes in legs.items()
            },
        )
    )


def _fills(ours: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """All fills, each once; which fill a row is of (number, fill); the legs without another (number)."""
    found = fills_of_legs(ours)
    whole = whole_fills(ours)
    pairs = found.fills.select("number", "account", "instrument", "order_id", "trade_id").rename({"number": "fill"})
    legs = found.of_leg.join(ours.select("number", "account", "instrument", "row_id"), on="number").drop("number")
    same_trade = pairs.drop_nulls("trade_id").unique(["account", "instrument", "order_id", "trade_id"])
    by_trade = whole.join(same_trade, on=["account", "instrument", "order_id", "trade_id"], nulls_equal=True)
    is_okx = pl.col("layout").str.starts_with("okx")
    by_id = whole.filter(is_okx).join(
        legs.drop_nulls("row_id").unique(["account", "instrument", "row_id"]), on=["account", "instrument", "row_id"]
    )
    known = pl.concat([frame.select("number", "fill") for frame in (by_trade, by_id)]).unique("number")
    whole = whole.join(known, on="number", how="anti")
    covered = _covered(ours, found.alone, whole)
    fills = pl.concat([found.fills, whole.select(found.fills.columns)]).sort("number")
    return fills, pl.concat([found.of_leg, known, covered]), found.alone


def _covered(ours: pl.DataFrame, alone: pl.DataFrame, whole: pl.DataFrame) -> pl.DataFrame:
    """Legs whose other leg is missing, of a trade that another file states as a whole (number, fill)."""
    legs = ours.join(alone, on="number", how="semi").select("number", "account", "instrument", "row_id", "trade_id")
    trades = whole.select("account", "instrument", "row_id", "trade_id", fill="number")
    by_trade = legs.drop_nulls("trade_id").join(trades, on=["account", "instrument", "trade_id"])
    by_id = legs.drop_nulls("row_id").join(trades, on=["account", "instrument", "row_id"])
    return pl.concat([frame.select("number", "fill") for frame in (by_trade, by_id)]).unique("number", keep="any")


def _items(ours: pl.DataFrame, fills: pl.DataFrame, interest: pl.DataFrame, alone: pl.DataFrame) -> pl.DataFrame:
    """Fills, charges, margin rows, and takeovers that are no leg of a fill, as one frame."""
    details = ours.select("number", "base_currency", "quote_currency")
    lone = ours.join(alone, on="number", how="semi")
    takeovers = lone.filter(pl.col("stated_type").str.contains(_TAKEOVER))
    margins = ours.filter(pl.col("meaning").is_in(TELLING))
    unsigned = [pl.when(pl.col(name) != ZERO).then(pl.col(name).abs()) for name in ("change", "account_change")]
    gone = takeovers.with_columns(meaning=pl.lit(TAKEOVER))
    margins = pl.concat([margins, gone]).with_columns(amount=pl.coalesce(*unsigned, "size", ZERO), side=None)
    trades = fills.with_columns(meaning=pl.when("is_liquidation").then(pl.lit("liquidation")).otherwise(pl.lit("fill")))
    trades = _with_details(trades, details)
    charged = interest.with_columns(amount=-pl.col("amount"), side=None)
    others = [part.drop("price", "value", "fee", "fee_currency") for part in (charged, margins)]
    parts = [part.select(column for column in _ITEM if column in part.columns) for part in (trades, *others)]
    return pl.concat(parts, how="diagonal")


def _with_details(trades: pl.DataFrame, details: pl.DataFrame) -> pl.DataFrame:
    place = details["number"].search_sorted(trades["number"])
    return trades.hstack(details[place].drop("number"))


_ITEM = [
    *("number", "time", "row_id", "account", "instrument", "base_currency", "quote_currency", "meaning", "order_id"),
    *("trade_id", "stated_type", "side", "quantity", "value", "price", "fee", "fee_currency", "currency", "amount"),
    *("layout", "input", "row", "account_change", "base_balance", "quote_balance"),
]


def _with_position(items: pl.DataFrame) -> pl.DataFrame:
    key = ["account", "instrument", "margin_currency"]
    names = items.select(key).unique().with_columns(position=pl.concat_str(key, separator=":")).sort("position")
    names = names.with_row_index("position_number")
    return items.join(names, on=key, how="left", maintain_order="left")


def _openings(moves: pl.DataFrame, ours: pl.DataFrame) -> pl.DataFrame:
    """Balances of positions from before the files, where they tell them: columns position_number, amount."""
    if not ours.select((pl.col("balance") != ZERO).any()).item():
        return pl.DataFrame(schema={"position_number": pl.UInt32, "amount": MONEY})
    is_base = pl.col("margin_currency") == pl.col("base_currency")
    settlement = pl.when(is_base).then("quote_currency").otherwise("base_currency")
    key = ["account", "instrument"]
    positions = moves.select("position_number", "margin_currency", *key, "base_currency", "quote_currency").unique()
    single = positions.filter(~pl.struct(key).is_duplicated()).with_columns(currency=settlement)
    stated = ours.select("number", *key, "currency", "change", "balance")
    return opening_balances(stated.join(single.select("position_number", *key, "currency"), on=[*key, "currency"]))


# --- what becomes of each row -------------------------------------------------------------------------------

_NO_HOME = "nothing says in which currency the margin of its position is; --margin-currency does"
_NO_EVENT = {
    "outside": "no concern of an isolated spot-margin position",
    "unclassified": "type or sub-type unknown",
    "borrowing": "a loan by itself moves no balance of the position in sum",
    "repayment": "a repayment by itself moves no balance of the position in sum",
    "fee": "a fee in a row of its own",
}


def _placed(numbered: pl.DataFrame, events: pl.DataFrame, of_row: pl.DataFrame, why_not: pl.DataFrame) -> pl.DataFrame:
    """Every row with its event, or with the reason that it gives none."""
    own = events.select("number", own="event_id")
    of_fill = of_row.unique("number", keep="any").join(events.select("event_id", fill="number"), on="fill")
    meaning = pl.col("meaning").replace_strict(_NO_EVENT, default=None, return_dtype=pl.String)
    nameless = pl.when(pl.col("base_currency").is_null()).then(pl.lit("names no instrument that is a pair"))
    return (
        numbered.select("number", "input", "row", "meaning", "base_currency")
        .join(own, on="number", how="left", maintain_order="left")
        .join(of_fill.select("number", "event_id"), on="number", how="left", maintain_order="left")
        .join(why_not.unique("number", keep="first"), on="number", how="left", maintain_order="left")
        .with_columns(event_id=pl.coalesce("own", "event_id"))
        .select(
            "input",
            "row",
            "event_id",
            reason=pl.when(pl.col("event_id").is_null()).then(pl.coalesce(meaning, nameless, "why_not")),
        )
        .sort("input", "row")
    )


def _why_not(placed: pl.DataFrame, homeless: pl.DataFrame, alone: pl.DataFrame) -> pl.DataFrame:
    """Reasons of rows that could have been events (number, why_not), the most telling first."""
    no_margin = placed.filter(pl.col("reason").is_not_null()).select("number", why_not="reason")
    no_home = homeless.select("number", why_not=pl.lit(_NO_HOME))
    no_partner = alone.select("number", why_not=pl.lit("a leg without the other leg of its fill"))
    return pl.concat([no_margin, no_home, no_partner])


def _refusals(
    events: pl.DataFrame, homeless: pl.DataFrame, defaults: Defaults, files: Mapping[int, str]
) -> pl.DataFrame:
    """What the caller has to say, once for each position, and events that break a rule of a row."""
    first = homeless.unique(["account", "instrument"], keep="first", maintain_order=True)
    given = defaults.margin_currency
    no_currency = f"{given} is not a currency of the pair" if given else "Nothing says in which currency its margin is"
    opens = events.filter((pl.col("kind") == "fill") & pl.col("posts") & pl.coalesce("amount", "leverage").is_null())
    opens = opens.unique("position", keep="first", maintain_order=True)
    whose = _asked(
        first,
        "margin_currency",
        f"{no_currency}.",
        "Give --margin-currency: base, quote, or one of the pair's two codes.",
    )
    how_much = _asked(
        opens,
        "leverage",
        "The files state no margin for this position, and a fill that opens one needs it.",
        "Give --leverage, or the bills, which state the margin.",
    )
    asked = pl.concat([whose, how_much]).with_columns(file=_name(files)).select(REFUSAL_SCHEMA.names())
    canonical = events.select(_EVENTS.names())
    if not broken_rules(canonical, RULES, []):
        return asked
    parts = canonical.group_by("input", maintain_order=True)
    broken = [refusals_of(_file(files, number), part, broken_rules(part, RULES, [])) for (number,), part in parts]
    return pl.concat([asked, *broken])


def _asked(rows: pl.DataFrame, column: str, rule: str, remedy: str) -> pl.DataFrame:
    return rows.select(
        "input",
        "row",
        column=pl.lit(column),
        value="instrument",
        rule=pl.lit(rule),
        remedy=pl.lit(remedy),
    )


def _name(files: Mapping[int, str]) -> pl.Expr:
    named = pl.col("input").replace_strict(dict(files) or {0: ""}, default=None, return_dtype=pl.String)
    return pl.coalesce(named, pl.format("file {}", "input"))


def _file(files: Mapping[int, str], number: object) -> str:
    return next((name for place, name in files.items() if place == number), f"file {number}")
