"""When the two sides are compared, and what the exchange states then: one row per position and moment."""

from datetime import datetime
from typing import Any

import polars as pl

from ledger.columns import FLAG, MODES, TIME, schema
from ledger.money import MONEY, ZERO
from ledger.reconciliation.figures import EVENTS, HISTORY, NET, SNAPSHOT, STATED
from ledger.reconciliation.states import states_at
from ledger.refusals import REFUSAL_SCHEMA, BadInput
from ledger.statements.columns import SNAPSHOTS
from ledger.statements.inference import with_readings

_MOMENT: dict[str, Any] = {
    "position": pl.String,
    "account": pl.String,
    "instrument": pl.String,
    "margin_currency": pl.String,
    "base_currency": pl.String,
    "quote_currency": pl.String,
    "time": TIME,
    "stated_by": pl.String,
    "opened": TIME,
    "mark_price": MONEY,
    "maintenance_rate": MONEY,
    "liquidation_fee_rate": MONEY,
    "stated_interest": MONEY,
    "base_stated": MONEY,
    "quote_stated": MONEY,
    "margin_stated": MONEY,
    "is_long_stated": FLAG,
    "margin_is_base_stated": FLAG,
    "mode_stated": pl.Enum(MODES),
    "note": pl.String,
    "input": pl.UInt16,
    "row": pl.UInt32,
    **dict.fromkeys(STATED, MONEY),
}
MOMENT_SCHEMA = pl.Schema(_MOMENT)
"""`base_stated`, `quote_stated` and `margin_stated` are the balances that the exchange's figures come down to."""


def snapshot_moments(
    snapshots: pl.DataFrame, history: pl.DataFrame, index: pl.DataFrame, account: str | None, end: datetime
) -> pl.DataFrame:
    """The moments (MOMENT_SCHEMA) of the open isolated positions of `snapshots` (columns SNAPSHOTS, `input`, `row`).

    `history` is the ledger's (see `states.running`), `index` its positions. A snapshot without a time is compared at
    `end`; one that names no account is of the `account` given, or of the only one that has the instrument.
    """
    known = snapshots.filter(pl.col("is_isolated_margin") & (pl.col("status") == "open")).with_row_index("snapshot")
    known = known.with_columns(
        account=pl.coalesce("account", pl.lit(account, pl.String), _only_account(known, index)),
        note=pl.when(pl.col("time").is_null()).then(pl.lit("the snapshot has no time: compared at the end")),
        time=pl.col("time").fill_null(pl.lit(end, TIME)),
    ).with_columns(account=pl.col("account").fill_null("main"))
    beside = _beside(known, history, index)
    by_currency = pl.col("base_net").is_not_null() | pl.col("quote_net").is_not_null()
    legs = known.join(beside, on="snapshot", how="left", maintain_order="left")
    has_figures = pl.col("direction").is_not_null() & pl.col("assets_shown").is_not_null()
    stated = legs.filter(~by_currency & has_figures)
    found = pl.concat([_of_positions(stated), _of_balances(legs.filter(by_currency))])
    said = [name for name in found.columns if name not in ("input", "row", "note")]
    return found.unique(said, keep="first", maintain_order=True)


def _only_account(snapshots: pl.DataFrame, index: pl.DataFrame) -> pl.Series:
    """The account of each snapshot's instrument, where the ledger has but one."""
    single = index.group_by("instrument").agg(only=pl.col("account").first(), accounts=pl.col("account").n_unique())
    single = single.filter(pl.col("accounts") == 1)
    return snapshots.join(single, on="instrument", how="left", maintain_order="left")["only"]


