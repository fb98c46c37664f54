"""The exit codes of tasks, also in their last line (sysexits, where one fits).

`StatusError`, raised anywhere, ends a task with its code.
"""

USAGE, DATA, NO_USER, UNAVAILABLE, FAULT = 64, 65, 67, 69, 70
NO_ROOM, AGAIN, REFUSED, KILLED, STOPPED = 73, 75, 77, 137, 143


class StatusError(Exception):
    """The task cannot continue; the text says why.

    Attributes:
        status: the task's exit code.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
