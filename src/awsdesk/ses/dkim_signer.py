"""Sign what SES sends, as SES does: once for the identity's domain, once for amazonses.com.

The domain's signature is added only if Easy DKIM is on and its CNAME records are published; its
selector is the identity's first token. Both are relaxed/simple with rsa-sha256. A message whose
header is too broken to sign is sent unsigned, with a line in the log.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from awsdesk.ses import header

if TYPE_CHECKING:
    from awsdesk.ses.dkim_keys import DkimKeys
    from awsdesk.ses.ses_account import SesAccount

log = logging.getLogger(__name__)

AMAZON_DOMAIN = "amazonses.com"
AMAZON_SELECTOR = "desk"

# RFC 6376 section 5.4.1, as far as SES signs them.
_SIGNED = (
    "from",
    "sender",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "to",
    "cc",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "in-reply-to",
    "references",
    "list-id",
    "list-unsubscribe",
    "list-unsubscribe-post",
)
_dkim: Any = importlib.import_module("dkim")  # dkimpy has no types


class DkimSigner:
    """Adds SES's signatures to messages."""

    def __init__(self, account: SesAccount, keys: DkimKeys) -> None:
        self._account = account
        self._keys = keys

    def sign(self, content: bytes, identity: str | None) -> bytes:
        """Return the message with its signatures. It takes about ten milliseconds: use a thread.

        Raises:
            OSError: a key could not be read or created.
        """
        here = {field.name.lower() for field in header.fields(content)}
        signed = [name for name in _SIGNED if name in here]
        try:
            amazon = self._signature(content, AMAZON_SELECTOR, AMAZON_DOMAIN, signed, "feedback-id")
            if identity is None or not self._account.signs(identity):
                return amazon + content
            selector = self._account.dkim_tokens(identity)[0]
            domain = identity.rpartition("@")[2].lower()
            return self._signature(content, selector, domain, signed) + amazon + content
        except _dkim.DKIMException as error:
            log.warning("ses.unsigned identity=%s reason=%s", identity, error)
            return content

    def key_record(self, selector: str) -> str | None:
        """Return the DKIM record that Amazon publishes for a token, or None if no identity has it.

        Raises:
            OSError: the key could not be read or created.
        """
        if selector == AMAZON_SELECTOR or selector in self._account.all_dkim_tokens():
            return self._keys.record(selector)
        return None

    def _signature(
        self, content: bytes, selector: str, domain: str, signed: list[str], *more: str
    ) -> bytes:
        # A new object for each: dkimpy remembers the fields that it saw.
        made: bytes = _dkim.DKIM(content).sign(
            selector.encode("ascii"),
            domain.encode("ascii"),
            self._keys.private(selector),
            canonicalize=(b"relaxed", b"simple"),
            include_headers=[name.encode("ascii") for name in (*signed, *more)],
        )
        return made
