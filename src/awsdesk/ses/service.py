"""The complete SES stand-in, which the daemon starts and stops."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from awsdesk.ses import receiving, sending, ses_api, ses_identity_api
from awsdesk.ses.actions import ActionRunner, RetryPolicy
from awsdesk.ses.bouncing import Bounces
from awsdesk.ses.callers import Callers
from awsdesk.ses.dkim_keys import DkimKeys
from awsdesk.ses.dkim_signer import DkimSigner
from awsdesk.ses.feedback import Feedback
from awsdesk.ses.outbox import Outbox
from awsdesk.ses.received import ReceivedMails
from awsdesk.ses.receiving import InboundHandler, Reception
from awsdesk.ses.routing import Router
from awsdesk.ses.sending import Sender, SubmissionHandler
from awsdesk.ses.ses_account import SesAccount
from awsdesk.ses.spool import Spool

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from awsdesk.ses.protocol import MailProtocol


@dataclass(frozen=True)
class StandInSettings:
    """The account for which the stand-in plays SES, and the directory of its files."""

    account_id: str
    region: str
    directory: Path
    outbox: Path
    retry: RetryPolicy
    strangers_pass_spf: bool = False


class SesStandIn:
    """Receiving, sending, and the API calls that ministack lacks."""

    def __init__(
        self, settings: StandInSettings, tls: ssl.SSLContext, changed: Callable[[], None]
    ) -> None:
        account = SesAccount(settings.account_id, settings.region)
        faults_file = settings.directory / "faults.json"
        self._settings = settings
        self._tls = tls
        self.spool = Spool(settings.directory / "spool")
        self.runner = ActionRunner(account, self.spool, changed, settings.retry)
        received = ReceivedMails(settings.directory / "received.jsonl", datetime.now(UTC))
        reception = Reception(account, self.spool, received, self.runner)
        self.dkim = DkimSigner(account, DkimKeys(settings.directory / "dkim"))
        router = Router(account, self.dkim, reception, Outbox(settings.outbox))
        bounces = Bounces(account, received, router)
        self.runner.bouncer = bounces
        self._inbound = InboundHandler(
            reception, faults_file, strangers_pass_spf=settings.strangers_pass_spf
        )
        callers = Callers(settings.account_id, settings.region)
        sender = Sender(account, callers, router, Feedback(account, router), faults_file)
        self._submission = SubmissionHandler(sender)
        ses_api.install(settings.account_id, settings.region, bounces)
        ses_identity_api.install(settings.account_id, settings.region)

    def inbound(self) -> MailProtocol:
        """Return the protocol of a connection from the world."""
        return receiving.protocol(self._inbound, self._settings.region, self._tls)

    def smtp(self) -> MailProtocol:
        """Return the protocol of a connection to the SMTP endpoint's STARTTLS port."""
        return sending.protocol(
            self._submission, self._settings.region, self._tls, is_wrapped_in_tls=False
        )

    def smtps(self) -> MailProtocol:
        """Return the protocol of a connection to the SMTP endpoint's TLS port."""
        return sending.protocol(
            self._submission, self._settings.region, self._tls, is_wrapped_in_tls=True
        )

    async def stop(self) -> None:
        """Stop running actions; unfinished ones stay in the spool."""
        await self.runner.stop()
