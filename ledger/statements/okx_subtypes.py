"""What each sub-type of an OKX bill is to an isolated spot-margin position: one table, every line with its source.

`code` and `name` are those of the exchange's API documentation, GET /api/v5/account/bills, parameter subType [O]; the
2026 pages no longer list them inline, GET /api/v5/account/subtypes answers with them. The web export names them instead
of numbering them. `meaning` is exports 1.2 [I] unless the line says otherwise.
"""

from typing import NamedTuple

import polars as pl


class SubType(NamedTuple):
    """One line. `side` is that of a leg whose change does not say it: buy received, sell gave."""

    code: str
    name: str
    meaning: str
    side: str | None = None
    source: str = "exports 1.2 [O code, I meaning]"


_DERIVATIVE = "exports 1.2 [O]: of derivatives"
_LOAN = "exports 1.2 [O]: borrowing in spot mode, not isolated"
_TRANSFER = "exports 1.2 [O]: between accounts, outside positions"
_PRODUCT = "API documentation [O]: of another product"
_OLD_MODE = "exports 1.2 [I]: automatic transfers of the old mode"
_TAKEN_OVER = "API documentation [O]: px is a liquidation price; a leg where it changes one, else outside [I]"

SUBTYPES = (
    SubType("1", "Buy", "leg", "buy"),
    SubType("2", "Sell", "leg", "sell"),
    SubType("3", "Open long", "outside", None, _DERIVATIVE),
    SubType("4", "Open short", "outside", None, _DERIVATIVE),
    SubType("5", "Close long", "outside", None, _DERIVATIVE),
    SubType("6", "Close short", "outside", None, _DERIVATIVE),
    SubType("9", "Interest deduction for Market loans", "interest"),
    SubType("11", "Transfer in", "outside", None, _TRANSFER),
    SubType("12", "Transfer out", "outside", None, _TRANSFER),
    SubType("14", "Interest deduction for VIP loans", "interest"),
    SubType("16", "Repay forcibly", "repayment"),
    SubType("17", "Repay interest by borrowing forcibly", "repayment"),
    SubType("100", "Partial liquidation close long", "outside", None, _DERIVATIVE),
    SubType("101", "Partial liquidation close short", "outside", None, _DERIVATIVE),
    SubType("102", "Partial liquidation buy", "liquidation_leg", "buy"),
    SubType("103", "Partial liquidation sell", "liquidation_leg", "sell"),
    SubType("104", "Liquidation long", "outside", None, _DERIVATIVE),
    SubType("105", "Liquidation short", "outside", None, _DERIVATIVE),
    SubType("106", "Liquidation buy", "liquidation_leg", "buy"),
    SubType("107", "Liquidation sell", "liquidation_leg", "sell"),
    SubType("108", "Clawback", "liquidation_leg", None, _TAKEN_OVER),
    SubType("110", "Liquidation transfer in", "liquidation_leg", "buy", _TAKEN_OVER),
    SubType("111", "Liquidation transfer out", "liquidation_leg", "sell", _TAKEN_OVER),
    SubType("112", "Delivery long", "outside", None, _DERIVATIVE),
    SubType("113", "Delivery short", "outside", None, _DERIVATIVE),
    SubType("114", "Forced repayment buy", "liquidation_leg", "buy"),
    SubType("115", "Forced repayment sell", "liquidation_leg", "sell"),
    SubType("117", "Delivery/Exercise clawback", "outside", None, _DERIVATIVE),
    SubType("118", "System token conversion transfer in", "outside", None, _PRODUCT),
    SubType("119", "System token conversion transfer out", "outside", None, _PRODUCT),
    SubType("125", "ADL close long", "outside", None, _DERIVATIVE),
    SubType("126", "ADL close short", "outside", None, _DERIVATIVE),
    SubType("127", "ADL buy", "outside", None, _DERIVATIVE),
    SubType("128", "ADL sell", "outside", None, _DERIVATIVE),
    SubType("131", "ddh buy", "outside", None, _PRODUCT),
    SubType("132", "ddh sell", "outside", None, _PRODUCT),
    SubType("160", "Manual margin increase", "margin_added"),
    SubType("161", "Manual margin decrease", "margin_removed"),
    SubType("162", "Auto margin increase", "margin_added"),
    SubType("170", "Exercised", "outside", None, _DERIVATIVE),
    SubType("171", "Counterparty exercised", "outside", None, _DERIVATIVE),
    SubType("172", "Expired", "outside", None, _DERIVATIVE),
    SubType("173", "Funding fee expense", "outside", None, _DERIVATIVE),
    SubType("174", "Funding fee income", "outside", None, _DERIVATIVE),
    SubType("200", "System transfer in", "margin_posted", None, _OLD_MODE),
    SubType("201", "Manually transfer in", "margin_added", None, _OLD_MODE),
    SubType("202", "System transfer out", "margin_returned", None, _OLD_MODE),
    SubType("203", "Manually transfer out", "margin_removed", None, _OLD_MODE),
    SubType("204", "Block trade buy", "outside", None, _PRODUCT),
    SubType("205", "Block trade sell", "outside", None, _PRODUCT),
    SubType("206", "Block trade open long", "outside", None, _PRODUCT),
    SubType("207", "Block trade open short", "outside", None, _PRODUCT),
    SubType("208", "Block trade close long", "outside", None, _PRODUCT),
    SubType("209", "Block trade close short", "outside", None, _PRODUCT),
    SubType("210", "Manual Borrowing of quick margin", "borrowing"),
    SubType("211", "Manual Repayment of quick margin", "repayment"),
    SubType("212", "Auto borrow of quick margin", "borrowing"),
    SubType("213", "Auto repay of quick margin", "repayment"),
    SubType("220", "Transfer in when using USDT to buy OPTION", "outside", None, _PRODUCT),
    SubType("221", "Transfer out when using USDT to buy OPTION", "outside", None, _PRODUCT),
    SubType("224", "Repayment transfer in", "liquidation_leg", "buy", _TAKEN_OVER),
    SubType("225", "Repayment transfer out", "liquidation_leg", "sell", _TAKEN_OVER),
    SubType("236", "Easy convert in", "outside", None, _PRODUCT),
    SubType("237", "Easy convert out", "outside", None, _PRODUCT),
    SubType("250", "Profit sharing expenses", "outside", None, _PRODUCT),
    SubType("251", "Profit sharing refund", "outside", None, _PRODUCT),
    SubType("270", "Spread trading buy", "outside", None, _PRODUCT),
    SubType("271", "Spread trading sell", "outside", None, _PRODUCT),
    SubType("272", "Spread trading open long", "outside", None, _PRODUCT),
    SubType("273", "Spread trading open short", "outside", None, _PRODUCT),
    SubType("274", "Spread trading close long", "outside", None, _PRODUCT),
    SubType("275", "Spread trading close short", "outside", None, _PRODUCT),
    SubType("280", "SPOT profit sharing expenses", "outside", None, _PRODUCT),
    SubType("281", "SPOT profit sharing refund", "outside", None, _PRODUCT),
    SubType("282", "Spot profit share income", "outside", None, _PRODUCT),
    SubType("283", "Asset transfer for spot copy trading", "outside", None, _PRODUCT),
    SubType("284", "Copy trade automatic transfer in", "outside", None, _PRODUCT),
    SubType("285", "Copy trade manual transfer in", "outside", None, _PRODUCT),
    SubType("286", "Copy trade automatic transfer out", "outside", None, _PRODUCT),
    SubType("287", "Copy trade manual transfer out", "outside", None, _PRODUCT),
    SubType("290", "Crypto dust auto-transfer out", "outside", None, _PRODUCT),
    SubType("293", "Fixed loan interest deduction", "outside", None, _PRODUCT),
    SubType("294", "Fixed loan interest refund", "outside", None, _PRODUCT),
    SubType("295", "Fixed loan overdue penalty", "outside", None, _PRODUCT),
    SubType("296", "From structured order placements", "outside", None, _PRODUCT),
    SubType("297", "To structured order placements", "outside", None, _PRODUCT),
    SubType("298", "From structured settlements", "outside", None, _PRODUCT),
    SubType("299", "To structured settlements", "outside", None, _PRODUCT),
    SubType("306", "Manual borrow", "outside", None, _LOAN),
    SubType("307", "Auto borrow", "outside", None, _LOAN),
    SubType("308", "Manual repay", "outside", None, _LOAN),
    SubType("309", "Auto repay", "outside", None, _LOAN),
    SubType("312", "Auto offset", "outside", None, _LOAN),
    SubType("318", "Convert in", "outside", None, _PRODUCT),
    SubType("319", "Convert out", "outside", None, _PRODUCT),
    SubType("320", "Simple buy", "outside", None, _PRODUCT),
    SubType("321", "Simple sell", "outside", None, _PRODUCT),
    SubType("324", "Move position buy", "outside", None, _PRODUCT),
    SubType("325", "Move position sell", "outside", None, _PRODUCT),
    SubType("326", "Move position open long", "outside", None, _PRODUCT),
    SubType("327", "Move position open short", "outside", None, _PRODUCT),
    SubType("328", "Move position close long", "outside", None, _PRODUCT),
    SubType("329", "Move position close short", "outside", None, _PRODUCT),
    SubType("332", "Margin transfer in isolated margin position", "margin_posted"),
    SubType("333", "Margin transfer out isolated margin position", "margin_returned"),
    SubType("334", "Margin loss when closing isolated margin position", "margin_loss"),
    SubType("348", "[Credit line] Forced repayment", "outside", None, _PRODUCT),
    SubType("350", "[Credit line] Forced repayment refund", "outside", None, _PRODUCT),
    SubType("352", "[Credit line] Forced repayment penalty fee deduction", "outside", None, _PRODUCT),
    SubType("353", "[Credit line] Forced repayment penalty fee (pending deduction)", "outside", None, _PRODUCT),
    SubType("355", "Settlement PnL", "outside", None, _DERIVATIVE),
    SubType("356", "[Credit line] Auto conversion (pending deduction)", "outside", None, _PRODUCT),
    SubType("357", "[Credit line] Auto Conversion Transfer to Funding", "outside", None, _PRODUCT),
    SubType("372", "Bot airdrop (transfer in)", "outside", None, _PRODUCT),
    SubType("373", "Bot airdrop (transfer out)", "outside", None, _PRODUCT),
    SubType("374", "Bot airdrop reclaim (transfer in)", "outside", None, _PRODUCT),
    SubType("375", "Bot airdrop reclaim (transfer out)", "outside", None, _PRODUCT),
    SubType("376", "Collateralized borrowing auto conversion buy", "outside", None, _PRODUCT),
    SubType("377", "Collateralized borrowing auto conversion sell", "outside", None, _PRODUCT),
    SubType("381", "Auto lend interest transfer in", "outside", None, _PRODUCT),
)
"""Sub-types by code. One that is not here is unclassified: reported with its amounts, never dropped."""

