"""`python -m chandlery.embedded.deployments`: run the SeldonDeployment controller of a home folder.

SIGTERM stops it and the servers. When it is killed the servers go on, and the next one takes them over.
"""

from __future__ import annotations

import sys

from chandlery.embedded.deployments.run import main

if __name__ == "__main__":
    sys.exit(main())
