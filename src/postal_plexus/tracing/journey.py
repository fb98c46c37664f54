"""Journeys: the steps of each message together, and which of them match a search.

Steps belong to one message if they share an id from a service: SES's of the receipt or of the sent
message, Postfix's queue id, Dovecot's session. What Dovecot did without a reply that came back (its
client was gone) has no such link. It joins the one journey that has its Message-ID and its mailbox,
and none if there are several, because anyone can send a message with the Message-ID of another.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from functools import cached_property

from postal_plexus.tracing.step import Fate, State, Step, bare_message_id

_ENDED = frozenset(
    {
        State.DELIVERED,
        State.DISCARDED,
        State.REDIRECTED,
        State.ARRIVED,
        State.COMPLAINED,
        State.FAILED,
        State.BOUNCED,
        State.HELD,
        State.DROPPED,
    }
)
# States that a later line does not undo: events and lines may arrive out of order.
_STAYS: dict[State, frozenset[State]] = {
    State.SENT: frozenset(
        {State.ARRIVED, State.COMPLAINED, State.FAILED, State.BOUNCED, State.SENT}
    ),
    State.FORWARDED: frozenset(
        {State.SENT, State.ARRIVED, State.COMPLAINED, State.FAILED, State.BOUNCED}
    ),
    State.ARRIVED: frozenset({State.COMPLAINED, State.FAILED}),
    State.FAILED: frozenset({State.BOUNCED, State.HELD}),
}
_SHORTEST_BEGINNING = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """The newest state of one recipient: `since` is its time, `rule` what filed it."""

    fate: Fate
    since: datetime
    rule: str = ""

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen automatically."""
        return self.fate.state in _ENDED


