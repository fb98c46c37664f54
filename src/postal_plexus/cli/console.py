"""`plexus console`: a page in the browser that shows a running stack.

This module declares the arguments; `page` does the work.
"""

from argparse import ArgumentParser, Namespace

from postal_plexus.cli import stack_files, system

SUMMARY = "open a local page with mail in transit, queues, dead letters, health and cost"

DETAILS = """
It listens only on this machine, at the address that it prints. The address contains a token: do not
share it. A desk already has such a page: `plexus local status` prints its address.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    system.add_options(parser)
    stack_files.add_option(parser, "the desk's own; on AWS none, and then no cost is shown")
    parser.add_argument(
        "--port", type=int, metavar="N", help="the port (default: 8025, or any free one)"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


@system.reported
def run(args: Namespace) -> int:
    """Serve the page until Control-C."""
    from postal_plexus.cli import page  # noqa: PLC0415 - it needs AWS's library and a web server

    return page.run(args)
