"""The notice that tells a sender what SES reports about a message.

It is a delivery status notification (RFC 3464) if delivery failed or is delayed, a feedback report
(RFC 5965) for a complaint, and plain text if nothing is known to have failed; threaded by
In-Reply-To with the message. Pure; every rendering has the same octets.
"""

from datetime import UTC, datetime

from postal_plexus.mail.feedback import Feedback, FeedbackKind
from postal_plexus.mail.printable import printable

# RFC 5965, 7.3, and "not-spam" (RFC 6430): the types of a feedback report besides "abuse".
_COMPLAINTS = {
    "": "{who} marked your mail as unwanted:",
    "abuse": "{who} marked your mail as unwanted:",
    "fraud": "{who} reported your mail as fraud:",
    "virus": "A mail server found a virus in your mail to:",
    "auth-failure": "A mail server could not authenticate your mail to:",
    "not-spam": "{who} said that your mail is wanted after all:",
}
_FAILURES = {
    "MailboxFull": "The mailbox is full. It may work later.",
    "MessageTooLarge": "The mail is too large for the recipient's server.",
    "ContentRejected": "The recipient's server refused the content.",
    "AttachmentRejected": "The recipient's server refused the attachment.",
    "CustomTimeoutExceeded": "The time for delivery ran out.",
    "Suppressed": "Amazon sends nothing to this address, since mail to it bounced before.",
    "UnsubscribedRecipient": "The recipient has unsubscribed.",
    "Bad content": "Amazon found a virus in the message and sent it to nobody.",
}
_SUPPRESSED = (
    "Nothing was sent: the address is on a suppression list, since mail to it bounced or was"
    " complained about before."
)
_ON_OUR_LIST = "The list belongs to this mail system: its operator can remove the address."
# To the postmaster, because the author of a forwarded message cannot correct the cause.
_OF_A_FORWARD = (
    "You did not write this mail: an alias here forwards to that address. If nobody has it any",
    "more, take it out of the alias. Where too much comes back, forwarding stops for a week.",
)
_ACTIONS = frozenset({"failed", "delayed", "delivered", "relayed", "expanded"})


def render(feedback: Feedback, to: str, hostname: str) -> bytes:
    """Return the notice, with CRLF line ends."""
    lines = [
        f"From: Mail delivery <mailer-daemon@{hostname}>",
        f"To: <{to}>",
        f"Subject: {_subject(feedback)}",
        f"Date: {_date(feedback.happened_at)}",
    ]
    if feedback.message_id:
        lines += [f"In-Reply-To: {feedback.message_id}", f"References: {feedback.message_id}"]
    lines += [
        f"Message-ID: <{feedback.feedback_id}@{hostname}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
    ]
    head = "\r\n".join(lines).encode() + b"\r\n"
    if feedback.kind is FeedbackKind.UNCERTAIN:
        return head + _human(feedback)
    boundary = f"=_{feedback.feedback_id}".encode()
    is_complaint = feedback.kind is FeedbackKind.COMPLAINT
    report = b"feedback-report" if is_complaint else b"delivery-status"
    machine = _feedback_report(feedback) if is_complaint else _delivery_status(feedback)
    parts = (_human(feedback), machine)
    return (
        head
        + b'Content-Type: multipart/report; report-type=%b; boundary="%b"\r\n\r\n'
        % (report, boundary)
        + b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts)
        + b"--%b--\r\n" % boundary
    )


def _human(feedback: Feedback) -> bytes:
    lines = [_headline(feedback), ""]
    for recipient in feedback.recipients:
        lines.append(f"    {_line(recipient.address)}")
        lines += [f"      {_line(recipient.diagnostic)}"] if recipient.diagnostic else []
    lines += ["", *_explanation(feedback), f"Subject of the message: {_line(feedback.subject)}"]
    if feedback.reason:
        lines.append(f"Amazon SES says: {feedback.event}, {_line(feedback.reason)}")
    text = "\r\n".join([*lines, ""]).encode("utf-8", "replace")
    return (
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text
    )


