"""`python -m chandlery.embedded.supervisor`: run the supervisor in this process."""

import sys

from chandlery.embedded.supervisor.daemon import main

sys.exit(main())
