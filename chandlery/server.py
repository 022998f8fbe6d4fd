"""The command of a SeldonDeployment's container, `python -m chandlery.server`: one replica of the inference server."""

import sys

from chandlery.inference.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
