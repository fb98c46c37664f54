"""Users whose filters send mail: what becomes of a mail for them, and the count of it. Pure.

What a filter has sent stands for the copy in the mailbox: a redirect or a rejection must have left, or
the mail is kept. Like a forward it may leave again where the outcome was unknown; a mail that Dovecot could
not deliver for long is kept past the filter as well.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.chaos.ledger import Forwarded, Judgement
    from tests.chaos.plan import PlannedMail

REDIRECTS, ANSWERS, REJECTS = "kim@example.org", "lea@example.org", "max@example.org"
REDIRECTED_TO = "kim@outside.example"
# Notices of this host stay: they are counted in the mailboxes.
_NOTICES = 'if header :contains "X-Plexus-Receipt" ["echo-", "held-"] { stop; }\n'
SCRIPTS = {
    REDIRECTS: f'{_NOTICES}redirect "{REDIRECTED_TO}";\n',
    ANSWERS: f'require "vacation";\n{_NOTICES}vacation "Away.";\n',
    REJECTS: f'require "reject";\n{_NOTICES}reject "No, thanks.";\n',
}


def judge_filters(
    found: Judgement, mails: Mapping[int, PlannedMail], sent: Iterable[Forwarded]
) -> Counter[tuple[int, str]]:
    """Count what filters sent for each (mail, mailbox). Replies go only to the sender."""
    away: Counter[tuple[int, str]] = Counter()
    wrote = {mail.sender for mail in mails.values() if ANSWERS in mail.delivered and not mail.spam}
    for one in sent:
        mail = mails.get(one.number)
        if mail is None:
            found.answers += 1
            if one.recipient not in wrote or b"\r\nAuto-Submitted: auto-replied" not in one.content:
                found.strayed.append(f"an answer to {one.recipient}")
            continue
        box = REDIRECTS if one.recipient == REDIRECTED_TO else REJECTS
        told = {REDIRECTED_TO} if box == REDIRECTS else {mail.sender}
        if box not in mail.delivered or mail.spam or one.recipient not in told:
            found.strayed.append(f"mail {one.number} sent to {one.recipient} by a filter")
            continue
        away[one.number, box] += 1
        body = b"\r\n\r\n" + mail.content().partition(b"\r\n\r\n")[2]
        if box == REDIRECTS and not one.content.endswith(body):
            found.damaged.append(f"mail {one.number} redirected to {one.recipient}")
    found.redirected = sum(box == REDIRECTS for _, box in away)
    found.rejected = sum(box == REJECTS for _, box in away)
    return away
