"""What an instance runs at every boot: `host_boot.sh`, with the values of this stack on top."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from deployment.host_directories import host_directories

_SCRIPT = Path(__file__).with_suffix(".sh")

# EC2's limit, before base64.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html
MAX_USER_DATA_BYTES = 16 * 1024


@dataclass(frozen=True)
class HostBoot:
    """The values that differ between stacks."""

    region: str
    cluster: str
    interface: str
    volume: str
    ssm_access: bool
    # Space for the mailboxes' indexes on the volume.
    indexes_gb: int = 1
    # Whether EC2's API is used by IPv6 before the address is attached.
    ipv6: bool = True
    # Whether the stack has a web container.
    web: bool = False


def user_data(boot: HostBoot) -> str:
    """Return the script with the stack's values on top.

    Raises:
        ValueError: it is longer than EC2 allows.
    """
    directories = "\n".join(
        f"{directory.path} {directory.uid} {directory.gid} {directory.mode}"
        for directory in host_directories(web=boot.web)
    )
    values = {
        "PLEXUS_REGION": boot.region,
        "PLEXUS_CLUSTER": boot.cluster,
        "PLEXUS_INTERFACE": boot.interface,
        "PLEXUS_VOLUME": boot.volume,
        "PLEXUS_INDEXES_SIZE": f"{boot.indexes_gb}G",
        "PLEXUS_IPV6": "true" if boot.ipv6 else "false",
        "PLEXUS_SSM_ACCESS": "yes" if boot.ssm_access else "no",
        "PLEXUS_DIRECTORIES": directories,
    }
    head = ["#!/bin/bash"]
    head += [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    text = "\n".join([*head, _SCRIPT.read_text()])
    if len(text.encode()) > MAX_USER_DATA_BYTES:
        raise ValueError(f"user data has more than {MAX_USER_DATA_BYTES} bytes")
    return text
