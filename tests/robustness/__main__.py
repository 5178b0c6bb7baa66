"""Entry of `python tests/robustness`."""

import sys
from pathlib import Path

# A folder run as a program is itself on the path; the package in it needs the one above.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from robustness.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
