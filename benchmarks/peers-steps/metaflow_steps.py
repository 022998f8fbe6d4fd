"""Ten empty steps in a row for Metaflow; each appends the time at which its body runs to the file `$STAMPS`."""

import os
import time

from metaflow import FlowSpec, step


def stamp() -> None:
    """Append the time."""
    with open(os.environ["STAMPS"], "a") as file:
        file.write(f"{time.time()}\n")


class TenSteps(FlowSpec):
    """Metaflow reads the steps from the source, so each is written out."""

    @step
    def start(self):
        """1."""
        stamp()
        self.next(self.two)

    @step
    def two(self):
        """2."""
        stamp()
        self.next(self.three)

    @step
    def three(self):
        """3."""
        stamp()
        self.next(self.four)

    @step
    def four(self):
        """4."""
        stamp()
        self.next(self.five)

    @step
    def five(self):
        """5."""
        stamp()
        self.next(self.six)

    @step
    def six(self):
        """6."""
        stamp()
        self.next(self.seven)

    @step
    def seven(self):
        """7."""
        stamp()
        self.next(self.eight)

    @step
    def eight(self):
        """8."""
        stamp()
        self.next(self.nine)

    @step
    def nine(self):
        """9."""
        stamp()
        self.next(self.end)

    @step
    def end(self):
        """10."""
        stamp()


if __name__ == "__main__":
    TenSteps()
