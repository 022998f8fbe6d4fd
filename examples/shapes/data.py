"""Generates the shapes example's data: circles, squares and crosses on noise, as one file of arrays.

python examples/shapes/data.py FOLDER --rows 1200 --seed 1
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

SIDE = 24
FIGURES = ("circle", "square", "cross")


def generate(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (rows, 24, 24), uint8, and the figure on each."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    images, figures = np.empty((rows, SIDE, SIDE), "uint8"), random.choice(FIGURES, size=rows)
    for row, figure in enumerate(figures):
        radius = random.uniform(4, 8)
        dx, dy = x - random.uniform(9, 15), y - random.uniform(9, 15)
        if figure == "circle":
            drawn = np.abs(np.hypot(dx, dy) - radius) < 1.2
        elif figure == "square":
            drawn = np.abs(np.maximum(np.abs(dx), np.abs(dy)) - radius) < 1.2
        else:
            drawn = (np.abs(np.abs(dx) - np.abs(dy)) < 1.5) & (np.abs(dx) < radius)
        image = 60 + 25 * random.standard_normal((SIDE, SIDE)) + random.uniform(70, 150) * drawn
        images[row] = np.clip(image, 0, 255)
    return images, figures


def write(folder: Path, rows: int = 1200, seed: int = 1) -> Path:
    """Write `shapes.npz` to `folder`; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "shapes.npz"
    images, figures = generate(rows, seed)
    np.savez_compressed(path, image=images, figure=figures)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Generate the shapes example's data.")
    parser.add_argument("folder", type=Path, help="where shapes.npz goes")
    parser.add_argument("--rows", type=int, default=1200, help="number of images")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generator")
    options = parser.parse_args()
    print(write(options.folder, options.rows, options.seed))
