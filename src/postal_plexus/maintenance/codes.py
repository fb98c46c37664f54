"""How a task may end: its exit code, which its last line has too (sysexits, where it has one).

`StatusError` ends it with one of them, wherever it is raised.
"""

USAGE, DATA, NO_USER, UNAVAILABLE, FAULT = 64, 65, 67, 69, 70
NO_ROOM, AGAIN, REFUSED, KILLED, STOPPED = 73, 75, 77, 137, 143


class StatusError(Exception):
    """The task cannot go on; the text says why.

    Attributes:
        status: the exit code that it ends with.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
