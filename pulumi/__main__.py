"""The AWS deployment of Postal Plexus: read the stack's configuration and create its parts.

Each part is a component in `deployment/`; `program` creates them in the order of their
dependencies.
"""

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "src")]

from deployment.program import deploy  # noqa: E402  the path has to be there first

# A desk has several hosts before AWS may: not all that operators need is there (docs/shards.md).
deploy(int(os.environ.get("PLEXUS_MOST_HOSTS", "1")))
