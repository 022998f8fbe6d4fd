"""Generates the news example's data: short texts of four sections, as one CSV file.

The texts are made up, the same for the same arguments. Some words of each section are rare, so that any split of the
rows leaves words that training has not seen.

    python examples/news/data.py FOLDER --rows 2000 --seed 1
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

SUBJECTS = {
    "harbour": ["ferry", "crane", "pilot", "tug", "captain", "container", "crew", "anchor"],
    "sport": ["striker", "goalkeeper", "referee", "sprinter", "coach", "rower", "team", "champion"],
    "weather": ["storm", "fog", "frost", "sunshine", "wind", "rain", "thaw", "drizzle"],
    "markets": ["shares", "bond", "dollar", "investor", "profit", "bank", "dividend", "merger"],
}
VERBS = {
    "harbour": ["docks", "loads", "sails", "moors", "unloads", "leaves"],
    "sport": ["scores", "wins", "trains", "loses", "equalises", "retires"],
    "weather": ["sweeps", "clears", "lingers", "returns", "eases", "threatens"],
    "markets": ["rises", "falls", "recovers", "slips", "rallies", "stalls"],
}
COMMON = [
    "the",
    "a",
    "in",
    "after",
    "before",
    "near",
    "with",
    "this",
    "late",
    "early",
    "again",
    "new",
    "old",
    "first",
]
PLACES = ["Kiel", "Hamburg", "Oslo", "Gdansk", "Rostock", "Malmö", "Århus", "Turku"]


def generate(rows: int, seed: int) -> list[tuple[str, str]]:
    """Return `rows` texts with their section."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(rows):
        section = str(random.choice(list(SUBJECTS)))
        subject, verb = random.choice(SUBJECTS[section]), random.choice(VERBS[section])
        filler = list(random.choice(COMMON, size=int(random.integers(2, 9))))
        rare = f"{section[:3]}{random.integers(0, 3 * rows)}"  # a name that hardly any other text has
        text = f"{filler[0]} {subject} {verb} {' '.join(filler[1:])} {random.choice(PLACES)}, {rare}.".capitalize()
        if random.random() < 0.1:  # a word of another section, as in any newspaper
            text += f" The {random.choice(SUBJECTS[str(random.choice(list(SUBJECTS)))])} waits."
        made.append((text, section))
    return made


def write(folder: Path, rows: int = 2000, seed: int = 1) -> Path:
    """Write `news.csv` to `folder`; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "news.csv"
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("text", "section"))
        writer.writerows(generate(rows, seed))
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Generate the news example's data.")
    parser.add_argument("folder", type=Path, help="where news.csv goes")
    parser.add_argument("--rows", type=int, default=2000, help="number of texts")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generator")
    options = parser.parse_args()
    print(write(options.folder, options.rows, options.seed))
