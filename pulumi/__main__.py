"""The AWS deployment of Postal Plexus: reads the stack's configuration and puts the parts together.

Each part is a component in `deployment/`.  The order below is the way of a mail: where it is kept,
how SES is told to accept it, what the containers get of it, and how the world finds it.
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "src")]

from deployment.program import deploy  # noqa: E402  the path has to be there first

deploy()
