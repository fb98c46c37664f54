"""How big the host's state volume is, so that it holds what it has to."""

# For the queue, the journal and the certificate; the indexes have their own beside it.
_STATE_GB = 1
# What ext4 itself takes of a volume: inodes, and a journal of at most 1 GB.
_EXT4_THOUSANDTHS = 25


def state_gb(indexes_gb: int) -> int:
    """The size of the state volume in GB, so that the indexes have theirs and half a GB is left."""
    return _STATE_GB + indexes_gb + (indexes_gb * _EXT4_THOUSANDTHS + 500) // 1000
