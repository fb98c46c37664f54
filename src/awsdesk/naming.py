"""The name by which people call a desk and what belongs to it on this machine."""

COMMAND = "plexus local"
"""What starts and stops a desk: `COMMAND up`, `COMMAND down`."""

SYSTEM = "Postal Plexus"

PREFIX = "plexus"
"""Of containers, networks, labels and the file that marks a directory as a desk."""


def of_host(name: str, number: int) -> str:
    """Return a part's name among those of all hosts; host 1 has the names of a single one."""
    return name if number == 1 else f"{name}-{number}"
