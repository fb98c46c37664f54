"""How `plexus` ends: its exit codes, and the error that carries one.

The codes are those of sysexits(3), so that a script can tell a wrong stack file from a desk that is
not running. Every expected failure ends in a CommandError, which prints one line per problem on
standard error: what is wrong, with which thing, and what to do next. A traceback means a bug in
Postal Plexus, with Python's exit code 1.

| code | name        | meaning                                                        |
|------|-------------|----------------------------------------------------------------|
| 0    | OK          | done                                                           |
| 64   | USAGE       | the command line is wrong                                      |
| 65   | DATA        | the input cannot be used, such as a password that is too short |
| 66   | NO_INPUT    | a file cannot be read                                          |
| 67   | NO_USER     | an address is unknown                                          |
| 68   | NO_RECORD   | the public DNS lacks a record, has a wrong one or does not answer |
| 69   | UNAVAILABLE | the stack, the desk or something that it needs does not answer |
| 73   | NO_ROOM     | a mailbox has no space for the import                          |
| 74   | IO_ERROR    | the output cannot be written                                   |
| 75   | AGAIN       | not everything was done, or the source cannot be reached: run it again |
| 77   | NO_PERMISSION | AWS, or the source of an import, refuses the credentials     |
| 78   | CONFIG      | the stack file is wrong                                        |
| 80   | WARNING     | something will cause trouble unless somebody acts              |
| 81   | CRITICAL    | mail is being delayed or refused now                           |
| 130  | INTERRUPTED | Control-C                                                      |
| 141  | BROKEN_PIPE | the reader of the output has gone                              |
"""

from collections.abc import Iterator
from enum import IntEnum


class Exit(IntEnum):
    """An exit code of `plexus`, and its meaning for an operator."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "Exit":
        """Create a member from its code and meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "done"
    USAGE = 64, "the command line is wrong"
    DATA = 65, "the input cannot be used, such as a password that is too short"
    NO_INPUT = 66, "a file cannot be read"
    NO_USER = 67, "an address is unknown"
    NO_RECORD = 68, "the public DNS lacks a record, has a wrong one or does not answer"
    UNAVAILABLE = 69, "the stack, the desk or something that it needs does not answer"
    NO_ROOM = 73, "a mailbox has no space for the import"
    IO_ERROR = 74, "the output cannot be written"
    AGAIN = 75, "not everything was done, or the source cannot be reached: run it again"
    NO_PERMISSION = 77, "AWS, or the source of an import, refuses the credentials"
    CONFIG = 78, "the stack file is wrong"
    WARNING = 80, "something will cause trouble unless somebody acts"
    CRITICAL = 81, "mail is being delayed or refused now"
    INTERRUPTED = 130, "Control-C"
    BROKEN_PIPE = 141, "the reader of the output has gone"


class CommandError(Exception):
    """Ends a command with an exit code, and lines that say what is wrong and what to do."""

    def __init__(self, code: Exit, *lines: str, source: str = "plexus") -> None:
        self.code = code
        self.lines = tuple(f"{source}: {line}" if source else line for line in lines)
        """The lines to print, each beginning with `source` (such as a file) if it is not ""."""
        super().__init__("\n".join(self.lines))


def table() -> Iterator[str]:
    """Return the codes and their meanings, one per line, for `plexus --help`."""
    return (f"  {code.value:>3}  {code.meaning}" for code in Exit)
