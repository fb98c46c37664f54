"""The size of the host's state volume."""

# For the queue, the journal and the certificate; the indexes have their own space beside it.
_STATE_GB = 1
# What ext4 itself uses of a volume: inodes, and a journal of at most 1 GB.
_EXT4_THOUSANDTHS = 25


def state_gb(indexes_gb: int) -> int:
    """Return the size in GB of a state volume that holds the indexes and leaves half a GB free."""
    return _STATE_GB + indexes_gb + (indexes_gb * _EXT4_THOUSANDTHS + 500) // 1000
