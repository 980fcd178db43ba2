"""The commands `whatif ...` from the outside: exit codes, words, files."""

import polars as pl
import pytest
from test_command_line import run

from ledger.columns import schema
from ledger.risk.columns import MARGIN_CHANGE_LOG
from ledger.risk.order_columns import CLOSES, ORDER_CHECKS

POSITION = "main:BTC-USDT:USDT"
FILES = {
    "fills.csv": """time,event_id,account,instrument,mode,margin_currency,kind,side,quantity,price,leverage
2024-01-01T00:00:00Z,f1,main,BTC-USDT,new,USDT,fill,buy,1,100000,10
2024-01-02T00:00:00Z,f2,main,ETH-USDT,old,ETH,fill,buy,10,2000,5
""",
    "balances.csv": """time,account,currency,available
2024-01-01T00:00:00Z,main,USDT,12500
""",
    "tiers.csv": """instrument,tier,largest_base_loan,largest_quote_loan,maintenance_rate,maximum_leverage
BTC-USDT,1,1,100000,0.03,10
BTC-USDT,2,5,500000,0.04,5
""",
    "marks.csv": """time,instrument,mark_price
2024-01-01T00:00:00Z,BTC-USDT,101000
2024-01-03T00:00:00Z,BTC-USDT,125000
""",
    "orders.csv": """order_id,account,instrument,margin_currency,side,quantity,price,leverage,reduce_only
reverse,main,BTC-USDT,quote,sell,2,125000,10,
close,main,BTC-USDT,quote,sell,1.5,125000,,true
""",
    "refused.csv": """order_id,account,instrument,margin_currency,side,quantity,price,leverage
big,main,BTC-USDT,quote,buy,1,125000,10
""",
}
SINGLE = ("--instrument", "BTC-USDT", "--side", "buy", "--margin-currency", "USDT", "--price", "100000")


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whatif")
    for name, content in FILES.items():
        (folder / name).write_text(content)
    return folder


@pytest.fixture(scope="module")
def known(at):
    """Every file that a check can use."""
    names = {"--events": "fills.csv", "--balances": "balances.csv", "--tiers": "tiers.csv", "--marks": "marks.csv"}
    return tuple(word for option, name in names.items() for word in (option, at / name))


def says(result, *words):
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    return [text for text in words if not any(text in line for line in lines)] == []


def test_open_accepts_and_prints_every_digit(at, known, tmp_path):
    out = tmp_path / "new" / "checks.csv"
    result = run("whatif", "open", at / "orders.csv", *known, "--out", out)
    assert (result.exit_code, result.stderr) == (0, "")
    assert says(
        result,
        "verdict accepted",
        "it would close the position and open the opposite one",
        "need 12500 USDT",
        "account + 0 BTC, + 22500 USDT",
        "liquidation price 133361.783847220740424624",
        "What it trades beyond the close goes to the account.",
        "2 orders: 2 accepted.",
        f"Wrote {out}",
    )
    written = pl.read_csv(out, infer_schema=False)
    assert written.columns == list(schema(ORDER_CHECKS))
    assert written["need"].to_list() == ["12500.000000000000000000", "0.000000000000000000"]
    assert [file.name for file in out.parent.iterdir()] == ["checks.csv"]


def test_open_refuses_with_the_rule(at, known):
    result = run("whatif", "open", at / "refused.csv", *known)
    assert (result.exit_code, result.stderr) == (1, "")
    assert says(
        result, "verdict refused", "because Leverage 10 is above 5, the largest of tier 2", "1 order: 1 refused."
    )


def test_a_single_order(known):
    result = run("whatif", "open", *SINGLE, "--quantity", "0.5", "--leverage", "2", *known[2:])
    assert result.exit_code == 1
    assert says(
        result, "need 25000 USDT", "The available balance, 12500 USDT, is below the initial margin, 25000 USDT."
    )
    smaller = run("whatif", "open", *SINGLE, "--quantity", "0.25", "--leverage", "2", "--fee-rate", "0.001", *known[2:])
    assert smaller.exit_code == 0
    assert says(smaller, "assets shown, new mode 0.24975 BTC", "fee 0.00025 BTC", "available 12500 USDT")


