"""The memory of the containers, by the host's instance type.

On 512 MB (t4g.nano) each container has the least with which it works. Of what a larger type has
more, Dovecot gets half, for more clients (containers/dovecot/room), `deliver` and Postfix a
sixteenth each, for a longer directory, and the kernel the rest, for the page cache.
"""

import math
from dataclasses import dataclass

_LEAST_MB = 512
# With no directory, and some messages in progress.
_DELIVER_MB = 14
# Beyond it a host has processors for fewer clients than it has memory for.
_MOST_MB = 8192
# https://aws.amazon.com/ec2/instance-types/: the same in each of these families.
_FAMILIES = ("t3.", "t3a.", "t4g.")
_MB_BY_SIZE = {
    "nano": 512,
    "micro": 1024,
    "small": 2048,
    "medium": 4096,
    "large": 8192,
    "xlarge": 16384,
    "2xlarge": 32768,
}


@dataclass(frozen=True)
class Memory:
    """The memory limit of each container, in MB."""

    dovecot: int = 128
    postfix: int = 64
    deliver: int = 40


def memory_of(instance_type: str) -> Memory:
    """Return the containers' limits; of a type whose memory is not known, those of a t4g.nano."""
    size = instance_type.rpartition(".")[2] if instance_type.startswith(_FAMILIES) else ""
    more = min(_MB_BY_SIZE.get(size, _LEAST_MB), _MOST_MB) - _LEAST_MB
    least = Memory()
    return Memory(least.dovecot + more // 2, least.postfix + more // 16, least.deliver + more // 16)


def deliver_memory(object_octets: int, hosts: int) -> int:
    """Return the MB that `deliver` needs for a directory, while it follows a change of it.

    Then it has the old and the new directory, the object and what json makes of it: ten times the
    object, and with several hosts one version more (`make bench-scale`; the factors here are a
    tenth larger). The rest is the service's own.
    """
    factor = 16 if hosts > 1 else 11
    return math.ceil(_DELIVER_MB + factor * object_octets / 2**20)


def least_type(megabytes: int) -> str:
    """Return the smallest t4g on which `deliver` has this much memory, or "" if none has."""
    types = (f"t4g.{size}" for size in _MB_BY_SIZE)
    return next((each for each in types if memory_of(each).deliver >= megabytes), "")
