"""`plexus console`: a page in the browser that shows a running stack.

Here are its arguments only; what it does is in `page`.
"""

from argparse import ArgumentParser, Namespace

from postal_plexus.cli import stack_files, system

SUMMARY = "open a local page that shows mail in flight, queues, dead letters, health and cost"

DETAILS = """
It answers on this machine only, at the address that it prints. The address carries a token: do not
hand it on. A desk has such a page already: `plexus local status` prints it.
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    system.add_options(parser)
    stack_files.add_option(parser, "a desk's own; none on AWS, and then no cost is shown")
    parser.add_argument(
        "--port", type=int, metavar="N", help="where it listens (default: 8025, or any free one)"
    )
    parser.add_argument("--open", action="store_true", help="open it in the browser")


@system.reported
def run(args: Namespace) -> int:
    """Serve the page until Control-C."""
    from postal_plexus.cli import page  # noqa: PLC0415 - it needs AWS's library and a web server

    return page.run(args)
