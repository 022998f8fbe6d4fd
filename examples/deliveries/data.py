"""Generates the deliveries example's data, as one Parquet file. The same for the same arguments.

python examples/deliveries/data.py FOLDER --rows 3000 --seed 1
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

GOODS = {"timber": 1.0, "machine parts": 2.2, "frozen fish": 1.8, "paper rolls": 0.9, "glass fragile": 2.6}
PORTS = {"Oslo": 1.0, "Gdansk": 0.9, "Turku": 1.3, "Riga": 1.1, "Ystad": 0.8}


def generate(rows: int, seed: int) -> dict[str, Any]:
    """Return the columns of `rows` deliveries."""
    random = np.random.default_rng(seed)
    goods, port = random.choice(list(GOODS), size=rows), random.choice(list(PORTS), size=rows)
    distance, weight = random.uniform(50, 900, rows), random.gamma(2, 4, rows) + 0.5
    dear = np.array([GOODS[str(name)] for name in goods])
    slow = np.array([PORTS[str(name)] for name in port])
    price = (80 + 0.4 * distance) * dear * np.sqrt(weight) * np.exp(0.05 * random.standard_normal(rows))
    days = (1 + distance / 180) * slow * np.exp(0.05 * random.standard_normal(rows))
    return {
        "goods": goods,
        "port": port,
        "distance": distance,
        "weight": weight,
        "price": price,
        "days": days,
    }


def write(folder: Path, rows: int = 3000, seed: int = 1) -> Path:
    """Write `deliveries.parquet` to `folder`; return its path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "deliveries.parquet"
    pq.write_table(pa.table(generate(rows, seed)), path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Generate the deliveries example's data.")
    parser.add_argument("folder", type=Path, help="where deliveries.parquet goes")
    parser.add_argument("--rows", type=int, default=3000, help="number of deliveries")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generator")
    options = parser.parse_args()
    print(write(options.folder, options.rows, options.seed))
