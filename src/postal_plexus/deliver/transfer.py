"""Transfer a message to the next hop, exactly once for each (message, mailbox), despite crashes.

The order, for each addressee who is owed a message:

    INTENDED into the journal -> transaction -> DELIVERED, or OWED if it certainly was not delivered

When a message comes again, the journal's state decides. DELIVERED: nothing to do. OWED, or not in
the journal: transfer it. INTENDED: the outcome was never recorded, and Dovecot is asked once the
former transaction is certainly over (Dovecot completes one whose client is gone). docs/delivery.md
explains each point at which a crash may occur.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

from postal_plexus.deliver import maillog
from postal_plexus.deliver.aws.errors import AwsError, AwsTransientError, MissingError
from postal_plexus.deliver.circuit_breaker import CircuitBreaker
from postal_plexus.deliver.content import Content
from postal_plexus.deliver.doveadm import Doveadm
from postal_plexus.deliver.journal import Journal, State, journal_key
from postal_plexus.deliver.lmtp_pool import ConnectError, ConnectionPool, TransactionLostError
from postal_plexus.deliver.mailbox_holds import MailboxHolds
from postal_plexus.deliver.policy import (
    Policy,
    deferred,
    header_too_long,
    held,
    loops,
    unreadable,
    untold,
)
from postal_plexus.deliver.recipients import Addressee
from postal_plexus.deliver.trace_fields import Copy
from postal_plexus.mail.content import HeaderTooLongError
from postal_plexus.mail.disposition import Disposition
from postal_plexus.mail.envelope import Envelope
from postal_plexus.mail.lmtp import TransactionError
from postal_plexus.mail.reply import Reply

# Recipients in one LMTP transaction; RFC 5321, section 4.5.3.1.8, lets a server stop at 100.
_RECIPIENTS_AT_ONCE = 50
# AWS refuses requests of a host whose clock is more than a quarter of an hour off.
_CLOCKS_DIFFER_SECONDS = 960.0


class StoppingError(Exception):
    """The service stops: the current message goes back to the queue."""


@dataclass(frozen=True, slots=True)
class Transport:
    """One next hop: Dovecot, or Postfix.

    Attributes:
        pool: the connections to it.
        breaker: where messages wait while it is unavailable. Without one, they are deferred.
        doveadm: asked about unknown outcomes. Without one, a message whose outcome is unknown is
            transferred again, because a duplicate is better than a loss.
        holds: the mailboxes to which nothing is transferred for now, and about which nothing is
            asked.
    """

    pool: ConnectionPool
    breaker: CircuitBreaker | None = None
    doveadm: Doveadm | None = None
    holds: MailboxHolds | None = None

    def is_held(self, addressee: Addressee) -> bool:
        """Return whether the mailbox is held."""
        return self.holds is not None and self.holds.seconds(addressee.name) > 0

    @contextlib.contextmanager
    def entering(self, addressees: Iterable[Addressee]) -> Generator[list[Addressee]]:
        """Yield those that are not held, and prevent holds on them within the context."""
        if self.holds is None:
            yield list(addressees)
            return
        with self.holds.entering(each.name for each in addressees) as free:
            yield [each for each in addressees if each.name in free]


@dataclass(frozen=True, slots=True)
class Mail:
    """What is transferred: a message that SES accepted, or a notice of this service.

    Attributes:
        receipt_id: its id in the mailbox and the journal.
        accepted_at: seconds since the epoch.
        receive_count: how often its entry was received from the queue, including this time.
        in_vain: how many of those receives were deferred only because of a held mailbox.
        owed_since: if an operator brought it back: when.
        asked_for: Dovecot is asked whether the mailbox has it, whatever the journal says.
    """

    receipt_id: str
    accepted_at: float
    receive_count: int
    in_vain: int = 0
    owed_since: float | None = None
    asked_for: bool = False

    @property
    def attempts(self) -> int:
        """The number of delivery attempts, including this one."""
        return max(1, self.receive_count - self.in_vain)

    @property
    def age(self) -> float:
        """Seconds since it was accepted, or owed again."""
        return time.time() - (self.owed_since or self.accepted_at)


@dataclass(frozen=True, slots=True)
class Transferred:
    """A disposition for everybody who was still owed the message, and the octets of one copy."""

    dispositions: list[Disposition]
    octets: int = 0


class Transfer:
    """The transfer to one next hop. Threads share it.

    Args:
        journal: what was intended and how it ended.
        transport: the next hop.
        policy: what a reply means.
        unknown_seconds: how old an unknown outcome must be before Dovecot is asked.
    """

    def __init__(
        self, journal: Journal, transport: Transport, policy: Policy, unknown_seconds: float
    ) -> None:
        self._journal = journal
        self._transport = transport
        self._policy = policy
        self._unknown_seconds = unknown_seconds

    def transfer(
        self, mail: Mail, copies: Iterable[Copy], open_content: Callable[[Copy], Content]
    ) -> Transferred:
        """Transfer the message to all addressees of its copies who are owed it.

        Args:
            mail: what is transferred.
            copies: each is sent in transactions of its own.
            open_content: opens the content of a copy; called again for each transaction.

        Returns: One disposition for each addressee who does not have the message from an earlier
            attempt.

        Raises:
            StoppingError: the service stops. What is known so far is in the journal.
        """
        found: list[Disposition] = []
        pending: list[Copy] = []
        for copy in copies:
            owed, others = self._owed(mail, copy.addressees)
            found += others
            pending += [
                Copy(copy.sender, copy.trace, tuple(owed[start : start + _RECIPIENTS_AT_ONCE]))
                for start in range(0, len(owed), _RECIPIENTS_AT_ONCE)
            ]
        octets = 0
        while pending:
            try:
                carried = self._carry(mail, pending[0], open_content)
            except (MissingError, AwsTransientError) as error:
                # If the content cannot be read for one copy, it cannot be read for the next one
                # either.
                unread = [each for copy in pending for each in copy.addressees]
                found += [self._unreadable(mail, each, error) for each in unread]
                break
            found += carried.dispositions
            octets = carried.octets
            pending.pop(0)
        return Transferred(found, octets)

    def _owed(
        self, mail: Mail, addressees: Iterable[Addressee]
    ) -> tuple[list[Addressee], list[Disposition]]:
        """Return who should get the message now, and dispositions of those who should not.

        Addressees who already have it are in neither.
        """
        owed: list[Addressee] = []
        others: list[Disposition] = []
        for addressee in addressees:
            state = self._state(mail, addressee)
            if state is None:
                others.append(held(addressee.name))
            elif state is State.OWED:
                owed.append(addressee)
            elif state is State.INTENDED:
                reason = "outcome of an earlier delivery unknown"
                others.append(deferred(addressee.name, "4.4.2", reason, mail.age))
            elif state is State.FAILING:
                others.append(untold(addressee.name))
        return owed, others

    def _state(self, mail: Mail, addressee: Addressee) -> State | None:
        """Return what is known about an addressee; None if it is owed but the mailbox is held."""
        key = journal_key(mail.receipt_id, addressee.name)
        entry = self._journal.look_up(key)
        if entry is None and addressee.former:
            # The mailbox may have been renamed since an earlier attempt.
            entry = self._journal.look_up(journal_key(mail.receipt_id, addressee.former))
        ended = entry is not None and entry.state not in (State.INTENDED, State.OWED)
        if entry is not None and ended and not mail.asked_for:
            return entry.state
        if self._transport.is_held(addressee):
            return None
        if entry is not None and entry.state is State.OWED:
            return State.OWED
        if entry is None and not (mail.asked_for or self._may_be_forgotten(mail)):
            return State.OWED
        # A process before this one may have begun a transaction that Dovecot completes only now.
        unsure = self._may_be_forgotten(mail) if entry is None else not ended
        if unsure and self._journal.age(entry) < self._unknown_seconds:
            return State.INTENDED
        return self._ask(mail, addressee, key)

    def _may_be_forgotten(self, mail: Mail) -> bool:
        """Return whether the journal may have known and forgotten this message.

        A notification that was never received before was never processed, unless there are two of
        it.
        """
        accepted_at = mail.accepted_at - _CLOCKS_DIFFER_SECONDS
        # A crash loses what was recorded before this boot, wherever the clock was at its start.
        booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        horizon = max(self._journal.horizon, booted_at)
        return mail.receive_count > 1 and accepted_at < horizon

    def _ask(self, mail: Mail, addressee: Addressee, key: bytes) -> State | None:
        """Ask Dovecot how it ended.

        Return DELIVERED, OWED, INTENDED if there is no answer, or None if the mailbox is held.
        """
        if self._transport.doveadm is None:
            return State.OWED
        # The search opens one folder after the other. A mailbox must not move to another host
        # meanwhile.
        with self._transport.entering([addressee]) as free:
            if not free:
                return None
            holds = self._transport.doveadm.holds(addressee.name, mail.receipt_id)
        maillog.asked(mail.receipt_id, addressee.name, holds=holds)
        if holds is None:
            return State.INTENDED
        state = State.DELIVERED if holds else State.OWED
        self._journal.record([key], state)
        return state

    def _carry(
        self, mail: Mail, copy: Copy, open_content: Callable[[Copy], Content]
    ) -> Transferred:
        """Transfer one copy in one transaction.

        While Dovecot is unavailable, the message waits here.
        """
        breaker = self._transport.breaker
        while True:
            if breaker is not None and not breaker.closed and not breaker.wait_closed():
                raise StoppingError
            try:
                content = open_content(copy)
            except HeaderTooLongError as error:
                return Transferred(
                    [header_too_long(each.name, str(error)) for each in copy.addressees]
                )
            try:
                looping = loops(copy.addressees, content.received, content.delivered_to)
                names = {each.recipient for each in looping}
                others = [each for each in copy.addressees if each.name not in names]
                with self._transport.entering(others) as free:
                    replied = self._transact(mail, copy.sender, free, content) if free else []
                waiting = [held(each.name) for each in others if each not in free]
                return Transferred(looping + waiting + replied, content.length or 0)
            except ConnectError as error:
                if breaker is None:
                    why, age = str(error), mail.age
                    return Transferred(
                        [deferred(each.name, "4.4.1", why, age) for each in copy.addressees]
                    )
                breaker.trip(str(error))
            finally:
                content.close()

    def _transact(
        self, mail: Mail, sender: str, addressees: list[Addressee], content: Content
    ) -> list[Disposition]:
        """Transfer the message to addressees who are owed it.

        Return their dispositions, all recorded.
        """
        keys = {each.address: journal_key(mail.receipt_id, each.name) for each in addressees}
        envelope = Envelope(sender, tuple(keys))
        outcome: dict[str, Reply | None] = {}
        why = ""
        self._journal.record(list(keys.values()), State.INTENDED)
        try:
            outcome = self._transport.pool.deliver(envelope, content.chunks(), content.length)
        except TransactionError as error:
            outcome.update(dict.fromkeys(keys, error.reply))
        except TransactionLostError as error:
            outcome, why = error.outcome, str(error)
            untouched = [key for each, key in keys.items() if each not in outcome]
            self._journal.record(untouched, State.OWED)
        except AwsTransientError as error:
            # The content broke off, so it was not ended: nobody has the message.
            why = str(error)
            self._journal.record(list(keys.values()), State.OWED)
        except HeaderTooLongError as error:
            # Likewise.
            self._journal.record(list(keys.values()), State.OWED)
            return [header_too_long(each.name, str(error)) for each in addressees]
        except ConnectError:
            self._journal.record(list(keys.values()), State.OWED)
            raise
        # Any other exception leaves INTENDED, which is always true.
        self._record(keys, outcome)
        age = mail.age
        return [
            deferred(each.name, "4.4.2", why, age)
            if (reply := outcome.get(each.address)) is None
            else self._policy.of_reply(each.name, reply, age)
            for each in addressees
        ]

    def _record(self, keys: dict[str, bytes], outcome: dict[str, Reply | None]) -> None:
        answered = [(key, reply) for each, key in keys.items() if (reply := outcome.get(each))]
        delivered = [key for key, reply in answered if reply.positive]
        refused = [key for key, reply in answered if not reply.positive]
        # Dovecot may complete it from now on, not from when it began.
        unknown = [keys[each] for each, reply in outcome.items() if reply is None]
        if delivered:
            self._journal.record(delivered, State.DELIVERED)
        if refused:
            self._journal.record(refused, State.OWED)
        if unknown:
            self._journal.record(unknown, State.INTENDED)

    def _unreadable(self, mail: Mail, addressee: Addressee, error: AwsError) -> Disposition:
        return unreadable(
            addressee.name,
            str(error),
            missing=isinstance(error, MissingError),
            attempts=mail.attempts,
            age=mail.age,
        )
