"""Numbers on the command line."""

from argparse import ArgumentTypeError


def host_number(text: str) -> int:
    """Parse the number of a mail host. Raise ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and len(text) < 4 and int(text) >= 1):
        raise ArgumentTypeError(f"{text!r} is not the number of a host, such as 2")
    return int(text)
