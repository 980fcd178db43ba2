"""What reconciling bills is measured against: a floor, and a plain Python loop that keeps balances and nothing else.

`python -m bench.bill_loops floor|loop BILLS TARGET` prints what it took as JSON.
"""

import csv
import json
import sys
import time
from decimal import Decimal
from pathlib import Path


def floor(bills: Path, target: Path) -> dict[str, float]:
    """Polars reads the same columns, amounts as decimals, and writes them as Parquet."""
    import polars as pl

    from bench.bills import AMOUNTS, BILLS
    from bench.peers import COMPRESSION
    from ledger.money import MONEY

    read = pl.scan_csv(bills, schema=dict.fromkeys(BILLS, pl.String))
    typed = read.with_columns(pl.col(AMOUNTS).replace("", None).cast(MONEY), pl.col("ts").cast(pl.Int64)).collect()
    typed.write_parquet(target / "bills.parquet", compression=COMPRESSION)
    return {"bills": typed.height}


def loop(bills: Path, target: Path) -> dict[str, float]:
    """The balance of every position in every currency, held against the one that the newest bill states.

    Raises ValueError where they differ: then the file is wrong.
    """
    del target
    started = time.perf_counter()
    balances: dict[tuple[str, str], Decimal] = {}
    stated: dict[tuple[str, str], str] = {}
    count = 0
    with bills.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            place = row["instId"], row["ccy"]
            balances[place] = balances.get(place, Decimal(0)) + Decimal(row["posBalChg"])
            stated.setdefault(place, row["posBal"])  # the newest is the first
            count += 1
    for place, balance in balances.items():
        if balance != Decimal(stated[place]):
            raise ValueError(f"{place}: {balance} is not {stated[place]}")
    return {"bills": count, "balances": len(balances), "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    print(json.dumps({"floor": floor, "loop": loop}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))))
