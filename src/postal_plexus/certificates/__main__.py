"""`python3 -m postal_plexus.certificates`: one run, see `task`."""

import sys

from postal_plexus.certificates.task import main

if __name__ == "__main__":
    sys.exit(main())