def test_what_cannot_be_checked_is_not_accepted():
    result = run("whatif", "open", *SINGLE, "--quantity", "1", "--leverage", "10")
    assert (result.exit_code, result.stderr) == (1, "")
    assert says(
        result, "verdict not checked", "Not known: the balance of main in USDT. Not known: the tiers of BTC-USDT."
    )


def test_orders_in_sequence(at, known, tmp_path):
    orders = tmp_path / "orders.csv"
    line = "main,BTC-USDT,quote,buy,0.1,100000,5"
    orders.write_text(f"{FILES['refused.csv'].splitlines()[0]}\n" + "\n".join(f"o{n},{line}" for n in range(7)) + "\n")
    alone = run("whatif", "open", orders, *known)
    assert says(alone, "7 orders: 7 accepted.")
    result = run("whatif", "open", orders, *known, "--in-sequence")
    assert result.exit_code == 1
    assert says(result, "7 orders: 6 accepted, 1 refused.", "available 500 USDT")


def test_many_orders_are_not_all_shown(at, known, tmp_path):
    orders = tmp_path / "orders.csv"
    lines = [f"o{n},main,BTC-USDT,quote,buy,0.1,100000,5" for n in range(25)]
    orders.write_text("\n".join([FILES["refused.csv"].splitlines()[0], *lines]) + "\n")
    result = run("whatif", "open", orders, *known)
    assert says(result, "20 of 25 orders are shown; --out FILE.csv has all of them.", "25 orders: 25 accepted.")
    assert "o19: buy" in result.stdout
    assert "o20: buy" not in result.stdout


def test_policies_of_the_replay_and_of_risk_count(at, known):
    result = run(
        "whatif", "open", at / "orders.csv", *known, "--policy", "overfill=spot_first", "--policy", "alert_ratio=9"
    )
    assert says(result, "Its margin ratio would be 3.222687721559780857: an alert would be due.")
    wrong = run("whatif", "open", at / "orders.csv", *known, "--policy", "overfill=never", "--policy", "alert=1")
    assert wrong.exit_code == 2
    assert "overfill=never" in wrong.stderr
    assert "alert=1" in wrong.stderr


