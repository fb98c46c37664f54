"""`python -m postal_plexus.cli` is `plexus`."""

import sys

from postal_plexus.cli.main import main

sys.exit(main())
