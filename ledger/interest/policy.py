"""How interest is charged: each exchange's way as data, and ways of one's own from a TOML file."""

import tomllib
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, get_args

import polars as pl
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    ValidationError,
    field_validator,
    model_validator,
)

from ledger.refusals import REFUSAL_SCHEMA, BadInput, PolicyError, refuse_file

SHIPPED = "policies.toml"
_MODEL_ERROR = "value_error"

Grid = Literal["on_the_hour", "first_hour_at_borrow", "part_hour_rounds_up", "rollover"]
Period = Literal[1, 2, 3, 4, 6, 8, 12, 24]
PERIODS = get_args(Period)
"""Hours there can be between charges."""
Rounding = Literal["up", "down", "half_up", "half_even"]


class InterestPolicy(BaseModel):
    """One way to charge interest (rules.md 3). Fields are those of the TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="", exclude=True, description="Name of the table in the file.")
    grid: Grid = Field(
        description="When: on_the_hour (each full UTC hour), first_hour_at_borrow (at once for what is borrowed, then"
        " each full hour), part_hour_rounds_up (each hour begun since the borrowing), rollover (each period completed"
        " since the borrowing)."
    )
    compounding: StrictBool = Field(description="Whether interest is charged on interest that was charged before.")
    rounding: Rounding = Field(description="How a charge is rounded: up, down, half_up or half_even.")
    decimals: Annotated[StrictInt, Field(ge=4, le=18)] = Field(description="Decimals of a charge, 4 to 18.")
    source: str = Field(min_length=1, description="Where this is stated.")
    period_hours: Period = Field(default=1, description="Hours between charges.")
    opening_fee: Annotated[Decimal, Field(ge=0, lt=1, decimal_places=18)] = Field(
        default=Decimal(0), description="Share of what is borrowed that is charged at once."
    )
    rate_of: Literal["charge", "borrowing"] = Field(
        default="charge", description="Whose moment decides the rate: the charge's, or that of the borrowing."
    )
    same_moment: Literal["charge_first", "events_first"] = Field(
        default="charge_first",
        description="Order of a charge and an event at the same moment: a loan repaid on the hour is charged, or not.",
    )

    @field_validator("period_hours", mode="before")
    @classmethod
    def _is_a_whole_number(cls, value: object) -> object:
        if type(value) is not int:
            raise ValueError("give a whole number of hours")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "InterestPolicy":
        if self.charges_first_period and self.period_hours != 1:
            raise ValueError(f"grid {self.grid} counts hours: leave out period_hours")
        return self

    @property
    def charges_first_period(self) -> bool:
        """True where what is borrowed is charged for its first hour at once."""
        return self.grid in ("first_hour_at_borrow", "part_hour_rounds_up")

    @property
    def charges_at_borrowing(self) -> bool:
        """True where a borrowing is charged at once, by an hour's interest or a fee."""
        return self.charges_first_period or self.opening_fee > 0

    @property
    def counts_from_borrowing(self) -> bool:
        """True where periods are counted from the borrowing and not on the clock."""
        return self.grid in ("part_hour_rounds_up", "rollover")

    def rows(self) -> list[dict[str, str]]:
        """One row per field: name, value, description, source."""
        return [
            {
                "name": f"interest.{field}",
                "value": str(getattr(self, field)),
                "description": str(about.description),
                "source": f"interest policy {self.name}",
            }
            for field, about in type(self).model_fields.items()
            if field not in ("name", "source")
        ]


def shipped_policies() -> dict[str, InterestPolicy]:
    """The policies that come with the package, by name."""
    return read_policies((files("ledger.interest") / SHIPPED).read_text(), SHIPPED)


def find_policy(choice: str) -> InterestPolicy:
    """A shipped policy by name; or from a TOML file, `FILE.toml` with one policy or `FILE.toml:NAME`.

    Raises PolicyError for a name that does not exist, BadInput that lists all that is wrong with a file.
    """
    file, dot, name = choice.rpartition(".toml")
    if not dot or (name and not name.startswith(":")):
        return _named(shipped_policies(), choice, "shipped policies")
    path = Path(file + ".toml")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise refuse_file(str(path), "The file does not exist.", "Check its name.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise refuse_file(str(path), f"The file cannot be read: {error}.", "Save it as text in UTF-8.") from error
    found = read_policies(text, str(path))
    if name.startswith(":"):
        return _named(found, name[1:], str(path))
    if len(found) != 1:
        raise PolicyError([f"{path} has {len(found)} policies: write {path}:NAME with one of {', '.join(found)}"])
    return next(iter(found.values()))


def read_policies(text: str, file: str) -> dict[str, InterestPolicy]:
    """The policies of a TOML text; raises BadInput with one refusal for everything that is wrong in it."""
    try:
        tables = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise refuse_file(file, f"The file is not TOML: {error}.", "Write tables of NAME = value.") from error
    found: dict[str, InterestPolicy] = {}
    problems: list[tuple[object, ...]] = []
    for name, fields in tables.items():
        if not isinstance(fields, dict):
            problems.append((file, None, name, str(fields), "A policy is a table.", f"Put it under [{name}] ..."))
            continue
        if "name" in fields:
            problems.append((file, None, f"{name}.name", str(fields["name"]), "The field is not known.", _REMEDY))
            continue
        try:
            found[name] = InterestPolicy(**{**fields, "name": name})
        except ValidationError as error:
            problems += [_problem(file, name, dict(detail)) for detail in error.errors()]
    if not tables:
        problems.append((file, None, None, None, "The file has no policy.", "Add a table such as [desk]."))
    if problems:
        raise BadInput(_refusals(problems))
    return found


def _problem(file: str, name: str, detail: dict[str, object]) -> tuple[object, ...]:
    place = detail["loc"]
    field = ".".join(str(part) for part in place) if isinstance(place, tuple) else ""
    value = None if detail["type"] in ("missing", _MODEL_ERROR) else str(detail["input"])
    if detail["type"] == "extra_forbidden":
        return (file, None, f"{name}.{field}", value, "The field is not known.", _REMEDY)
    if detail["type"] == "missing":
        return (file, None, f"{name}.{field}", None, "The field is required.", "Add it.")
    column = f"{name}.{field}" if field else name
    rule = str(detail["msg"]).removeprefix("Value error, ")
    return (file, None, column, value, f"{rule[:1].upper()}{rule[1:]}.", "Mend it; the README lists every field.")


_REMEDY = f"Choose from: {', '.join(key for key in InterestPolicy.model_fields if key != 'name')}."


def _refusals(problems: list[tuple[object, ...]]) -> pl.DataFrame:
    return pl.DataFrame(problems, schema=REFUSAL_SCHEMA, orient="row")


def _named(found: dict[str, InterestPolicy], name: str, where: str) -> InterestPolicy:
    if name not in found:
        raise PolicyError([f"interest policy {name}: not among the {where}: {', '.join(found)}"])
    return found[name]
