"""Generates the departures example's data: bookings and what came of them, as CSV files.

The data is made up, the same for the same arguments. `drift` turns the world: 0 is the world of the history, 1 one
where people book late, stay at home in bad weather and a new ship sails one route, so that an old model is off.

    python examples/departures/data.py FOLDER --rows 4000 --seed 1 --drift 0.0
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

ROUTES = ("HAM-OSL", "HAM-GOT", "KEL-OSL", "KEL-GOT", "RST-TRE")
WEATHER = ("calm", "rain", "storm")
CAPACITY = np.array([420, 360, 300, 300, 240])
POPULARITY = np.array([0.82, 0.74, 0.66, 0.58, 0.50])  # mean share of seats taken
NO_SHOW = np.array([0.03, 0.06, 0.20])  # by weather
HEADER = ("route", "weekday", "hour", "days_ahead", "bookings", "capacity", "weather", "passengers")


def generate(rows: int, seed: int, drift: float = 0.0) -> list[tuple[object, ...]]:
    """Return `rows` departures in the order of `HEADER`.

    Args:
        rows: how many.
        seed: seed of the generator.
        drift: how far the world has moved, 0 to 1.
    """
    if not 0 <= drift <= 1:
        raise ValueError(f"drift is {drift}: it lies between 0 and 1")
    random = np.random.default_rng(seed)
    route = random.integers(0, len(ROUTES), rows)
    weekday, hour = random.integers(0, 7, rows), random.integers(5, 24, rows)
    days_ahead = random.integers(0, 61, rows)
    weather = random.choice(len(WEATHER), rows, p=(0.6, 0.3, 0.1))
    capacity = CAPACITY[route] + np.where(route == 2, round(120 * drift), 0)

    weekend = np.where(weekday >= 4, 0.12, 0.0)
    commute = 0.08 * np.exp(-(((hour - 17) / 3) ** 2))
    share = np.clip(POPULARITY[route] + weekend + commute + random.normal(0, 0.05, rows), 0.05, 1.0)
    demand = random.binomial(capacity, share)
    # Bookings come in over time; with drift people decide later.
    booked = np.exp(-days_ahead / (18 - 8 * drift))
    bookings = random.binomial(demand, booked)
    no_show = np.clip(NO_SHOW[weather] * (1 + drift * weather), 0, 0.9)
    passengers = random.binomial(demand, 1 - no_show)
    return list(
        zip(
            (ROUTES[i] for i in route),
            weekday.tolist(),
            hour.tolist(),
            days_ahead.tolist(),
            bookings.tolist(),
            capacity.tolist(),
            (WEATHER[i] for i in weather),
            passengers.tolist(),
            strict=True,
        )
    )


def write(folder: Path, rows: int = 4000, seed: int = 1, drift: float = 0.0) -> Path:
    """Write `departures.csv` to `folder`; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "departures.csv"
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(generate(rows, seed, drift))
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Generate the departures example's data.")
    parser.add_argument("folder", type=Path, help="where departures.csv goes")
    parser.add_argument("--rows", type=int, default=4000, help="number of departures")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generator")
    parser.add_argument("--drift", type=float, default=0.0, help="how far the world has moved, 0 to 1")
    options = parser.parse_args()
    print(write(options.folder, options.rows, options.seed, options.drift))
