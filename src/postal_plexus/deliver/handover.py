"""The handover to Dovecot: exactly once for each (mail, mailbox), whatever dies in between.

The order, for each mailbox that is owed a mail:

    INTENDED into the journal -> transaction -> DELIVERED, or OWED if it surely does not have it

A mail that comes again finds what the journal knows. DELIVERED: nothing to do. OWED or unknown to
the journal: hand it over. INTENDED: the outcome was never recorded; Dovecot is asked, once the
former transaction is certainly over (Dovecot completes one whose client went away). The argument
for each point of a crash is in docs/delivery.md.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, Protocol

from postal_plexus.deliver import maillog
from postal_plexus.deliver.addressing import Addressee
from postal_plexus.deliver.aws.errors import AwsTransient
from postal_plexus.deliver.courier import TransactionLost, Unreached
from postal_plexus.deliver.failure_policy import MOST_RECEIVED
from postal_plexus.deliver.journal import State, journal_key
from postal_plexus.deliver.post import Post
from postal_plexus.deliver.route import Route
from postal_plexus.mail.content import HeaderTooLong, TraceFields
from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.envelope import Envelope
from postal_plexus.mail.lmtp import TransactionError
from postal_plexus.mail.reply import Reply

# Recipients in one LMTP transaction; RFC 5321, section 4.5.3.1.8, lets a server stop at 100.
_RECIPIENTS_AT_ONCE = 50
_CLOCKS_DIFFER_SECONDS = 300.0


class Stopping(Exception):
    """The service stops: the mail at hand goes back to the queue."""


class Carried(Protocol):
    """A content that can be carried once."""

    @property
    def length(self) -> int | None:
        """Octets, as far as known."""
        ...

    @property
    def received(self) -> int:
        """Received headers seen by the time that the first chunk is there."""
        ...

    @property
    def delivered_to(self) -> set[str]:
        """Likewise, the addresses of Delivered-To headers."""
        ...

    def chunks(self) -> Iterator[tuple[bytes, bool]]:
        """(chunk, whether it is the last)."""
        ...

    def close(self) -> None:
        """Give up what was not read."""
        ...


class Consignment(NamedTuple):
    """What is handed over: `receipt_id` is what the mailbox and the journal know it by."""

    receipt_id: str
    sender: str
    accepted_at: float
    receive_count: int

    @property
    def age(self) -> float:
        """Seconds since SES accepted it."""
        return time.time() - self.accepted_at


class Handover:
    """One worker's way to the other end."""

    def __init__(self, post: Post, route: Route) -> None:
        self._post = post
        self._route = route

    def hand_over(
        self,
        consignment: Consignment,
        addressees: tuple[Addressee, ...],
        open_content: Callable[[TraceFields], Carried],
        found: list[Disposition],
        own: Callable[[Addressee], TraceFields] = lambda _: (),
    ) -> int:
        """Give the mail to all who are owed it; a disposition for each of them goes into `found`.

        `own` gives the trace fields that are an addressee's own; who has the same ones shares a
        transaction, and nobody else does, since all in a transaction get the same octets.
        Returns the octets of one copy. `open_content` raises what reading the content raises.
        """
        sharing: dict[TraceFields, list[Addressee]] = {}
        for addressee in self._owed(consignment, addressees, found):
            sharing.setdefault(own(addressee), []).append(addressee)
        octets = 0
        for theirs, owed in sharing.items():
            for start in range(0, len(owed), _RECIPIENTS_AT_ONCE):
                part = owed[start : start + _RECIPIENTS_AT_ONCE]
                octets = self._carry(consignment, part, partial(open_content, theirs), found)
        return octets

    def _owed(
        self,
        consignment: Consignment,
        addressees: tuple[Addressee, ...],
        found: list[Disposition],
    ) -> list[Addressee]:
        """Who is to get the mail now. Who has it is left out; who may have it waits, in `found`."""
        owed: list[Addressee] = []
        for addressee in addressees:
            key = journal_key(consignment.receipt_id, addressee.name)
            entry = self._post.journal.look_up(key)
            state = entry.state if entry else State.OWED
            if entry is None and self._forgotten(consignment):
                state = State.INTENDED
            if state is State.INTENDED:
                state = self._ask(consignment, addressee, key, entry.recorded_at if entry else 0.0)
            if state is State.OWED:
                owed.append(addressee)
            elif state is State.INTENDED:
                reason = "outcome of an earlier delivery unknown"
                found.append(
                    self._post.policy.deferred(addressee.name, "4.4.2", reason, consignment.age)
                )
            elif state is State.FAILING:
                reason = "failed earlier; whether that was told is unknown"
                found.append(Disposition(addressee.name, Fate.FAILED, "5.3.0", reason, quiet=True))
        return owed

    def _forgotten(self, consignment: Consignment) -> bool:
        """Whether the journal may once have known of this mail.

        A notification that was never received before was never acted upon, unless it has a twin.
        """
        accepted_at = consignment.accepted_at - _CLOCKS_DIFFER_SECONDS
        return consignment.receive_count > 1 and accepted_at < self._post.journal.horizon

    def _ask(
        self, consignment: Consignment, addressee: Addressee, key: bytes, since: float
    ) -> State:
        """Ask Dovecot about an unknown outcome: DELIVERED, OWED, or INTENDED if it does not say."""
        post = self._post
        if time.time() - since < post.config.unknown_seconds:
            return State.INTENDED
        if self._route.question is None:
            return State.OWED
        holds = self._route.question.holds(addressee.name, consignment.receipt_id)
        maillog.asked(consignment.receipt_id, addressee.name, holds=holds)
        if holds is None:
            return State.INTENDED
        state = State.DELIVERED if holds else State.OWED
        post.journal.record([key], state)
        return state

    def _carry(
        self,
        consignment: Consignment,
        owed: list[Addressee],
        open_content: Callable[[], Carried],
        found: list[Disposition],
    ) -> int:
        """One transaction. While Dovecot is away the mail waits here, and is then read anew."""
        gate = self._route.gate
        while True:
            if gate is not None and not gate.open and not gate.wait():
                raise Stopping
            content = open_content()
            try:
                part = self._without_loops(content, owed, found)
                if part:
                    self._transact(consignment, part, content, found)
            except Unreached as error:
                if gate is None:
                    age, why = consignment.age, str(error)
                    policy = self._post.policy
                    found += [policy.deferred(each.name, "4.4.1", why, age) for each in owed]
                    return 0
                gate.close(str(error))
            else:
                return content.length or 0
            finally:
                content.close()

    def _without_loops(
        self, content: Carried, owed: list[Addressee], found: list[Disposition]
    ) -> list[Addressee]:
        if content.received > MOST_RECEIVED:
            reason = f"loop: more than {MOST_RECEIVED} Received headers"
            found += [
                Disposition(each.name, Fate.FAILED, "5.4.6", reason, quiet=True) for each in owed
            ]
            return []
        looping = [each for each in owed if each.name in content.delivered_to]
        reason = "loop: the mail was delivered here before"
        found += [
            Disposition(each.name, Fate.FAILED, "5.4.6", reason, quiet=True) for each in looping
        ]
        return [each for each in owed if each not in looping]

    def _transact(
        self,
        consignment: Consignment,
        owed: list[Addressee],
        content: Carried,
        found: list[Disposition],
    ) -> None:
        post = self._post
        keys = {each.address: journal_key(consignment.receipt_id, each.name) for each in owed}
        envelope = Envelope(consignment.sender, tuple(keys))
        outcome: dict[str, Reply | None] = {}
        why = ""
        post.journal.record(list(keys.values()), State.INTENDED)
        try:
            outcome = self._route.courier.deliver(envelope, content.chunks(), content.length)
        except TransactionError as error:
            outcome.update(dict.fromkeys(keys, error.reply))
        except TransactionLost as error:
            outcome, why = error.outcome, str(error)
            untouched = [key for each, key in keys.items() if each not in outcome]
            post.journal.record(untouched, State.OWED)
        except AwsTransient as error:
            # The content broke off, so it was not ended: nobody has the mail.
            why = str(error)
            post.journal.record(list(keys.values()), State.OWED)
        except HeaderTooLong as error:
            # Likewise: it was not ended.
            post.journal.record(list(keys.values()), State.OWED)
            why = str(error)
            found += [Disposition(each.name, Fate.FAILED, "5.3.4", why) for each in owed]
            return
        except Unreached:
            post.journal.record(list(keys.values()), State.OWED)
            raise
        # Anything else that is raised leaves INTENDED, which is always true.
        self._record(keys, outcome)
        for addressee in owed:
            reply = outcome.get(addressee.address)
            age = consignment.age
            if reply is None:
                found.append(post.policy.deferred(addressee.name, "4.4.2", why, age))
            else:
                found.append(post.policy.of_reply(addressee.name, reply, age))

    def _record(self, keys: dict[str, bytes], outcome: dict[str, Reply | None]) -> None:
        journal = self._post.journal
        answered = [(key, reply) for each, key in keys.items() if (reply := outcome.get(each))]
        delivered = [key for key, reply in answered if reply.positive]
        refused = [key for key, reply in answered if not reply.positive]
        if delivered:
            journal.record(delivered, State.DELIVERED)
        if refused:
            journal.record(refused, State.OWED)
