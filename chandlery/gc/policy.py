"""How old and how many: what a person may choose."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from chandlery.errors import UserError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGE = re.compile(r"(\d{1,9})([smhdw]?)", re.ASCII)
_UNLOCKED_SECONDS = 3600.0


@dataclass(frozen=True)
class Policy:
    """Policy: which entries may be freed.

    Attributes:
        older_than: seconds since its last use after which a thing that can be made again may go.
        keep_runs: so many of the newest runs stay, however old.
        now: the time, seconds since the epoch; nothing used since then goes.
    """

    older_than: float = 7 * 86400.0
    keep_runs: int = 10
    now: float = field(default_factory=time.time)

    def old(self, used: float) -> bool:
        """Return whether something last used at `used` (seconds since the epoch) may go."""
        return used <= self.now - self.older_than

    def long_idle(self, used: float) -> bool:
        """Likewise for what no lock protects while it is in use: it must have been idle for an hour at least."""
        return used <= self.now - max(self.older_than, _UNLOCKED_SECONDS)


def parse_age(text: str) -> float:
    """Return the seconds of `7d`, `12h`, `30m`, `2w`, `45s` or `0`.

    Raises:
        UserError: the text is not an age.
    """
    match = _AGE.fullmatch(text.strip())
    if not match or (not match[2] and int(match[1])):
        raise UserError(f"--older-than {text}: not an age", "write 7d, 12h, 30m, 2w or 0")
    return float(int(match[1]) * _UNITS[match[2] or "s"])
