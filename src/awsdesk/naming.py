"""The name by which people call a desk and what belongs to it on this machine."""

COMMAND = "plexus local"
"""What starts and stops a desk: `COMMAND up`, `COMMAND down`."""

SYSTEM = "Postal Plexus"

PREFIX = "plexus"
"""Of containers, networks, labels and the file that marks a directory as a desk."""
