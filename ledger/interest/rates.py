"""Which rate is in force, for whom, and from when."""

from datetime import UTC, datetime

import polars as pl

from ledger.columns import TIME, schema
from ledger.interest.columns import EARLY, LATE, RATES
from ledger.interest.stated_rates import exact_rates, in_likely_units
from ledger.refusals import REFUSAL_SCHEMA, BadInput

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
SCOPE = ("account", "instrument", "currency")
"""Whom a rate is for. Of those in force the one that says the most counts: an account before an instrument."""


class Rates:
    """The rows of a rates file (columns RATES, and `row`), ready to be asked."""

    def __init__(self, rows: pl.DataFrame, file: str = "rates") -> None:
        self._file = file
        scope = pl.struct(SCOPE).rank("dense").alias("scope")
        self._rows = rows.rename({"rate": "rate_value", "row": "rate_row"}).sort("time").with_columns(scope)
        self._rows = self._rows.with_row_index("rate")
        named = rows.select(pl.concat_list(pl.col(name).is_not_null() for name in SCOPE)).to_series()
        self._patterns = sorted((tuple(pattern) for pattern in named.unique().to_list()), reverse=True)

    @classmethod
    def stated(cls, rows: pl.DataFrame) -> "Rates":
        """The rates that the exchange's rows state (see `rows.ROWS_SCHEMA`): each from its hour on, the first always.

        What is printed in full may be a rounded quotient, and a rate far off those beside it may be in another unit:
        see `stated_rates`.
        """
        known = rows.filter(pl.col("rate").is_not_null()).sort(*SCOPE, "time", maintain_order=True)
        exact = exact_rates(known["rate"], known["unit"])
        whose = known.select(loan=pl.struct(SCOPE).rle_id())
        hour = (pl.col("time") + EARLY).dt.truncate("1h")
        since = known.select(*SCOPE, time=pl.when(pl.col("time") - hour <= LATE).then(hour).otherwise("time"))
        rates = since.hstack(in_likely_units(exact.hstack(whose)).drop("loan"))
        rates = rates.unique(["time", *SCOPE], keep="first", maintain_order=True)
        early = rates.unique(SCOPE, keep="first", maintain_order=True).with_columns(time=pl.lit(_BEGIN, TIME))
        columns = ["time", *SCOPE, "rate", "unit"]
        every = pl.concat([early.select(columns), rates.select(columns)])
        return cls(every.with_columns(row=pl.lit(None, pl.UInt32)), "the exchange's rows: give --rates")

    @classmethod
    def none(cls) -> "Rates":
        """A table without a rate."""
        return cls(pl.DataFrame(schema={**schema(RATES), "row": pl.UInt32}))

    def in_force(
        self, loans: pl.DataFrame, loan: pl.Series, time: pl.Series, required: pl.Series | None = None
    ) -> pl.DataFrame:
        """The rate for each row: its `rate`, `unit` and `rate_row`, empty where no rate is in force.

        `loans` has a row per loan with the columns SCOPE, `loan` its number there for each row. Raises BadInput where
        a rate is `required` (a mask) and none is in force.
        """
        found = self._found(loans, loan, time)
        if required is not None and (missing := required & found["rate"].is_null()).any():
            raise BadInput(self._no_rate(loans, loan.filter(missing), time.filter(missing)))
        return found

    def _found(self, loans: pl.DataFrame, loan: pl.Series, time: pl.Series) -> pl.DataFrame:
        nothing = self._rows.select(rate="rate_value", unit="unit", rate_row="rate_row").clear(time.len())
        if not self._patterns:
            return nothing
        groups, members = self._groups(loans)
        schedule = self._schedule(groups)
        if schedule.is_empty():
            return nothing
        changes = schedule["time"].unique().sort()
        width = changes.len() + 1
        keys = schedule["group"].cast(pl.Int64) * width + changes.search_sorted(schedule["time"]).cast(pl.Int64) + 1
        wanted = members.gather(loan).cast(pl.Int64) * width + changes.search_sorted(time, side="right").cast(pl.Int64)
        place = keys.search_sorted(wanted, side="right").cast(pl.Int64) - 1
        found = schedule.select("group", "rate", "unit", "rate_row")[place.clip(0)]
        is_in_force = (place >= 0) & (found["group"] == members.gather(loan))
        return found.select(pl.when(is_in_force).then(name).alias(name) for name in ("rate", "unit", "rate_row"))

    def _groups(self, loans: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
        """The distinct sets of scopes that loans belong to, and which of them each loan has.

        One row per set: its number `group`, and for each pattern of named columns the scope it has there, if any.
        """
        known = loans.select(SCOPE)
        for number, (pattern, names) in enumerate(self._named()):
            scopes = self._scoped(pattern).select(*names, "scope").unique()
            known = known.join(scopes.rename({"scope": f"scope_{number}"}), on=names, how="left", maintain_order="left")
        sets = known.drop(SCOPE)
        groups = sets.unique(maintain_order=True).with_row_index("group")
        return groups, sets.join(
            groups, on=sets.columns, how="left", maintain_order="left", nulls_equal=True
        ).get_column("group")

    def _schedule(self, groups: pl.DataFrame) -> pl.DataFrame:
        """When the rate of each group changes, and to what: one row per group and time, in this order."""
        scopes = [(f"scope_{number}", self._scoped(pattern)) for number, (pattern, _) in enumerate(self._named())]
        changes = pl.concat(
            groups.select("group", scope=name).join(rows, on="scope").select("group", "time") for name, rows in scopes
        ).unique()
        schedule = changes.sort("time").join(groups, on="group", how="left", maintain_order="left")
        for name, rows in scopes:
            own = rows.select("time", pl.col("scope").alias(name), pl.col("rate").alias(f"rate_{name}"))
            schedule = schedule.join_asof(own, on="time", by=name, check_sortedness=False)
        chosen = schedule.select("group", "time", rate=pl.coalesce(f"rate_{name}" for name, _ in scopes))
        chosen = chosen.sort("group", "time")
        details = self._rows.select("rate_value", "unit", "rate_row")[chosen["rate"]]
        return chosen.drop("rate").hstack(details.rename({"rate_value": "rate"}))

    def _named(self) -> list[tuple[tuple[bool, ...], list[str]]]:
        return [
            (pattern, [name for name, named in zip(SCOPE, pattern, strict=True) if named]) for pattern in self._patterns
        ]

    def _scoped(self, pattern: tuple[bool, ...]) -> pl.DataFrame:
        """The rates whose scope names just these columns."""
        names = (
            pl.col(name).is_not_null() if named else pl.col(name).is_null()
            for name, named in zip(SCOPE, pattern, strict=True)
        )
        return self._rows.filter(pl.all_horizontal(*names))

    def _no_rate(self, loans: pl.DataFrame, loan: pl.Series, time: pl.Series) -> pl.DataFrame:
        """A refusal for each loan that lacks a rate, with the first time it does."""
        lacking = (
            loans.select(SCOPE)[loan]
            .with_columns(time=time)
            .group_by(SCOPE, maintain_order=True)
            .agg(pl.col("time").min())
        )
        who = pl.format("{} owed by {} {}", "currency", *(pl.col(name).fill_null("?") for name in SCOPE[:2]))
        return lacking.select(
            file=pl.lit(self._file),
            row=pl.lit(None, pl.UInt32),
            column=pl.lit("rate"),
            value=pl.format("{} at {}", who, pl.col("time").dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ")),
            rule=pl.lit("Interest needs a rate in force."),
            remedy=pl.lit("Add a row for the currency or the instrument with a time at or before that one."),
        ).cast(dict(REFUSAL_SCHEMA))  # type: ignore[arg-type]
