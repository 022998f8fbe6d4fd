"""`python -m chandlery.embedded.experiments`: the controller as a process; SIGTERM or SIGINT ends it and its trials."""

from __future__ import annotations

import signal
import sys
import threading

from chandlery.embedded.experiments import run_controller
from chandlery.errors import ChandleryError
from chandlery.processes.flag import setting


def main() -> int:
    """Run until a signal; return the exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, setting(stop))
    try:
        run_controller(stop)
    except ChandleryError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
