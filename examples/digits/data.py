"""Writes the digits example's data: two states of the history and recorded traffic, as CSV files.

The scans are scikit-learn's copy of the UCI "Optical Recognition of Handwritten Digits" test set: 1,797 real
scans, no download. The same bytes on every machine.

    python examples/digits/data.py FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

SEED = 20240229
FIRST_ROWS = 300  # what the first champion is trained on: few, so that more data visibly helps
TRAFFIC_ROWS = 500
HEADER = ",".join([*(f"pixel_{index}" for index in range(64)), "label"])


def write(folder: Path) -> dict[str, Path]:
    """Write the data below `folder`.

    Returns:
        three folders: `history-1` (the first data commit, 300 rows), `history-2` (the second: all history, the
        first file unchanged, 1,297 rows) and `traffic` (500 recorded requests with the digit that a person read;
        in no history).
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    table = np.column_stack([pixels, labels]).astype("int64")
    table = table[np.random.default_rng(SEED).permutation(len(table))]
    traffic, history = table[:TRAFFIC_ROWS], table[TRAFFIC_ROWS:]
    first, later = history[:FIRST_ROWS], history[FIRST_ROWS:]
    folders = {name: folder / name for name in ("history-1", "history-2", "traffic")}
    _csv(folders["history-1"] / "digits-1.csv", first)
    _csv(folders["history-2"] / "digits-1.csv", first)
    _csv(folders["history-2"] / "digits-2.csv", later)
    _csv(folders["traffic"] / "requests.csv", traffic)
    return folders


def _csv(path: Path, table: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, table, fmt="%d", delimiter=",", header=HEADER, comments="")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the digits example's data.")
    parser.add_argument("folder", type=Path, help="where the three folders go")
    for name, path in write(parser.parse_args().folder).items():
        print(f"{name}: {path}")
