"""SES's SMTP endpoint: accept messages from users of the account and route them.

A client logs in with the access key id and the password derived from its secret. `submission`
decides what is refused and how. An accepted message is delivered before the client gets 250:
recipients in verified domains get it through the receipt rules, the simulator's addresses get their
outcome, and all others' copy is written to the outbox. Then the events are published.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from aiosmtpd.smtp import AuthResult, LoginPassword

from awsdesk.ses import addresses, events, faults, sending_rules, submission, verdicts
from awsdesk.ses.events import Kind, Outcome
from awsdesk.ses.protocol import Greeting, MailProtocol
from awsdesk.ses.submission import Accepted, Refusal, Submission

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from awsdesk.ses.callers import Caller, Callers
    from awsdesk.ses.feedback import Feedback
    from awsdesk.ses.routing import Router
    from awsdesk.ses.ses_account import SesAccount

log = logging.getLogger(__name__)

# The source address of this SES in headers and traces: one reserved for documentation.
OUTGOING_ADDRESS = "192.0.2.25"


@dataclass(frozen=True)
class _CallersAccount:
    """The account as one logged-in user sees it (`submission.Account`)."""

    account: SesAccount
    callers: Callers
    caller: Caller

    def is_verified(self, address: str) -> bool:
        return self.account.is_verified(address)

    def identity_for(self, address: str) -> str:
        identity = self.account.identity_for(address)
        if identity is None:
            raise LookupError(f"no verified identity covers {address}")
        return identity

    def identity_arn(self, identity: str) -> str:
        return self.account.identity_arn(identity)

    def may_send(self, identity_arn: str, sender: str, recipients: tuple[str, ...]) -> str | None:
        return self.callers.may_send(self.caller, identity_arn, sender, recipients)


class Sender:
    """Accepts messages from logged-in users and delivers them."""

    def __init__(
        self,
        account: SesAccount,
        callers: Callers,
        router: Router,
        feedback: Feedback,
        faults_file: Path,
    ) -> None:
        self._account = account
        self._callers = callers
        self._router = router
        self._feedback = feedback
        self._faults_file = faults_file
        self._rate = faults.SendRate()

    @property
    def faults(self) -> faults.Faults:
        """The faults to inject now."""
        return faults.read(self._faults_file)

    def sign_in(self, user_name: str, password: str) -> Caller | None:
        """Return the user of these SMTP credentials."""
        return self._callers.sign_in(user_name, password)

    async def submit(self, caller: Caller, handed_in: Submission, source_address: str) -> str:
        """Accept a message or refuse it. Return the SMTP reply."""
        injected = self.faults
        if injected.smtp_reply is not None:
            return injected.smtp_reply
        rate = injected.max_send_rate
        if rate is not None and self._rate.exceeds(rate, time.monotonic()):
            return "454 Throttling failure: Maximum sending rate exceeded."
        account = _CallersAccount(self._account, self._callers, caller)
        # In a thread: scanning 40 MB takes a moment.
        decided = await asyncio.to_thread(
            submission.check, handed_in, account, self._account.region
        )
        if isinstance(decided, Refusal):
            log.info("ses.submission_refused caller=%s reply=%r", caller.name, decided.reply)
            return decided.reply
        configuration_set = decided.configuration_set or self._account.configuration_set_of(
            decided.identity
        )
        if configuration_set and not self._account.has_configuration_set(configuration_set):
            return f"554 Configuration set <{configuration_set}> does not exist."
        try:
            return await self._send(caller, handed_in, decided, configuration_set, source_address)
        except OSError as error:
            log.error("ses.send_failed caller=%s error=%s", caller.name, error)  # noqa: TRY400
            return "451 Temporary service failure"

    async def _send(
        self,
        caller: Caller,
        handed_in: Submission,
        decided: Accepted,
        configuration_set: str | None,
        source_address: str,
    ) -> str:
        now = datetime.now(UTC)
        message_id = f"0100{int(now.timestamp() * 1000):012x}-{uuid4()}-000000"
        sent = events.Sent(
            message_id=message_id,
            sender=handed_in.sender,
            identity_arn=self._account.identity_arn(decided.identity),
            account_id=self._account.account_id,
            caller=caller.name,
            source_address=source_address,
            recipients=handed_in.recipients,
            content=handed_in.content,
            accepted_at=now,
            configuration_set=configuration_set,
            tags=decided.tags,
        )
        content = submission.outgoing(
            handed_in.content, message_id, now, self._account.region, OUTGOING_ADDRESS
        )
        found = await asyncio.to_thread(verdicts.scan, handed_in.content)
        if found.virus is verdicts.Status.FAIL:
            # "SES accepted the email, but determined that it contained a virus and didn't attempt
            # to deliver it": .../dg/event-publishing-retrieving-sns-contents.html
            log.info("ses.rejected message_id=%s caller=%s", message_id, caller.name)
            rejected = [Outcome(handed_in.recipients[0], Kind.REJECT)]
            await self._feedback.report(sent, decided.identity, rejected, decided.feedback_to)
            return f"250 Ok {message_id}"
        outcomes = await self._router.route(sent, decided.identity, content)
        log.info(
            "ses.sent message_id=%s caller=%s sender=%s recipients=%d",
            message_id,
            caller.name,
            handed_in.sender,
            len(handed_in.recipients),
        )
        await self._feedback.report(sent, decided.identity, outcomes, decided.feedback_to)
        return f"250 Ok {message_id}"


class SubmissionHandler:
    """aiosmtpd's hooks for the SMTP endpoint."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def authenticate(
        self, _server: Any, session: Any, _envelope: Any, _mechanism: str, data: Any
    ) -> AuthResult:
        """Check SMTP credentials."""
        if not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        caller = self._sender.sign_in(
            data.login.decode("utf-8", "replace"), data.password.decode("utf-8", "replace")
        )
        if caller is None:
            log.info("ses.sign_in_refused user=%r", data.login[:24])
            return AuthResult(
                success=False, handled=False, message="535 Authentication Credentials Invalid"
            )
        session.caller = caller
        return AuthResult(success=True, message="235 Authentication successful.", auth_data=data)

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, _envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        """Offer what SES offers; AUTH only on an encrypted connection."""
        if (refused := self._sender.faults.greeting) is not None:
            server.transport.write(f"{refused}\r\n".encode())
            server.transport.close()
            return []
        session.host_name = hostname
        return [*[r for r in responses if not r.startswith("250 HELP")], "250 Ok"]

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        """Accept an envelope sender; SES refuses the null sender here."""
        if addresses.problem_of(address) is not None:
            return "501 Invalid MAIL FROM address provided"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 Ok"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        """Accept a recipient; too many are refused after the content, as by SES."""
        if "@" not in address:
            return f"553 <{address}> address unknown"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 Ok"

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Accept a message."""
        handed_in = Submission(envelope.mail_from, tuple(envelope.rcpt_tos), envelope.content)
        source = session.peer[0] if session.peer else "127.0.0.1"
        return await self._sender.submit(session.caller, handed_in, source)


def protocol(
    handler: SubmissionHandler, region: str, tls: ssl.SSLContext, *, is_wrapped_in_tls: bool
) -> MailProtocol:
    """Create the protocol for one connection to the SMTP endpoint."""
    greeting = Greeting(
        hostname=f"email-smtp.{region}.amazonaws.com",
        ident="ESMTP SimpleEmailService-desk",
        size_limit=sending_rules.SIZE_LIMIT,
        size_reply="552 Message is too long.",
    )
    return MailProtocol(
        handler,
        greeting,
        tls=tls,
        require_starttls=not is_wrapped_in_tls,
        is_wrapped_in_tls=is_wrapped_in_tls,
        auth_required=True,
        authenticator=handler.authenticate,
    )
