"""What the README claims: its tables are those of the code, its example of the library runs.

`python tests/test_readme.py` writes the tables into the README.
"""

import dataclasses
import re
from pathlib import Path

import openpyxl
import pytest

import ledger
from ledger.checks import DESCRIPTIONS
from ledger.columns import DISPLAY, EVENTS, MEASURES
from ledger.derivatives.columns import CONTRACTS, DERIVATIVE_EVENTS, DERIVATIVE_FIGURES, DERIVATIVE_MEASURES
from ledger.interest.causes import CAUSES
from ledger.interest.columns import RATES
from ledger.interest.policy import InterestPolicy, shipped_policies
from ledger.policies import Policies
from ledger.reconciliation.columns import CAUSES as BREAK_CAUSES
from ledger.risk.columns import TIERS
from ledger.risk.policies import RiskPolicies
from ledger.statements.layouts import LAYOUTS
from reports.cells.formulas import in_words
from reports.sheets.about import SHEETS

README = Path(__file__).parents[1] / "README.md"


def table(*rows):
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))


def events():
    return registered(EVENTS)


def measures():
    return table(
        ("measure", "unit", "meaning", "formula", "source"),
        *(
            (f"`{column.name}`", column.unit, column.description, f"`{in_words(column)}`", column.source)
            for column in (*DISPLAY, *MEASURES)
        ),
    )


def policies(kind=Policies):
    rows = {row["name"]: row for row in kind().rows()}
    return table(
        ("policy", "default", "choices", "meaning", "source"),
        *(
            (f"`{field.name}`", f"`{rows[field.name]['value']}`", choices(field), row["description"], row["source"])
            for field in dataclasses.fields(kind)
            for row in [rows[field.name]]
        ),
    )


def registered(columns):
    return table(
        ("column", "unit", "meaning"), *((f"`{column.name}`", column.unit, column.description) for column in columns)
    )


def derivative_measures():
    columns = (*DERIVATIVE_FIGURES, *DERIVATIVE_MEASURES)
    return table(
        ("measure", "unit", "meaning", "source"),
        *((f"`{column.name}`", column.unit, column.description, column.source) for column in columns),
    )


def choices(field):
    given = re.findall(r"'(\w+)'", str(field.type))
    return ", ".join(f"`{choice}`" for choice in given) or "a number"


def checks():
    return table(("check", "what must hold"), *((f"`{name}`", text) for name, text in DESCRIPTIONS.items()))


def rates():
    return registered(RATES)


def interest_policies():
    names = [name for name in InterestPolicy.model_fields if name not in ("name", "source")]
    shipped = shipped_policies()
    rows = [(f"`{name}`", *(f"`{value(getattr(policy, name))}`" for policy in shipped.values())) for name in names]
    sources = ("source", *(policy.source for policy in shipped.values()))
    return table(("field", *(f"`{name}`" for name in shipped)), *rows, sources)


def value(field):
    return {True: "yes", False: "no"}.get(field, field) if isinstance(field, bool) else field


def interest_fields():
    fields = {name: field for name, field in InterestPolicy.model_fields.items() if name != "name"}
    return table(
        ("field", "meaning", "default"),
        *(
            (f"`{name}`", field.description, "required" if field.is_required() else f"`{field.default}`")
            for name, field in fields.items()
        ),
    )


def causes():
    return table(("cause", "what it means"), *((f"`{name}`", text) for name, text in CAUSES.items()))


def break_causes():
    return table(("cause", "what it means"), *((f"`{name}`", text) for name, text in BREAK_CAUSES.items()))


def layouts():
    known = {layout.name: layout.title for layout in reversed(LAYOUTS)}
    return table(("layout", "what it is"), *((f"`{name}`", title) for name, title in reversed(known.items())))


def sheets():
    samples = README.parent / "reports" / "samples"
    books = ("spot-margin-reconciliation.xlsx", "risk/spot-margin-risk.xlsx")
    named = [openpyxl.load_workbook(samples / book, read_only=True).sheetnames for book in books]
    first, second = ([name for name in names if name in SHEETS] for names in named)
    of_risk = [name for name in second if name not in first]
    sometimes = [name for name in SHEETS if name not in (*first, *of_risk)]
    return table(
        ("sheet", "what it shows"),
        *((name, SHEETS[name]) for name in first),
        *((f"{name} (`risk`)", SHEETS[name]) for name in of_risk),
        *((f"{name} (where there are any)", SHEETS[name]) for name in sometimes),
    )


TABLES = {
    "sheets": sheets,
    "events": events,
    "measures": measures,
    "policies": policies,
    "checks": checks,
    "rates": rates,
    "interest-policies": interest_policies,
    "interest-fields": interest_fields,
    "causes": causes,
    "break-causes": break_causes,
    "layouts": layouts,
    "tiers": lambda: registered(TIERS),
    "risk-policies": lambda: policies(RiskPolicies),
    "contracts": lambda: registered(CONTRACTS),
    "derivative-events": lambda: registered(DERIVATIVE_EVENTS),
    "derivative-measures": derivative_measures,
}


def between(name, text):
    return re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->", text, re.DOTALL)


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_are_those_of_the_code(name):
    assert between(name, README.read_text()).group(1).strip() == TABLES[name](), "run python tests/test_readme.py"


def test_the_library_example_runs(tmp_path, monkeypatch):
    demo = README.parent / "fixtures" / "demo"
    for name in ("events.csv", "marks.csv"):
        (tmp_path / name).write_bytes((demo / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL).group(1)
    names = {}
    exec(code, names)
    assert names["book"].checks["failures"].sum() == 0
    assert isinstance(names["book"], ledger.Book)


def test_every_file_the_readme_names_exists():
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target


if __name__ == "__main__":
    text = README.read_text()
    for name, write in TABLES.items():
        block = between(name, text)
        text = text[: block.start(1)] + write() + "\n" + text[block.end(1) :]
    README.write_text(text)
