"""What happens in each round, decided beforehand: the same seed and number of rounds give the same sequence."""

from __future__ import annotations

import random
from dataclasses import dataclass

LIFE_EVERY = 20  # rounds from one whole life to the next; it takes as long as ten of the others

# Work -> how often it comes up, and the processes of its own that a kill may hit beside those of the platform.
WORKS: dict[str, tuple[int, tuple[str, ...]]] = {
    "write": (3, ("command",)),
    "commit": (2, ("command", "executor", "step")),
    "checkout": (1, ("command", "executor", "step")),
    "search": (3, ("command", "trial", "experiments")),
    "register": (3, ("command", "mlflow")),
    "aliases": (2, ("command", "mlflow")),
    "release": (3, ("command", "server", "deployments", "gateway")),
    "roll": (3, ("command", "server", "deployments", "gateway")),
    "restart": (1, ("command",)),
    "life": (0, ("command", "executor", "step", "trial", "server")),
}
PLATFORM = ("supervisor", "gateway", "mlflow", "deployments", "experiments", "everything")

# Work -> the systems that stand behind the network in it.
SYSTEMS = {
    "write": ("data",),
    "commit": ("data",),
    "checkout": ("data",),
    "register": ("mlflow",),
    "aliases": ("mlflow",),
    "release": ("gateway",),
    "life": ("mlflow", "gateway"),
}
CUTS = ("refuse", "reset", "hang")
BYTES_LEFT = (0, 4096, 65536, 1 << 20)


@dataclass(frozen=True)
class Round:
    """One round.

    Attributes:
        number: its number, from 1.
        seed: seed of what is written, searched, deployed in it.
        work: what is under way.
        fault: `kill`, `disk` or `cut`.
        target: kind of process, bytes left on the disk, or `system:manner` of the cut.
        moment: when it hits, as a share of the time that the work takes undisturbed.
        seconds: how long a full disk or a cut lasts.
    """

    number: int
    seed: int
    work: str
    fault: str
    target: str
    moment: float
    seconds: float

    def __str__(self) -> str:
        lasts = "" if self.fault == "kill" else f" for {self.seconds:.1f} s"
        return f"{self.work}, {self.fault} {self.target} at {self.moment:.0%}{lasts}"


def plan(seed: int, rounds: int) -> list[Round]:
    """Return the rounds of a seed.

    Args:
        seed: any number.
        rounds: how many.
    """
    dice = random.Random(f"{seed}/{rounds}")
    return [_round(dice, number, rounds) for number in range(1, rounds + 1)]


def _round(dice: random.Random, number: int, rounds: int) -> Round:
    life = number % LIFE_EVERY == min(LIFE_EVERY, rounds) // 2
    work = "life" if life else dice.choices(list(WORKS), [weight for weight, _ in WORKS.values()])[0]
    fault = dice.choices(("kill", "disk", "cut"), (6, 2, 2 if work in SYSTEMS else 0))[0]
    if fault == "kill":
        # Its own processes half of the time: they are where the work is.
        target = dice.choice(WORKS[work][1] if dice.random() < 0.5 else PLATFORM)
    elif fault == "disk":
        target = str(dice.choice(BYTES_LEFT))
    else:
        target = f"{dice.choice(SYSTEMS[work])}:{dice.choice(CUTS)}"
    return Round(
        number=number,
        seed=dice.randrange(1 << 30),
        work=work,
        fault=fault,
        target=target,
        moment=dice.uniform(0.05, 0.95),
        seconds=dice.uniform(0.3, 4.0),
    )
