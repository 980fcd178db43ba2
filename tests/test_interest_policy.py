"""Interest policies: those that are shipped, those of a user, and what is said of a file that is no policy."""

from decimal import Decimal
from fractions import Fraction

import interest_oracle
import polars as pl
import pytest
from click.testing import CliRunner
from exact import event
from hypothesis import given, settings
from hypothesis import strategies as st
from interest_tables import HOUR, START, accrued_book, checked, files, frames_in, policy, rate
from oracle import UNITS

from ledger import BadInput, PolicyError
from ledger.interest.charging import charge_on
from ledger.interest.policy import InterestPolicy, find_policy, read_policies, shipped_policies
from reports.command_line import main

DESK = {"grid": '"on_the_hour"', "compounding": "true", "rounding": '"up"', "decimals": "8", "source": '"our desk"'}
NEEDED = tuple(DESK)


def toml(name="desk", **changes):
    """The text of a table; a field that is None is left out."""
    fields = {field: value for field, value in {**DESK, **changes}.items() if value is not None}
    return f"[{name}]\n" + "".join(f"{field} = {value}\n" for field, value in fields.items())


# The shipped file


def test_shipped_policies():
    found = {name: (policy.grid, policy.compounding, policy.rounding, policy.decimals, policy.period_hours)
             for name, policy in shipped_policies().items()}  # fmt: skip
    assert found == {
        "okx": ("on_the_hour", True, "up", 16, 1),
        "binance_isolated": ("first_hour_at_borrow", False, "up", 8, 1),
        "bitget": ("part_hour_rounds_up", False, "half_up", 8, 1),
        "kraken": ("rollover", False, "half_up", 10, 4),
    }
    assert (found := shipped_policies()["kraken"]).rate_of == "borrowing"
    assert found.opening_fee == Decimal("0.0002")


def test_every_shipped_policy_says_how_sure_each_part_is():
    for each in shipped_policies().values():
        assert any(mark in each.source for mark in ("[O]", "[V]", "[?]")), each.name
        assert find_policy(each.name) == each


# A file of one's own


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"opening_fee": "0.0005"}, "opening_fee", Decimal("0.0005")),
        ({"opening_fee": "0.0"}, "opening_fee", Decimal(0)),
        ({"opening_fee": "0"}, "opening_fee", Decimal(0)),
        ({"opening_fee": "0.999999999999999999"}, "opening_fee", Decimal("0.999999999999999999")),
        ({"opening_fee": "1e-18"}, "opening_fee", Decimal("1e-18")),
        ({"period_hours": "4"}, "period_hours", 4),
        ({"decimals": "4"}, "decimals", 4),
        ({"decimals": "18"}, "decimals", 18),
        ({"rounding": '"half_even"'}, "rounding", "half_even"),
        ({"rate_of": '"borrowing"'}, "rate_of", "borrowing"),
        ({"same_moment": '"events_first"'}, "same_moment", "events_first"),
        ({"grid": '"rollover"', "period_hours": "24"}, "period_hours", 24),
    ],
    ids=str,
)
def test_a_field_is_read(changes, field, value, tmp_path):
    path = tmp_path / "desk.toml"
    path.write_text(toml(**changes), encoding="utf-8")
    found = find_policy(str(path))
    assert (getattr(found, field), found.name, found.source) == (value, "desk", "our desk")


def test_fields_that_are_left_out_have_their_default():
    found = read_policies(toml(), "desk.toml")["desk"]
    others = {name for name in InterestPolicy.model_fields if name not in (*NEEDED, "name")}
    assert {name: getattr(found, name) for name in others} == {
        "period_hours": 1,
        "opening_fee": 0,
        "rate_of": "charge",
        "same_moment": "charge_first",
    }


def test_one_of_several_policies_is_chosen_by_name(tmp_path):
    path = tmp_path / "desk.toml"
    path.write_text(toml("first") + toml("second", decimals="6"), encoding="utf-8")
    assert find_policy(f"{path}:second").decimals == 6
    assert find_policy(f"{path}:first").decimals == 8


