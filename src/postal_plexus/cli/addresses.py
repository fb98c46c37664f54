"""Check addresses on the command line."""

from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.directory import AddressError
from postal_plexus.directory.idn import kept_address


def checked_address(text: str) -> str:
    """Return an address in its stored form.

    Raises:
        CommandError: USAGE if it is not an address.
    """
    try:
        return str(kept_address(text)).lower()
    except AddressError as error:
        line = f"the address {text!r} {error}; write it as ann@example.org"
        raise CommandError(Exit.USAGE, line) from error
