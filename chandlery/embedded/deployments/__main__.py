"""`python -m chandlery.embedded.deployments`: run the SeldonDeployment controller of a home folder.

SIGTERM stops it and the servers. When it is killed the servers go on, and the next one takes them over.
"""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__":
    # Until the controller listens to it, a SIGTERM would end it and leave the servers of the one before.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    from chandlery.embedded.deployments.run import main

    sys.exit(main())