@dataclass(frozen=True)
class Journey:
    """One message's path: its steps in order of time, each once."""

    steps: tuple[Step, ...]

    @property
    def began(self) -> datetime:
        """The time of the first step."""
        return self.steps[0].at

    @cached_property
    def ids(self) -> frozenset[str]:
        """Every id of a service, with its kind in front."""
        return frozenset[str]().union(*(step.ids for step in self.steps))

    def named(self, kind: str) -> tuple[str, ...]:
        """The ids of one kind (`receipt`, `queue`, `ses`, `session`), in order."""
        found = (each.partition(":")[2] for each in self.ids if each.startswith(f"{kind}:"))
        return tuple(sorted(found))

    @cached_property
    def message_ids(self) -> tuple[str, ...]:
        """The Message-IDs, without brackets; a forwarded message may have several."""
        return tuple(dict.fromkeys(step.message_id for step in self.steps if step.message_id))

    @cached_property
    def sender(self) -> str | None:
        """The original envelope sender, or None if no line has it."""
        return next((step.sender for step in self.steps if step.sender is not None), None)

    @cached_property
    def subject(self) -> str:
        """The subject in plain text; "" if it is not logged."""
        return decoded(next((step.subject for step in self.steps if step.subject), ""))

    @cached_property
    def addresses(self) -> frozenset[str]:
        """All addresses that occur in a line, in lower case."""
        found = {step.sender for step in self.steps if step.sender}
        found |= {each for step in self.steps for each in step.recipients}
        found |= {fate.recipient for step in self.steps for fate in step.fates}
        return frozenset(each.lower() for each in found)

    @cached_property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The outcome for each recipient, in the order of their first occurrence."""
        found: dict[str, Outcome] = {}
        filed = {
            each: step.rule.removeprefix("fileinto ")
            for step in self.steps
            if step.rule.startswith("fileinto ")
            for each in step.ids
        }
        for step in self.steps:
            for fate in step.fates:
                key = fate.recipient.lower()
                old = found.get(key)
                if old is None or _replaces(old.fate, fate):
                    rule = next((filed[each] for each in step.ids if each in filed), "")
                    found[key] = Outcome(fate, step.at, rule if fate.folder else "")
        return tuple(found.values())

    @property
    def is_under_way(self) -> bool:
        """Whether something is still expected to happen."""
        if not self.outcomes:
            return any(step.text for step in self.steps) and not self._ended_otherwise
        return not all(each.is_final for each in self.outcomes)

    @property
    def _ended_otherwise(self) -> bool:
        ends = ("refused it", "dropped", "put among the dead letters", "held among")
        return any(step.text.startswith(ends) for step in self.steps)


def _replaces(old: Fate, new: Fate) -> bool:
    if old.state in _STAYS.get(new.state, ()):
        return False
    if new.state is State.DELIVERED and not new.folder:
        # That Dovecot accepted it says less than what a filter did with it.
        filed = (State.DISCARDED, State.REDIRECTED, State.BOUNCED)
        return not old.folder and old.state not in filed
    # Stored and redirected counts as stored.
    return not (old.folder and new.state in (State.REDIRECTED, State.DISCARDED))


def journeys(steps: Iterable[Step]) -> list[Journey]:
    """Join steps into journeys, the oldest first."""
    ordered = sorted(dict.fromkeys(steps), key=lambda step: step.at)
    parents = list(range(len(ordered)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    first: dict[str, int] = {}
    for number, step in enumerate(ordered):
        for each in step.ids:
            parents[root(number)] = root(first.setdefault(each, number))
    groups: dict[int, list[Step]] = {}
    for number, step in enumerate(ordered):
        groups.setdefault(root(number), []).append(step)
    joined = _with_unanswered([Journey(tuple(each)) for each in groups.values()])
    return sorted(joined, key=lambda journey: journey.began)


def _with_unanswered(found: list[Journey]) -> list[Journey]:
    """Join Dovecot's unlinked steps to the only journey to which they can belong."""
    by_name: dict[tuple[str, str], list[Journey]] = {}
    alone: list[Journey] = []
    rest: list[Journey] = []
    for journey in found:
        if all(each.startswith("session:") for each in journey.ids):
            alone.append(journey)
            continue
        rest.append(journey)
        for name in journey.message_ids:
            for address in journey.addresses:
                by_name.setdefault((name, address), []).append(journey)
    added: dict[int, list[Step]] = {}
    for journey in alone:
        candidates = {
            id(each): each
            for name in journey.message_ids
            for outcome in journey.outcomes
            for each in by_name.get((name, outcome.fate.recipient.lower()), ())
        }
        if len(candidates) == 1:
            (candidate,) = candidates
            added.setdefault(candidate, []).extend(journey.steps)
        else:
            rest.append(journey)
    return [
        Journey(tuple(sorted((*each.steps, *more), key=lambda step: step.at)))
        if (more := added.get(id(each)))
        else each
        for each in rest
    ]


def is_asked_for(journey: Journey, what: str) -> bool:
    """Return whether a journey matches a search.

    Args:
        journey: one message's path.
        what: its Message-ID, an id of a service or the beginning of one, an address in its envelope
            (`@example.org`: any of that domain), or a part of its subject.
    """
    plain = what.strip()
    bare = bare_message_id(plain)
    if not bare:
        return False
    ids = {each.partition(":")[2] for each in journey.ids if not each.startswith("refusal:")}
    if bare in ids or bare in journey.message_ids:
        return True
    if "@" in bare and " " not in bare:
        return _is_address_of(journey, bare.lower())
    if len(bare) >= _SHORTEST_BEGINNING and any(each.startswith(bare) for each in ids):
        return True
    return plain.casefold() in journey.subject.casefold()


def _is_address_of(journey: Journey, address: str) -> bool:
    if address.startswith("@"):
        return any(each.endswith(address) for each in journey.addresses)
    return any(address in (each, _without_subaddress(each)) for each in journey.addresses)


def _without_subaddress(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def decoded(subject: str) -> str:
    """Return a subject decoded (RFC 2047), or unchanged if that fails."""
    if "=?" not in subject:
        return subject
    try:
        return str(make_header(decode_header(subject)))
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        return subject