WRONG = {
    "an unknown field": (toml(gird='"on_the_hour"'), "desk.gird", "not known"),
    "a name beside that of the table": (toml() + 'name = "x"\n', "desk.name", "not known"),
    "an unknown grid": (toml(grid='"hourly"'), "desk.grid", "on_the_hour"),
    "an unknown rounding": (toml(rounding='"nearest"'), "desk.rounding", "half_even"),
    "an unknown rate_of": (toml(rate_of='"opening"'), "desk.rate_of", "borrowing"),
    "an unknown same_moment": (toml(same_moment='"both"'), "desk.same_moment", "events_first"),
    "too many decimals": (toml(decimals="19"), "desk.decimals", "18"),
    "too few decimals": (toml(decimals="3"), "desk.decimals", "4"),
    "half a decimal": (toml(decimals="8.5"), "desk.decimals", "integer"),
    "decimals as a word": (toml(decimals='"many"'), "desk.decimals", "integer"),
    "decimals as a list": (toml(decimals="[8]"), "desk.decimals", "integer"),
    "a period that does not divide a day": (toml(period_hours="5"), "desk.period_hours", "24"),
    "a period of nothing": (toml(period_hours="0"), "desk.period_hours", "24"),
    "a period below zero": (toml(period_hours="-1"), "desk.period_hours", "24"),
    "true as a period": (toml(period_hours="true"), "desk.period_hours", ""),
    "compounding as a word": (toml(compounding='"perhaps"'), "desk.compounding", "boolean"),
    "a fee of all that is borrowed": (toml(opening_fee="1"), "desk.opening_fee", ""),
    "a fee below zero": (toml(opening_fee="-0.1"), "desk.opening_fee", "greater than or equal"),
    "a fee that is no number": (toml(opening_fee="nan"), "desk.opening_fee", "finite"),
    "a fee without end": (toml(opening_fee="inf"), "desk.opening_fee", "finite"),
    "a fee with 19 decimals": (toml(opening_fee="0.0000000000000000001"), "desk.opening_fee", "18"),
    "an empty source": (toml(source='""'), "desk.source", "at least 1"),
    "hours that the grid counts itself": (toml(grid='"part_hour_rounds_up"', period_hours="4"), "desk", "leave out"),
    "first hours of four": (toml(grid='"first_hour_at_borrow"', period_hours="4"), "desk", "leave out"),
    "no table": ('grid = "on_the_hour"\n', "grid", "is a table"),
    "a list of tables": ("[[desk]]\n" + toml().split("\n", 1)[1], "desk", "is a table"),
    "no policy": ("# nothing yet\n", None, "no policy"),
    "no TOML": ("[desk\n", None, "not TOML"),
    "a field twice": (toml() + "decimals = 8\n", None, "not TOML"),
    **{f"no {field}": (toml(**{field: None}), f"desk.{field}", "required") for field in NEEDED},
}  # fmt: skip