def test_close(at, tmp_path):
    asked = ("--marks", at / "marks.csv", "--fee-rate", "0.001", "--lot-size", "BTC-USDT=0.0007")
    out = tmp_path / "closes.parquet"
    result = run(
        "whatif",
        "close",
        at / "fills.csv",
        *asked,
        "--position",
        POSITION,
        "--pending",
        f"{POSITION}=0.3",
        "--out",
        out,
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert says(
        result,
        "order sell 1.0003 BTC, reduce-only, at 125000, the mark price",
        "closes exactly 1 BTC",
        "fee 125.0375 USDT",
        "returned 34875 USDT",
        "left over - 0.0003 BTC, + 37.4625 USDT",
        "account - 0.0003 BTC, + 34912.4625 USDT",
        "largest reduce-only 0.7003 BTC",
    )
    assert pl.read_parquet(out).schema == schema(CLOSES)


def test_close_at_a_price_and_a_time(at):
    prices = ("--price", "BTC-USDT=95000", "--price", "ETH-USDT=1800")
    result = run("whatif", "close", at / "fills.csv", *prices)
    assert result.exit_code == 0
    order = "order sell 11.111111111111111112 ETH, reduce-only, at 1800, the price given"
    assert says(result, order, "returned 5000 USDT")
    early = run("whatif", "close", at / "fills.csv", "--marks", at / "marks.csv", "--as-at", "2024-01-01T12:00:00Z")
    assert early.exit_code == 0
    assert says(early, "at 101000, the mark price")
    assert "ETH" not in early.stdout


def test_close_without_a_price_of_one(at):
    result = run("whatif", "close", at / "fills.csv", "--marks", at / "marks.csv")
    assert result.exit_code == 1
    assert says(result, "note No price of ETH-USDT is known.", "returned 35000 USDT")


def test_change(at, known, tmp_path):
    asked = ("whatif", "change", at / "fills.csv", "--position", POSITION)
    lower = run(*asked, "--leverage", "5", *known[2:], "--out", tmp_path / "change.csv")
    assert (lower.exit_code, lower.stderr) == (0, "")
    assert says(
        lower,
        "verdict allowed",
        "margin 10000 + 10000 = 20000 USDT",
        "leverage 10 -> 5",
        "equity 35000 -> 45000 USDT",
        "margin ratio 11.279407025459233 -> 14.502094747019013858",
    )
    assert pl.read_csv(tmp_path / "change.csv").columns == list(schema(MARGIN_CHANGE_LOG))
    added = run(*asked, "--add-margin", "12500.000000000000000001", *known[2:])
    assert added.exit_code == 1
    assert says(added, "verdict refused", "margin 10000 + 12500.000000000000000001 = 22500.000000000000000001 USDT")
    taken = run(*asked, "--reduce-margin", "2500", *known[2:])
    assert taken.exit_code == 0
    assert says(taken, "margin 10000 - 2500 = 7500 USDT")
    raised = run(*asked, "--leverage", "12", *known[2:])
    assert raised.exit_code == 1
    assert says(raised, "margin 10000 + 0 = 10000 USDT", "leverage 10 -> 12", "verdict refused")


def test_a_higher_leverage_moves_no_margin(at, tmp_path):
    fills = tmp_path / "fills.csv"
    fills.write_text(
        FILES["fills.csv"].replace("leverage\n", "leverage,amount\n").replace("100000,10", "100000,10,5000")
    )
    fills.write_text(fills.read_text().replace("2000,5", "2000,5,"))
    result = run("whatif", "change", fills, "--position", POSITION, "--leverage", "12")
    assert says(result, "margin 5000 + 0 = 5000 USDT")


def test_change_that_the_engine_refuses(at):
    result = run("whatif", "change", at / "fills.csv", "--position", f"{POSITION}#1", "--reduce-margin", "20000")
    assert (result.exit_code, result.stderr) == (1, "")
    assert says(result, "refused: The margin of a position cannot fall below zero.")


def test_change_without_what_is_needed_is_not_checked(at):
    result = run("whatif", "change", at / "fills.csv", "--position", POSITION, "--add-margin", "1")
    assert result.exit_code == 1
    assert says(result, "verdict not checked")


UNUSABLE = [
    (("open",), "Give a file of orders"),
    (("open", "orders.csv", "--side", "buy"), "--side: only for a single order"),
    (("open", *SINGLE), "--quantity is missing"),
    (("open", *SINGLE, "--quantity", "1,5"), "separators"),
    (("close", "fills.csv"), "--price"),
    (("close", "fills.csv", "--price", "x"), "decimal number"),
    (("close", "fills.csv", "--price", "1", "--price", "2"), "NAME=NUMBER"),
    (("close", "fills.csv", "--price", "1", "--lot-size", "0.1"), "NAME=NUMBER"),
    (("close", "fills.csv", "--price", "1", "--pending", "a=1", "--pending", "a=2"), "given twice"),
    (("close", "fills.csv", "--price", "1", "--pending", "nobody=1"), "nobody: no such position is open"),
    (("close", "fills.csv", "--price", "1", "--position", "nobody"), "nobody: no such position is open"),
    (("close", "fills.csv", "--price", "0"), "price 0"),
    (("close", "fills.csv", "--price", "1", "--fee-rate", "1"), "fee rate 1"),
    (("change", "fills.csv", "--position", POSITION), "Give one of"),
    (("change", "fills.csv", "--position", POSITION, "--add-margin", "1", "--leverage", "2"), "Give one of"),
    (("change", "fills.csv", "--position", POSITION, "--add-margin", "0"), "above zero"),
    (("change", "fills.csv", "--position", POSITION, "--leverage", "0.5"), "at least 1"),
    (("change", "fills.csv", "--position", "nobody", "--leverage", "5"), f"open positions begin with: {POSITION}"),
    (("close", "fills.csv", "--price", "1", "--out", "closes.xlsx"), ".csv or .parquet"),
    (("close", "fills.csv", "--price", "1", "--out", "fills.csv"), "is read"),
    (("close", "nothing.csv", "--price", "1"), "does not exist"),
]


@pytest.mark.parametrize(
    ("words", "fragment"), UNUSABLE, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_what_makes_no_sense_is_refused(at, words, fragment, monkeypatch):
    monkeypatch.chdir(at)
    result = run("whatif", *words)
    assert result.exit_code == 2
    assert fragment in result.stderr
    assert sorted(file.name for file in at.iterdir()) == sorted(FILES)


def test_all_that_is_wrong_with_all_files_is_told_with_its_place(at, tmp_path):
    bad = {
        "orders.csv": FILES["orders.csv"].replace("sell,2", "sell,-2"),
        "fills.csv": FILES["fills.csv"].replace("buy,10,2000", "buy,10,0"),
        "balances.csv": FILES["balances.csv"].replace("12500", "x"),
        "tiers.csv": FILES["tiers.csv"].replace("0.04", "4"),
        "marks.csv": FILES["marks.csv"].replace("125000", "-1"),
    }
    for name, content in bad.items():
        (tmp_path / name).write_text(content)
    options = [
        word
        for name in bad
        if name != "orders.csv"
        for word in (f"--{name[:-4]}".replace("fills", "events"), tmp_path / name)
    ]
    out = tmp_path / "checks.csv"
    result = run(
        "whatif", "open", tmp_path / "orders.csv", *options, "--out", out, "--refusals", tmp_path / "refusals.csv"
    )
    assert result.exit_code == 2
    places = ("orders.csv, row 2, column quantity: '-2'", "fills.csv, row 3, column price: '0'")
    places += (
        "balances.csv, row 2, column available: 'x'",
        "tiers.csv, row 3, column maintenance_rate",
        "marks.csv, row 3, column mark_price: '-1'",
    )
    assert [place for place in places if place not in result.stderr] == []
    assert not out.exists()
    assert pl.read_csv(tmp_path / "refusals.csv").height == len(places)


def test_a_course_that_is_wrong_is_told_with_its_place(at, tmp_path):
    fills = tmp_path / "fills.csv"
    fills.write_text(
        FILES["fills.csv"].replace("fill,buy,1,", "margin,,,").replace("100000,10", ",").replace("BTC-USDT", "BTC-USDT")
    )
    result = run("whatif", "close", fills, "--price", "1")
    assert result.exit_code == 2
    assert f"{fills}, row 2" in result.stderr


@pytest.mark.parametrize("command", ["open", "close", "change"])
def test_help_has_examples(command):
    result = run("whatif", command, "--help")
    assert result.exit_code == 0
    assert f"margin-ledger whatif {command} " in result.stdout
    assert "Exit codes: 0" in result.stdout


def test_a_name_that_no_open_position_has_is_refused(at):
    options = ("--price", "BTC-USDT=100000", "--price", "XXX-YYY=5", "--lot-size", "ZZZ=1")
    result = run("whatif", "close", at / "fills.csv", *options)
    assert result.exit_code == 2
    assert "ZZZ: no position of this instrument is open; open: BTC-USDT, ETH-USDT" in result.stderr
    assert "XXX-YYY: no position" in result.stderr
    both = run("whatif", "close", at / "fills.csv", "--price", "BTC-USDT=1", "--price", "2")
    assert (both.exit_code, "not both" in both.stderr) == (2, True)


def test_a_close_that_loses_more_than_the_margin_says_so(at):
    result = run("whatif", "close", at / "fills.csv", "--price", "80000", "--position", POSITION)
    assert result.exit_code == 1
    assert says(result, "This loses 10000 USDT beyond the margin: before that price a liquidation")