def _beside(snapshots: pl.DataFrame, history: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """Of each snapshot the margin currency and mode of the position that the ledger has open then, if it is one."""
    names = index.select("position", "account", "instrument", "margin_currency")
    pairs = snapshots.select("snapshot", "account", "instrument", "direction", "time").join(
        names, on=["account", "instrument"], how="inner"
    )
    states = states_at(history, pairs.rename({"direction": "direction_stated"}))
    is_open = (pl.col("base_leg") != 0) | (pl.col("quote_leg") != 0)
    fits = is_open & (pl.col("direction_stated").is_null() | (pl.col("direction_stated") == pl.col("direction")))
    ranked = states.with_columns(fits=fits.fill_null(value=False)).sort("snapshot", "fits", descending=[False, True])
    one = ranked.group_by("snapshot", maintain_order=True).agg(
        known_margin=pl.col("margin_currency").first(),
        known_mode=pl.col("mode").first(),
        fitting=pl.col("fits").sum(),
        positions=pl.len(),
    )
    unique = (pl.col("fitting") == 1) | ((pl.col("fitting") == 0) & (pl.col("positions") == 1))
    return one.with_columns(
        known_margin=pl.when(unique).then("known_margin"), known_mode=pl.when(unique).then("known_mode")
    ).drop("fitting", "positions")


def since_openings(snapshots: pl.DataFrame, openings: pl.DataFrame) -> pl.DataFrame:
    """The snapshots from the opening balances on: the last one that changed before is as at the opening."""
    key = ["account", "instrument"]
    begins = openings.group_by(key).agg(begin=pl.col("time").max())
    known = snapshots.join(begins, on=key, how="left", maintain_order="left")
    early = (pl.col("time") < pl.col("begin")).fill_null(value=False)
    latest = pl.col("time") == pl.col("time").max().over(*key, "margin_currency", "direction")
    return known.filter(~early | latest).with_columns(time=pl.max_horizontal("time", "begin")).drop("begin")


def refuse_contradictions(moments: pl.DataFrame, names: dict[int, str]) -> None:
    """Raise BadInput where two snapshots say of one position at one moment that it is different."""
    key = ["position", "time"]
    snapshots = moments.filter(pl.col("stated_by") == SNAPSHOT)
    said = pl.struct("base_stated", "quote_stated", "margin_stated")
    others = snapshots.with_columns(first=said.first().over(key), said=said).filter(pl.col("first") != pl.col("said"))
    if others.height:
        refusals = others.select(
            file=pl.col("input").replace_strict(names, default="", return_dtype=pl.String),
            row="row",
            column=pl.lit("ccy"),
            value="position",
            rule=pl.lit("An earlier row states the same position at the same time, and states it differently."),
            remedy=pl.lit("Keep the right one; of two positions, state the margin currency of each."),
        )
        raise BadInput(refusals.cast(dict(REFUSAL_SCHEMA)))  # type: ignore[arg-type]


def _of_positions(stated: pl.DataFrame) -> pl.DataFrame:
    readings = with_readings(
        stated.select(*schema(SNAPSHOTS), "snapshot", "known_margin", "known_mode", "input", "row", "note")
    )
    printed = {f"stated_{name}": pl.col(name) for name in ("assets_shown", "liability_shown", "entry_price")}
    printed |= {
        "stated_margin": pl.col("margin"),
        "stated_floating_pnl": pl.col("stated_pnl"),
        "stated_floating_pnl_ratio": pl.col("floating_pnl_ratio"),
        "stated_maintenance_margin": pl.col("stated_maintenance"),
        "stated_margin_ratio": pl.col("stated_ratio"),
        "stated_liquidation_price": pl.col("stated_liquidation"),
    }
    note = pl.concat_str([pl.col("note"), pl.col("inferred").replace("", None)], separator="; ", ignore_nulls=True)
    return _moments(
        readings.with_columns(
            stated_by=pl.lit(SNAPSHOT),
            stated_interest=pl.col("interest"),
            base_stated=pl.col("base_leg"),
            quote_stated=pl.col("quote_leg"),
            margin_stated=pl.col("margin").fill_null(ZERO),
            is_long_stated=pl.col("is_long"),
            margin_is_base_stated=pl.col("margin_is_base"),
            mode_stated=pl.col("mode"),
            note=note,
            **printed,
        )
    )


def _of_balances(stated: pl.DataFrame) -> pl.DataFrame:
    """Moments of an exchange that keeps balances by currency, and no margin apart from them."""
    legs = pl.col("instrument").str.split_exact("-", 1)
    known = pl.col("known_margin")
    note = pl.when(known.is_null()).then(pl.lit("the ledger has no single position of this instrument"))
    return _moments(
        stated.with_columns(
            base_currency=legs.struct.field("field_0"),
            quote_currency=legs.struct.field("field_1"),
            margin_currency=pl.coalesce(known, legs.struct.field("field_1")),
            stated_by=pl.lit(NET),
            stated_base_net=pl.col("base_net"),
            stated_quote_net=pl.col("quote_net"),
            note=pl.concat_str([pl.col("note"), note], separator="; ", ignore_nulls=True),
        )
    )


def closed_moments(snapshots: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """The moments of the closed isolated positions of `snapshots`, each at its close, of positions the ledger has."""
    is_closed = pl.col("is_isolated_margin") & (pl.col("status") == "closed") & pl.col("closed").is_not_null()
    known = snapshots.filter(is_closed & pl.col("entry_price").is_not_null() & pl.col("direction").is_not_null())
    key = ["account", "instrument"]
    names = index.select(*key, "margin_currency", "base_currency", "quote_currency")
    single = names.filter(~pl.struct(key).is_duplicated()).rename({"margin_currency": "only_currency"})
    found = known.join(single.select(*key, "only_currency"), on=key, how="left", maintain_order="left")
    found = found.with_columns(margin_currency=pl.coalesce("margin_currency", "only_currency"))
    found = found.join(names, on=[*key, "margin_currency"], how="inner", maintain_order="left")
    return _moments(
        found.with_columns(
            time="closed",
            stated_by=pl.lit(HISTORY),
            is_long_stated=(pl.col("direction") == "long").cast(FLAG),
            stated_entry_price="entry_price",
            stated_realised_pnl="realised_pnl",
            entry_price=None,
            note=pl.lit("at the close; what the exchange counts in its realised PnL is not stated"),
        ).drop("mark_price")
    )


def event_moments(history: pl.DataFrame, positions: pl.DataFrame) -> pl.DataFrame:
    """The moments at which the exchange's own events are replayed to: each of `positions` at its `time`.

    `history` is that of the exchange's events, `positions` comes from `ordering.index_positions`.
    """
    states = states_at(history, positions.select("position", "time"))
    names = [name for name in STATED if name.removeprefix("stated_") in states.columns]
    stated = positions.hstack(states.select(pl.col(name.removeprefix("stated_")).alias(name) for name in names))
    return _moments(stated.with_columns(stated_by=pl.lit(EVENTS)))


def _moments(rows: pl.DataFrame) -> pl.DataFrame:
    named = rows.with_columns(position=pl.concat_str("account", "instrument", "margin_currency", separator=":"))
    absent = {name: pl.lit(None, dtype) for name, dtype in MOMENT_SCHEMA.items() if name not in named.columns}
    return named.with_columns(**absent).select(pl.col(name).cast(dtype) for name, dtype in MOMENT_SCHEMA.items())


def not_in_snapshots(
    stated: pl.DataFrame, snapshots: pl.DataFrame, history: pl.DataFrame, index: pl.DataFrame, end: datetime
) -> pl.DataFrame:
    """Moments of positions that the ledger has open and no snapshot tells of, though others of the account do.

    When the snapshots were taken is not stated: some time after the last change they show. So only positions count
    that are open from then to the end; they are compared at the end.
    """
    timed = snapshots.filter(pl.col("is_isolated_margin") & pl.col("time").is_not_null())
    times = timed.group_by("account").agg(first=pl.col("time").max())
    others = index.join(stated.select("position").unique(), on="position", how="anti").join(times, on="account")
    is_open = (pl.col("base_leg") != 0) | (pl.col("quote_leg") != 0)
    open_then = [
        states_at(history, others.select("position", time=time)).select(is_open.fill_null(value=False)).to_series()
        for time in (pl.col("first"), pl.lit(end, TIME))
    ]
    kept = others.filter(open_then[0] & open_then[1]).with_columns(time=pl.lit(end, TIME))
    nothing = {f"{name}_stated": ZERO for name in ("base", "quote", "margin")}
    nothing |= {f"stated_{name}": ZERO for name in ("assets_shown", "liability_shown", "margin")}
    note = pl.lit("the exchange's snapshots of the account do not have it")
    return _moments(kept.with_columns(stated_by=pl.lit(SNAPSHOT), note=note, **nothing))
