"""The AWS deployment of Postal Plexus: read the stack's configuration and create its parts.

Each part is a component in `deployment/`; `program` creates them in the order of their
dependencies.
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "src")]

from deployment.program import deploy  # noqa: E402  the path has to be there first

deploy()
