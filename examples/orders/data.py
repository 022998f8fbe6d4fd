"""Generates the orders example's data: a CSV file as an office writes it.

Semicolons, a byte-order mark, decimal commas, empty cells; one kind of customer is so rare that a split of the rows may
leave it out of training. The same for the same arguments.

    python examples/orders/data.py FOLDER --rows 3000 --seed 1
"""

from __future__ import annotations

import argparse
import csv
from datetime import date, timedelta
from pathlib import Path

import numpy as np

HEADER = ("ordered", "due", "customer", "amount", "weight", "earlier_orders", "late", "remark")
CUSTOMERS = ("shipyard", "yacht owner", "fishery", "school")


def generate(rows: int, seed: int) -> list[tuple[str, ...]]:
    """Return `rows` orders in the order of `HEADER`, as texts."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(rows):
        ordered = date(2024, 1, 1) + timedelta(days=int(random.integers(0, 700)))
        to_pay = int(random.choice([14, 30, 60]))
        customer = str(random.choice(CUSTOMERS, p=(0.4, 0.35, 0.2, 0.05)))
        if random.random() < 0.002:
            customer = f"museum {random.integers(0, 1000)}"
        amount, weight = random.lognormal(5, 1), random.gamma(2, 20)
        earlier = int(random.poisson(4))
        score = (
            0.9 * (customer == "yacht owner") - 0.8 * (customer == "shipyard") + 0.5 * np.log(amount / 150)
        )
        score += 0.03 * (to_pay - 30) - 0.25 * (earlier - 4) + 0.5 * (ordered.weekday() >= 5) - 0.5
        late = random.random() < 1 / (1 + np.exp(-2 * score))

        def cell(text: str, missing: float) -> str:
            return "" if random.random() < missing else text

        made.append(
            (
                ordered.isoformat(),
                (ordered + timedelta(days=to_pay)).isoformat(),
                cell(customer, 0.05),
                cell(f"{amount:.2f}".replace(".", ","), 0.08),
                cell(f"{weight:.1f}".replace(".", ","), 0.15),
                cell(str(earlier), 0.05),
                "yes" if late else "no",
                "urgent; by hand" if random.random() < 0.1 else "",
            )
        )
    return made


def write(folder: Path, rows: int = 3000, seed: int = 1) -> Path:
    """Write `orders.csv` to `folder`; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "orders.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as out:
        writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
        writer.writerow(HEADER)
        writer.writerows(generate(rows, seed))
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Generate the orders example's data.")
    parser.add_argument("folder", type=Path, help="where orders.csv goes")
    parser.add_argument("--rows", type=int, default=3000, help="number of orders")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generator")
    options = parser.parse_args()
    print(write(options.folder, options.rows, options.seed))
