"""The way of one mail: from a queue entry to a disposition for each recipient, and to its end.

`Delivery` belongs to one worker thread. `handle` takes an entry and settles it exactly once:
deleted when nothing is owed to anyone any more, released otherwise. It never raises. What a failure
means is decided in `failure_policy`; what is owed is known by the `journal`.
"""

import random
import time
from dataclasses import dataclass

from postal_plexus.deliver import failing, maillog
from postal_plexus.deliver.addressing import Addressee, address
from postal_plexus.deliver.aws.errors import AwsError, AwsTransient, Missing
from postal_plexus.deliver.aws.queue import QueueMessage
from postal_plexus.deliver.aws.store import Store
from postal_plexus.deliver.config import VirusPolicy
from postal_plexus.deliver.content import Content
from postal_plexus.deliver.courier import DovecotUnreachable, TransactionLost
from postal_plexus.deliver.failure_policy import (
    MISSING_OBJECT_RECEIVES,
    MOST_RECEIVED,
    retry_after,
)
from postal_plexus.deliver.journal import State, journal_key
from postal_plexus.deliver.post import Post
from postal_plexus.mail.disposition import Disposition, Fate
from postal_plexus.mail.envelope import Envelope
from postal_plexus.mail.lmtp import TransactionError
from postal_plexus.mail.receipt import (
    NotificationError,
    Receipt,
    SetupNotification,
    read_notification,
)
from postal_plexus.mail.reply import Reply
from postal_plexus.mail.verdicts import Verdict

# Recipients in one LMTP transaction; RFC 5321, section 4.5.3.1.8, lets a server stop at 100.
_RECIPIENTS_AT_ONCE = 50
_SOON_SECONDS = 2


class Stopping(Exception):
    """The service stops: the mail at hand goes back to the queue."""


@dataclass(frozen=True, slots=True)
class _Mail:
    """One mail in this attempt."""

    message: QueueMessage
    receipt: Receipt
    age: float


