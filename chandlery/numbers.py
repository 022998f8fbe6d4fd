"""Whole numbers that arrive as floats: KFP and mixed arrays have one kind of number."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def whole(value: T) -> T | int:
    """Return a float that is a whole number as an int, any other value as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
