"""The two sides read: files into events in the order they happened, each with the file and row it comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import polars as pl

from ledger.columns import EVENTS, schema
from ledger.interest.request import InterestInput
from ledger.marks import read_marks
from ledger.ordering import index_positions, position_name, with_positions
from ledger.policies import Policies
from ledger.progress import Progress
from ledger.reading import EVENTS_SCHEMA
from ledger.reconciliation.openings import after_openings, opening_events, refuse_straddling
from ledger.reconciliation.request import ReconcileRequest
from ledger.refusals import REFUSAL_SCHEMA, BadInput, refuse_file
from ledger.sequence_rules import order_refusals
from ledger.statements.margin_currency import Defaults
from ledger.statements.reading import Statements, read_statements

BILL_LAYOUTS = "bills|trading-history"
"""Layouts whose rows tell of everything that happens to a position."""
WHOLE = frozenset({"trade", "interest", "margin"})
"""What there must be of a position to know its balances."""
_Content = TypeVar("_Content")
_OF_LAYOUT = {"fills": "trade", "trades": "trade", "interest": "interest", "transfers": "margin"}


@dataclass(frozen=True)
class Sides:
    """`ledger` and `exchange` are what the files of each side state; `openings` what opening balances are.

    The events (EVENTS, `input`, `row`, `position`, `sequence`) are in the order they happened; `sequence` counts them.
    `covered` names the sorts of events that the exchange's files tell all of. `marks` (MARKS) and `interest` are what
    else is asked for.
    """

    ledger: Statements
    exchange: Statements
    openings: pl.DataFrame
    ledger_events: pl.DataFrame
    exchange_events: pl.DataFrame
    covered: tuple[str, ...]
    names: dict[int, str]
    marks: pl.DataFrame | None = None
    interest: InterestInput | None = None


def read_sides(request: ReconcileRequest, folder: Path, progress: Progress) -> Sides:
    """Read all files; raises BadInput with all refusals of all of them."""
    count = len(request.ledger)
    opening = _Reader(request, folder, progress)
    ledger = opening.read(request.ledger, 1, request.account, request.defaults)
    account = request.account or _only_account(ledger)
    known = replace(request.defaults, margin_currencies=_margin_currencies(ledger), mode=request.defaults.mode)
    exchange = opening.read(request.exchange, count + 1, account, known, "leverage")
    first = opening.read(request.opening, count + len(request.exchange) + 1, account, request.defaults)
    path, asked = request.marks, request.interest
    marks = None if path is None else opening.kept(lambda: read_marks(path))
    interest = None if asked is None else opening.kept(lambda: asked.read(1))
    opening.refuse()
    if ledger is None or exchange is None or first is None:
        raise AssertionError("what is not refused is read")
    paths = [*request.ledger, *request.exchange, *request.opening]
    names = {number: str(path) for number, path in enumerate(paths, start=1)}
    for side in (ledger, exchange):
        _refuse_backwards(side, names, request.policies)
        _refuse_told_twice(side, names)
    own = pl.concat([ledger.transactions.events, ledger.events.select(EVENTS_SCHEMA.names())])
    openings = EVENTS_SCHEMA.to_frame()
    if request.opening:
        openings = opening_events(first.snapshots, own, request.opening_at, names)
        if openings.is_empty():
            raise refuse_file(
                str(request.opening[0]), "The file states no open isolated spot-margin position.", "Leave it out."
            )
        if request.opening_at is None:
            refuse_straddling(own, openings, names)
        own = pl.concat([openings, after_openings(own, openings)])
    theirs = pl.concat([exchange.transactions.events, exchange.events.select(EVENTS_SCHEMA.names())])
    theirs = _in_known_mode(theirs, exchange, own)
    if openings.height:
        theirs = after_openings(theirs, openings)
    if request.as_at is not None:
        own, theirs = (side.filter(pl.col("time") <= request.as_at) for side in (own, theirs))
    events = _in_order(own), _in_order(theirs)
    return Sides(ledger, exchange, openings, *events, _covered(exchange), names, marks, interest)


class _Reader:
    """Reads the files of one side after the other, and keeps the refusals of all."""

    def __init__(self, request: ReconcileRequest, folder: Path, progress: Progress) -> None:
        self._request, self._folder, self._progress = request, folder, progress
        self._refusals = [REFUSAL_SCHEMA.to_frame()]

    def read(
        self, paths: Sequence[Path], first: int, account: str | None, defaults: Defaults, *not_asked: str
    ) -> Statements | None:
        """What the files state, or nothing where they are refused."""
        request = self._request
        return self.kept(
            lambda: read_statements(
                paths,
                defaults,
                self._folder,
                request.layouts,
                account,
                self._progress,
                first,
                request.policies,
                not_asked=not_asked,
            )
        )

    def kept(self, read: Callable[[], _Content]) -> _Content | None:
        """What is read, or nothing where it is refused."""
        try:
            return read()
        except BadInput as bad:
            self._refusals.append(bad.refusals)
            return None

    def refuse(self) -> None:
        """Raise BadInput where anything was refused."""
        refusals = pl.concat(self._refusals)
        if refusals.height:
            raise BadInput(refusals)


def _refuse_backwards(side: Statements, names: dict[int, str], policies: Policies) -> None:
    """Raise BadInput for canonical events whose time goes backwards, unless the policy says to sort them."""
    events = side.events.select(EVENTS_SCHEMA.names())
    refusals = order_refusals(with_positions(events, index_positions(events)), names, policies)
    if refusals.height:
        raise BadInput(refusals)


def _refuse_told_twice(side: Statements, names: dict[int, str]) -> None:
    """Raise BadInput for canonical fills that the exchange's files of the same side state, too: they would count twice.

    An adjustment by hand may look like a row of the exchange; it is taken for what it says.
    """
    alike = ["account", "instrument", "time", "side", "quantity", "price"]
    of_exchange = side.transactions.events.filter(pl.col("kind") == "fill").select(alike).unique()
    own = side.events.filter((pl.col("kind") == "fill") & pl.col("reason").is_null())
    twice = own.join(of_exchange, on=alike, how="semi", maintain_order="left")
    if twice.height:
        refusals = twice.select(
            file=pl.col("input").replace_strict(names, default="", return_dtype=pl.String),
            row="row",
            column=pl.lit("event_id"),
            value="event_id",
            rule=pl.lit(
                "The exchange's files of this side have the same fill at the same moment: it would count twice."
            ),
            remedy=pl.lit("Give one of the two files, or give a fill that is really another one a reason."),
        )
        raise BadInput(refusals.cast(dict(REFUSAL_SCHEMA)))  # type: ignore[arg-type]


def _only_account(ledger: Statements | None) -> str | None:
    """The account of the ledger, where it has but one."""
    if ledger is None:
        return None
    accounts = pl.concat([ledger.transactions.events["account"], ledger.events["account"]]).unique().to_list()
    return accounts[0] if len(accounts) == 1 else None


def _margin_currencies(ledger: Statements | None) -> dict[tuple[str, str], str]:
    """The margin currency of each instrument of which the ledger knows one."""
    if ledger is None:
        return {}
    events = pl.concat(
        [
            each.select("account", "instrument", "margin_currency")
            for each in (ledger.transactions.events, ledger.events)
        ]
    )
    single = events.unique().filter(~pl.struct("account", "instrument").is_duplicated())
    return {(account, instrument): currency for account, instrument, currency in single.iter_rows()}


def _in_known_mode(theirs: pl.DataFrame, exchange: Statements, own: pl.DataFrame) -> pl.DataFrame:
    """The exchange's events, in the ledger's mode where nothing at the exchange says which it is."""
    inferred = exchange.transactions.inferred.filter(pl.col("mode_from") != "margin rows")
    silent = inferred["position"].unique().implode()
    modes = own.group_by(position=position_name()).agg(own_mode=pl.col("mode").first())
    known = theirs.with_columns(position=position_name()).join(modes, on="position", how="left", maintain_order="left")
    mode = pl.when(pl.col("position").is_in(silent)).then(pl.coalesce("own_mode", "mode")).otherwise("mode")
    return known.with_columns(mode=mode).drop("position", "own_mode")


def _in_order(events: pl.DataFrame) -> pl.DataFrame:
    """The events in the order they happened. Those of one moment stand as they do in what was read."""
    return (
        events.select(*schema(EVENTS), "input", "row")
        .sort("time", maintain_order=True)
        .with_columns(position=position_name(), sequence=pl.int_range(pl.len(), dtype=pl.Int64) * 2)
    )


def _covered(exchange: Statements) -> tuple[str, ...]:
    """Sorts of events (trade, interest, margin ...) of which the exchange's files tell all.

    Bills tell of everything, unless they were asked for by type: those without a trade tell of what they have.
    """
    layouts = exchange.rows["layout"].unique().to_list()
    sorts = {sort for layout in layouts for part, sort in _OF_LAYOUT.items() if layout.endswith(part)}
    kinds = (
        pl.concat([exchange.transactions.events["kind"], exchange.events["kind"]]).cast(pl.String).unique().to_list()
    )
    present = {"trade" if kind in ("fill", "liquidation") else kind for kind in kinds}
    if exchange.events.height or any(part in layout for layout in layouts for part in BILL_LAYOUTS.split("|")):
        sorts |= {*WHOLE, "leverage", "opening", "adjustment"} if "trade" in present else present
    return tuple(sorted(sorts))
