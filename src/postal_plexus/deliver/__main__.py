"""`python3 -m postal_plexus.deliver`: the container's command."""

import os
import sys

from postal_plexus.deliver.service import main

if __name__ == "__main__":
    sys.exit(main(os.environ))