@pytest.mark.parametrize(("text", "column", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_refused_with_the_place(text, column, words, tmp_path):
    path = tmp_path / "desk.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        find_policy(str(path))
    row = refused.value.refusals.row(0, named=True)
    assert (row["file"], row["column"]) == (str(path), column)
    assert words in row["rule"]
    assert row["remedy"]


def test_everything_that_is_wrong_is_listed():
    text = toml("one", grid='"hourly"', decimals="40") + toml("two", source=None, gird="1") + "\n[three]\n"
    with pytest.raises(BadInput) as refused:
        read_policies(text, "desk.toml")
    places = set(refused.value.refusals["column"])
    assert {"one.grid", "one.decimals", "two.source", "two.gird"} <= places
    assert {f"three.{field}" for field in NEEDED} <= places


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(BadInput) as refused:
        find_policy(str(tmp_path / "none.toml"))
    assert "does not exist" in refused.value.refusals["rule"][0]
    for content in (toml().encode("utf-16"), b"\xff\xfe\xfa"):
        (tmp_path / "other.toml").write_bytes(content)
        with pytest.raises(BadInput) as refused:
            find_policy(str(tmp_path / "other.toml"))
        assert "cannot be read" in refused.value.refusals["rule"][0]
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(BadInput):
        find_policy(str(tmp_path / "folder.toml"))


@pytest.mark.parametrize("ending", ["", ":third", ":"])
def test_a_name_that_says_no_policy(ending, tmp_path):
    path = tmp_path / "desk.toml"
    path.write_text(toml("first") + toml("second"), encoding="utf-8")
    with pytest.raises(PolicyError) as refused:
        find_policy(f"{path}{ending}")
    assert "first, second" in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("name", ["OKX", "binance", "", "desk.yaml"])
def test_a_name_that_is_not_shipped(name):
    with pytest.raises(PolicyError) as refused:
        find_policy(name)
    assert "okx, binance_isolated, bitget, kraken" in str(refused.value)


# The command


def accrue(tmp_path, choice):
    events = [
        event(10, side="buy", quantity="1", price="1000", leverage="10"),
        event(200, kind="leverage", leverage="5"),
    ]
    rates = [rate(START, "0.00001", currency="USDT")]
    paths, table = files(tmp_path, events, rates)
    asked = ["interest", "accrue", *paths, "--rates", table, "--interest-policy", choice, "--out", tmp_path / "books"]
    return CliRunner().invoke(main, [str(argument) for argument in [*asked, "--as-at", "2024-01-01T03:20:00Z"]])


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("bybit", "bybit"),
        ("{path}", "2 policies"),
        ("{path}:third", "third"),
        ("{folder}/none.toml", "does not exist"),
        ("{folder}/wrong.toml", "desk.gird"),
        ("{folder}/wrong.toml:desk", "desk.gird"),
        ("{folder}/broken.toml", "not TOML"),
    ],
)
def test_the_command_names_the_place_and_exits_with_2(choice, words, tmp_path):
    (tmp_path / "desk.toml").write_text(toml("first") + toml("second"), encoding="utf-8")
    (tmp_path / "wrong.toml").write_text(toml(gird="1"), encoding="utf-8")
    (tmp_path / "broken.toml").write_text("[desk", encoding="utf-8")
    result = accrue(tmp_path, choice.format(path=tmp_path / "desk.toml", folder=tmp_path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert isinstance(result.exception, SystemExit)
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "books").exists()


@pytest.mark.parametrize(
    ("changes", "computed"),
    [
        ({}, ["0.01", "0.0100001", "0.01000021"]),
        ({"compounding": "false"}, ["0.01", "0.01", "0.01"]),
        ({"decimals": "4"}, ["0.01", "0.0101", "0.0101"]),
        ({"decimals": "4", "rounding": '"down"'}, ["0.01", "0.01", "0.01"]),
        ({"decimals": "6", "rounding": '"half_even"'}, ["0.01", "0.01", "0.01"]),
        ({"period_hours": "2"}, ["0.02"]),
        ({"opening_fee": "0.0005"}, ["0.5", "0.010005", "0.01000511", "0.01000521"]),
        ({"grid": '"first_hour_at_borrow"'}, ["0.01", "0.0100001", "0.01000021", "0.01000031"]),
        ({"grid": '"part_hour_rounds_up"', "compounding": "false"}, ["0.01"] * 4),
        ({"grid": '"rollover"', "compounding": "false", "period_hours": "3"}, ["0.03"]),
    ],
    ids=str,
)
def test_a_policy_of_ones_own_changes_the_charges(changes, computed, tmp_path):
    """1000 USDT from 00:10 to 03:20 at 0.00001 an hour."""
    (tmp_path / "desk.toml").write_text(toml(**changes), encoding="utf-8")
    result = accrue(tmp_path, str(tmp_path / "desk.toml"))
    assert (result.exit_code, result.stderr) == (0, "")
    frames = frames_in(tmp_path / "books")
    assert [Fraction(amount) for amount in frames["interest"]["computed"]] == [Fraction(text) for text in computed]
    parameters = dict(frames["parameters"].select("name", "value").rows())
    assert parameters["interest.policy"] == "desk"
    assert parameters["interest.decimals"] == changes.get("decimals", "8")


def test_an_opening_fee_needs_no_rate():
    """At the fill only the fee is charged; a rate is in force when the first period ends."""
    events = [event(10, side="buy", quantity="1", price="1000", leverage="10")]
    rates = [rate(START + HOUR, "0.00001", currency="USDT")]
    fields = policy("okx", opening_fee="0.0005")
    charges, _ = interest_oracle.accrue(events, rates, fields | {"opening_fee": Fraction("0.0005")}, START + HOUR)
    book = accrued_book(events, rates, fields, START + HOUR)
    assert [Fraction(amount) for amount in book.interest["computed"]] == [charge["computed"] for charge in charges]


# Rounding


def charge(basis, share, hours, fields):
    """The charge on each of these liabilities at one rate of so many hours, as fractions."""
    columns = ([int(amount * UNITS) for amount in amounts] for amounts in (basis, [share] * len(basis)))
    units = [pl.Series(values, dtype=pl.Int128) for values in columns]
    found = charge_on(*units, pl.Series([hours] * len(basis), dtype=pl.Int128), checked(fields))
    return [Fraction(int(amount), UNITS) for amount in found]


ROUNDINGS = ("up", "down", "half_up", "half_even")


@settings(max_examples=150)
@given(
    st.lists(st.integers(0, 10**35).map(lambda units: Fraction(units, UNITS)), min_size=1, max_size=5),
    st.integers(0, UNITS - 1).map(lambda units: Fraction(units, UNITS)),
    st.sampled_from((1, 4, 24, 8760)),
    st.sampled_from(ROUNDINGS),
    st.integers(4, 18),
)
def test_a_charge_is_rounded_once_from_the_exact_value(basis, share, hours, rounding, decimals):
    wanted = [interest_oracle.rounded(amount * share / hours, rounding, decimals) for amount in basis]
    assert charge(basis, share, hours, policy("okx", rounding=rounding, decimals=decimals)) == wanted


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("scale", [1, 10**15], ids=["small", "large"])
def test_a_charge_at_ties(rounding, scale):
    """Halves, thirds and just beside them; of large amounts too, which fit no 128 bits."""
    dust = Fraction(1, UNITS)
    basis = [number + scale + nudge for number in range(8) for nudge in (-dust, Fraction(0), dust)]
    for share, hours in ((Fraction(1, 20_000), 1), (Fraction(1, 10_000), 4), (Fraction(1, 10_000), 24)):
        wanted = [interest_oracle.rounded(amount * share / hours, rounding, 4) for amount in basis]
        assert charge(basis, share, hours, policy("okx", rounding=rounding, decimals=4)) == wanted