class Delivery:
    """One worker's ways."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._store = Store(post.account, post.s3_signer)
        self._failing = failing.Failing(post)

    def handle(self, message: QueueMessage) -> None:
        """See one entry through, and settle it."""
        post = self._post
        try:
            retry = self._read_and_deliver(message)
        except Stopping:
            retry = 0
        except AwsError as error:
            retry = retry_after(message.receive_count, random.random())  # noqa: S311
            maillog.postponed(message.queue_id, retry, str(error))
        except Exception as error:  # noqa: BLE001  (a fault of ours must not lose the mail)
            retry = retry_after(message.receive_count, random.random())  # noqa: S311
            maillog.crashed("delivery", error)
        if retry is None:
            post.settlement.delete(message)
        else:
            post.settlement.release(message, retry)

    def close(self) -> None:
        """Close this worker's connections."""
        self._store.close()
        self._failing.close()

    def abort(self) -> None:
        """Wake this worker if it waits for AWS. For other threads."""
        self._store.abort()

    def _read_and_deliver(self, message: QueueMessage) -> int | None:
        """Seconds until the mail should come again, or None when nothing is owed."""
        try:
            receipt = read_notification(message.body)
        except NotificationError as error:
            self._failing.dead_letter(message, None, None, str(error))
            return None
        if isinstance(receipt, SetupNotification):
            maillog.setup_notification(message.queue_id)
            return None
        config = self._post.config
        if receipt.bucket != config.archive_bucket:
            self._failing.dead_letter(
                message, receipt, None, f"the bucket {receipt.bucket!r} is not our archive"
            )
            return None
        if receipt.verdicts.virus is Verdict.FAIL and config.virus is not VirusPolicy.JUNK:
            if config.virus is VirusPolicy.DROP:
                maillog.dropped(receipt, "virus")
            else:
                self._failing.dead_letter(message, receipt, None, "virus")
            return None
        with self._post.twins.alone(receipt.message_id):
            return self._deliver(_Mail(message, receipt, time.time() - receipt.accepted_at))

    def _deliver(self, mail: _Mail) -> int | None:
        began = time.perf_counter()
        addressing = address(mail.receipt.envelope, self._post.follower.current)
        found = [
            Disposition(recipient, Fate.FAILED, "5.1.1", "no such mailbox")
            for recipient in addressing.unknown
            if not self._accounted(mail, recipient)
        ]
        owed = self._owed(mail, addressing.mailboxes)
        octets = 0
        for start in range(0, len(owed), _RECIPIENTS_AT_ONCE):
            part = owed[start : start + _RECIPIENTS_AT_ONCE]
            octets = self._carry(mail, part, found)
        if not found:
            maillog.nothing_owed(mail.receipt)
            return None
        maillog.dispositions(
            mail.receipt, found, seconds=time.perf_counter() - began, octets=octets
        )
        failed = [disposition for disposition in found if disposition.fate is Fate.FAILED]
        if failed:
            self._failing.account_for(mail.message, mail.receipt, failed, mail.age)
        deferred = [disposition for disposition in found if disposition.fate is Fate.DEFERRED]
        if not deferred:
            return None
        return retry_after(mail.message.receive_count, random.random())  # noqa: S311

    def _accounted(self, mail: _Mail, recipient: str) -> bool:
        entry = self._post.journal.look_up(journal_key(mail.receipt.message_id, recipient))
        return entry is not None and entry.state is State.ACCOUNTED

    def _owed(self, mail: _Mail, addressees: tuple[Addressee, ...]) -> list[Addressee]:
        """Who is to get the mail now."""
        journal = self._post.journal
        owed: list[Addressee] = []
        for addressee in addressees:
            entry = journal.look_up(journal_key(mail.receipt.message_id, addressee.name))
            if entry is None or entry.state in (State.OWED, State.INTENDED):
                owed.append(addressee)
        return owed

    def _carry(self, mail: _Mail, owed: list[Addressee], found: list[Disposition]) -> int:
        """One LMTP transaction, with its outcome in the journal and in `found`. Octets carried.

        While Dovecot is away the mail waits here, and is fetched again afterwards.
        """
        gate = self._post.dovecot_gate
        while True:
            if not gate.open and not gate.wait():
                raise Stopping
            try:
                return self._fetch_and_transact(mail, owed, found)
            except DovecotUnreachable as error:
                gate.close(str(error))

    def _fetch_and_transact(
        self, mail: _Mail, owed: list[Addressee], found: list[Disposition]
    ) -> int:
        receipt = mail.receipt
        policy = self._post.policy
        try:
            answer = self._store.open(receipt.bucket, receipt.key)
            content = Content(answer, receipt, self._post.config.hostname)
        except Missing as error:
            for addressee in owed:
                if mail.message.receive_count < MISSING_OBJECT_RECEIVES:
                    found.append(policy.deferred(addressee.name, "4.3.0", str(error), mail.age))
                else:
                    found.append(Disposition(addressee.name, Fate.FAILED, "5.3.0", str(error)))
            return 0
        except AwsTransient as error:
            found += [policy.deferred(each.name, "4.3.0", str(error), mail.age) for each in owed]
            return 0
        try:
            owed = self._without_loops(content, owed, found)
            if owed:
                self._transact(mail, owed, content, found)
        finally:
            content.close()
        return content.length or 0

    def _without_loops(
        self, content: Content, owed: list[Addressee], found: list[Disposition]
    ) -> list[Addressee]:
        if content.header.received > MOST_RECEIVED:
            reason = f"loop: more than {MOST_RECEIVED} Received headers"
            found += [Disposition(each.name, Fate.FAILED, "5.4.6", reason) for each in owed]
            return []
        looping = [each for each in owed if each.name in content.header.delivered_to]
        reason = "loop: the mail was delivered here before"
        found += [Disposition(each.name, Fate.FAILED, "5.4.6", reason) for each in looping]
        return [each for each in owed if each not in looping]

    def _transact(
        self, mail: _Mail, owed: list[Addressee], content: Content, found: list[Disposition]
    ) -> None:
        post = self._post
        receipt = mail.receipt
        keys = {each.address: journal_key(receipt.message_id, each.name) for each in owed}
        names = {each.address: each.name for each in owed}
        envelope = Envelope(receipt.envelope.sender, tuple(keys))
        outcome: dict[str, Reply | None] = {}
        why = ""
        post.journal.record(list(keys.values()), State.INTENDED)
        known_owed = list(keys.values())
        try:
            outcome = post.courier.deliver(envelope, content.chunks(), content.length)
            known_owed = []
        except TransactionLost as error:
            outcome, why = error.outcome, str(error)
            known_owed = [key for each, key in keys.items() if each not in outcome]
        except TransactionError as error:
            outcome.update(dict.fromkeys(keys, error.reply))
        except AwsTransient as error:
            why = str(error)
        finally:
            # Whatever else was raised: the content was not ended, so nobody has the mail.
            if known_owed:
                post.journal.record(known_owed, State.OWED)
        self._record(keys, outcome)
        for recipient, name in names.items():
            reply = outcome.get(recipient)
            if reply is None:
                found.append(post.policy.deferred(name, "4.4.2", why, mail.age))
            else:
                found.append(post.policy.of_reply(name, reply, mail.age))

    def _record(self, keys: dict[str, bytes], outcome: dict[str, Reply | None]) -> None:
        journal = self._post.journal
        answered = [(key, reply) for each, key in keys.items() if (reply := outcome.get(each))]
        delivered = [key for key, reply in answered if reply.positive]
        refused = [key for key, reply in answered if not reply.positive]
        if delivered:
            journal.record(delivered, State.DELIVERED)
        if refused:
            journal.record(refused, State.OWED)
