"""`plexus directory`: print who gets mail for an address, according to a stack file.

Without an address it prints the whole directory.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from postal_plexus.cli import stack_files
from postal_plexus.cli.addresses import checked_address
from postal_plexus.cli.exits import Exit
from postal_plexus.directory import Directory, Resolution
from postal_plexus.directory.idn import shown

SUMMARY = "show who gets mail for an address"

DETAILS = "Ends with 67 if an address is unknown."


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    stack_files.add_option(parser, stack_files.DEFAULT)
    parser.add_argument(
        "addresses",
        nargs="*",
        metavar="ADDRESS",
        help="an address (default: show the whole directory)",
    )


def run(args: Namespace) -> int:
    """Print a line for each address. Return NO_USER if one of them is unknown."""
    _, directory = stack_files.read(stack_files.chosen(args.stack_file))
    if not args.addresses:
        for line in _drawn_up(directory):
            print(line)
        return Exit.OK
    found = [(text, directory.resolve(checked_address(text))) for text in args.addresses]
    for text, resolution in found:
        print(f"{text} -> {_recipients(resolution)}")
    return Exit.OK if all(resolution.known for _, resolution in found) else Exit.NO_USER


def _drawn_up(directory: Directory) -> Iterator[str]:
    """Yield the directory, domain by domain: mailboxes, aliases with destinations, catch-all."""
    mailboxes = {mailbox.address: mailbox for mailbox in directory.mailboxes}
    for domain in directory.domains:
        yield shown(domain.name)
        for address in directory.hosted_addresses():
            if address.rpartition("@")[2] != domain.name:
                continue
            if address in mailboxes:
                send_as = ", ".join(map(shown, mailboxes[address].send_as))
                yield f"  {shown(address)}{send_as and f' (may also send as {send_as})'}"
            else:
                yield f"  {shown(address)} -> {_recipients(directory.resolve(address))}"
        if domain.catch_all is not None:
            yield f"  everyone else -> {_recipients(directory.resolve(domain.catch_all))}"


def _recipients(resolution: Resolution) -> str:
    inside = map(shown, resolution.mailboxes)
    outside = (f"{shown(address)} (outside)" for address in resolution.outside)
    return ", ".join((*inside, *outside)) or "nobody"
