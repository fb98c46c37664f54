"""A run of `plexus`, as the fixture of the same name gives it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    """How a run of `plexus` ended."""

    code: int
    out: str
    err: str


Plexus = Callable[..., Ran]
