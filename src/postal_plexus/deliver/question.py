"""The question to Dovecot: does this mailbox hold the mail with that receipt?"""


class Question:
    """Asks on a unix socket."""

    def __init__(self, path: str) -> None:
        self._path = path

    def holds(self, mailbox: str, message_id: str) -> bool | None:
        """Whether the mailbox has it; None where Dovecot does not say."""
        raise NotImplementedError