OTHER_NAMES = {
    "interest deduction": "9",
    "auto interest deduction": "9",
    "clawback loss": "108",
    "manual transfer in": "201",
    "manual transfer out": "203",
    "manual borrowing": "210",
    "manual repayment": "211",
}
"""Names of a sub-type besides that of the API documentation, in small letters; earlier editions of it [I]."""

ONLY_WHERE_A_LEG_CHANGES = ("108", "110", "111", "224", "225")
"""Sub-types of a takeover and of its settlement: without a change of the position's balance they move no leg."""

TYPES = {str(code) for code in (*range(1, 17), 22, 24, *range(26, 31), 32, 33, 34, 250, 251)}
"""Types of bills that are known, exports 1.1 [O]; of these 7 is an interest deduction whatever its sub-type."""

_MEANINGS = {line.code: line.meaning for line in SUBTYPES}
_SIDES = {line.code: line.side for line in SUBTYPES if line.side}
_TRADES = ("1", "2")
_LIQUIDATIONS = tuple(line.code for line in SUBTYPES if line.meaning == "liquidation_leg")
CODES_BY_NAME = {line.name.lower(): line.code for line in SUBTYPES} | OTHER_NAMES


def meaning_of(code: pl.Expr, change: pl.Expr) -> pl.Expr:
    """The meaning of a sub-type's code for a row that changes the position by `change`; empty where it is not known."""
    named = code.replace_strict(_MEANINGS, default=None, return_dtype=pl.String)
    is_still = code.is_in(ONLY_WHERE_A_LEG_CHANGES) & (change.fill_null(0) == 0)
    return pl.when(is_still).then(pl.lit("outside")).otherwise(named)


def side_of(code: pl.Expr, change: pl.Expr) -> pl.Expr:
    """buy for the leg received, sell for the one given: of a liquidation by the change where there is one."""
    named = code.replace_strict(_SIDES, default=None, return_dtype=pl.String)
    moved = pl.when(change > 0).then(pl.lit("buy")).when(change < 0).then(pl.lit("sell"))
    return pl.when(code.is_in(_LIQUIDATIONS)).then(pl.coalesce(moved, named)).when(code.is_in(_TRADES)).then(named)


def size_of(amount: pl.Expr) -> pl.Expr:
    """The amount without its sign; empty where it is zero."""
    return pl.when(amount != 0).then(amount.abs())
