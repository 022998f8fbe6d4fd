"""Ten empty steps in a row for ZenML; each appends the time at which its body runs to the file `$STAMPS`."""

import os
import time

from zenml import pipeline, step


@step(enable_cache=False)
def do_nothing() -> None:
    """Append the time."""
    with open(os.environ["STAMPS"], "a") as file:
        file.write(f"{time.time()}\n")


@pipeline(enable_cache=False)
def ten_steps() -> None:
    """One after the other."""
    before: list[str] = []
    for number in range(10):
        name = f"step_{number}"
        do_nothing(id=name, after=before)
        before = [name]


if __name__ == "__main__":
    ten_steps()
