"""A route: the other end of a handover, with what is known to ask or to do about it."""

from typing import NamedTuple

from postal_plexus.deliver.courier import Courier
from postal_plexus.deliver.gate import Gate
from postal_plexus.deliver.question import Question


class Route(NamedTuple):
    """The other end. Without a gate an absent end defers; without a question nothing can be asked.

    An unknown outcome is then tried again, once it is old enough: rather twice than never.
    """

    courier: Courier
    gate: Gate | None = None
    question: Question | None = None
