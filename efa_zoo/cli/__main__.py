"""`python -m efa_zoo.cli` is `efa-zoo`."""

import sys

from efa_zoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