def _headline(feedback: Feedback) -> str:
    match feedback.kind:
        case FeedbackKind.FAILED:
            return "Your mail could not be delivered to:"
        case FeedbackKind.DELAYED:
            return "Your mail is delayed; delivery is still being tried, to:"
        case FeedbackKind.UNCERTAIN:
            return "A mail server answered your mail by itself, for:"
        case FeedbackKind.COMPLAINT:
            who = "A recipient" if len(feedback.recipients) == 1 else "One of these recipients"
            text = None if feedback.reason else _COMPLAINTS.get(feedback.feedback_type.lower())
            return (text or "A mail server complained about your mail to:").format(who=who)


def _explanation(feedback: Feedback) -> list[str]:
    """Return additional explanations, each a paragraph followed by an empty line."""
    if feedback.sender.startswith("postmaster+fwd-"):
        return [*_OF_A_FORWARD, "", *_reason_in_words(feedback)]
    return _reason_in_words(feedback)


def _reason_in_words(feedback: Feedback) -> list[str]:
    if feedback.kind is FeedbackKind.UNCERTAIN:
        return [
            "It may be an automatic answer, such as out of office. Amazon SES does not pass it on."
            if feedback.reason == "Transient/General"
            else "Amazon SES cannot read the answer. It is not known whether your mail arrived.",
            "",
        ]
    if feedback.kind is FeedbackKind.DELAYED and feedback.expires:
        return [f"It is tried until {_line(feedback.expires)}.", ""]
    if feedback.kind is not FeedbackKind.FAILED:
        return []
    if "SuppressionList" in feedback.reason or feedback.event == "Complaint":
        is_ours = "OnAccountSuppressionList" in feedback.reason
        return [_SUPPRESSED, *([_ON_OUR_LIST] if is_ours else []), ""]
    last = feedback.reason.rpartition("/")[2]
    if feedback.event == "Rendering Failure":
        return ["Amazon SES could not make the message from its template.", ""]
    return [_FAILURES[last], ""] if last in _FAILURES else []


def _feedback_report(feedback: Feedback) -> bytes:
    """Return the report of RFC 5965, section 3."""
    lines = [
        "Content-Type: message/feedback-report",
        "",
        f"Feedback-Type: {_token(feedback.feedback_type) or 'abuse'}",
        "User-Agent: AmazonSES",
        "Version: 1",
        *(f"Original-Rcpt-To: {_line(each.address)}" for each in feedback.recipients),
        f"Arrival-Date: {_date(feedback.happened_at)}",
        "",
    ]
    return "\r\n".join(lines).encode("utf-8", "replace")


def _delivery_status(feedback: Feedback) -> bytes:
    """Return the status of RFC 3464, section 2."""
    action = "delayed" if feedback.kind is FeedbackKind.DELAYED else "failed"
    is_transient = action == "delayed" or feedback.reason.startswith("Transient")
    lines = [
        "Content-Type: message/delivery-status",
        "",
        f"Reporting-MTA: {_line(feedback.reporting_mta)}",
        f"Arrival-Date: {_date(feedback.happened_at)}",
        "",
    ]
    for each in feedback.recipients:
        lines += [
            f"Final-Recipient: rfc822; {_line(each.address)}",
            f"Action: {each.action if each.action in _ACTIONS else action}",
            f"Status: {_line(each.status) or ('4.0.0' if is_transient else '5.0.0')}",
            *([f"Diagnostic-Code: {_line(each.diagnostic)}"] if each.diagnostic else []),
            "",
        ]
    return "\r\n".join(lines).encode("utf-8", "replace")


def _subject(feedback: Feedback) -> str:
    what = {
        FeedbackKind.FAILED: "Undelivered mail",
        FeedbackKind.UNCERTAIN: "Answer by a machine to your mail",
        FeedbackKind.COMPLAINT: "Complaint about your mail",
        FeedbackKind.DELAYED: "Delayed mail",
    }[feedback.kind]
    if feedback.feedback_type == "not-spam":
        what = "About your mail"
    subject = _line(feedback.subject)
    return f"{what}: {subject}" if subject.isascii() and subject else what


def _date(moment: float) -> str:
    """Return a date as in RFC 5322, section 3.3."""
    return datetime.fromtimestamp(moment, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")


def _line(text: str) -> str:
    """Return one line for a header: without control characters, truncated."""
    return printable(text, 600).strip()


def _token(text: str) -> str:
    """Return a token of RFC 2045, or "": anything else is not a feedback type."""
    return text if text.replace("-", "").isalnum() and text.isascii() else ""
