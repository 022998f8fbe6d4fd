"""`demo`: the digits example's story, from the folder beside the code or from the wheel."""

from __future__ import annotations

import subprocess
import sys

from chandlery.catalog import assets
from chandlery.errors import require_extra


def demo(*, bad: bool) -> int:
    """Run the demo; return the exit code of the first command that failed, or 0.

    Raises:
        MissingExtraError: the demo needs more than what is installed.
    """
    require_extra("all", "optuna", "tensorflow", "uvicorn", "pandera", "sklearn")
    words = [sys.executable, str(assets("examples") / "digits" / "demo.py"), *(["--bad"] if bad else [])]
    return subprocess.run(words, check=False).returncode
