"""`plexus up`: all steps to deploy a stack file, in order.

The steps are check, cost, images, a preview, one question, `pulumi up`, and a second `pulumi up`
for sites whose certificates have been issued meanwhile. Pulumi is run through its Automation API;
the program `pulumi` must be installed.

Raises CommandError: CONFIG if the stack file is wrong, UNAVAILABLE if Pulumi or an image is missing
or fails, USAGE if there is no terminal or the answer is no.
"""

import subprocess
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from postal_plexus.cli import asking, cost, stack_files
from postal_plexus.cli.exits import CommandError, Exit

SUMMARY = "check, show the cost, build the images, ask, and deploy with Pulumi"

DETAILS = """
Run it again after any error or change. It needs the program `pulumi`, and the credentials and
passphrase described in docs/deploy.md.
"""

_LOOK_SECONDS = 300.0
_UNDONE = "nothing was deployed"


class Engine(Protocol):
    """Deploys a stack: Pulumi, through its Automation API."""

    def preview(self) -> Mapping[str, int]:
        """Show what would be done. Return the number of resources for each operation."""
        ...

    def up(self) -> Collection[str]:
        """Deploy. Return the domains whose client set-up sites wait for a certificate."""
        ...


def arguments(parser: ArgumentParser) -> None:
    """Declare the options of the command."""
    stack_files.add_option(parser, stack_files.DEFAULT)
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument(
        "--no-images",
        action="store_true",
        help="do not build images first; Pulumi builds them",
    )
    parser.add_argument(
        "--wait",
        action="store_true",
        help="wait for the certificates of all client set-up sites, checking every five minutes",
    )


def run(args: Namespace) -> int:
    """Deploy."""
    path = stack_files.chosen(args.stack_file)
    file, settings = stack_files.read_whole(path)
    if not settings.stack:
        line = (
            "its name contains no stack name; name it Pulumi.<stack>.yaml, such as Pulumi.main.yaml"
        )
        raise CommandError(Exit.CONFIG, line, source=str(path))
    mailboxes = len(settings.directory.mailboxes)
    print(f"{path}: in order: {mailboxes} mailboxes; {cost.in_short(path)}")
    # It needs Pulumi's library.
    from postal_plexus.cli import pulumi_engine  # noqa: PLC0415

    engine = pulumi_engine.PulumiEngine(path.resolve().parent, settings.stack)
    if not args.no_images:
        _build_images(path.resolve().parent.parent, settings.architecture)
    issued = pulumi_engine.issued_certificates(settings, file.settings.get("aws:profile"))
    deploy(
        engine,
        None if args.yes else partial(asking.ask, undone=_UNDONE),
        issued,
        time.sleep if args.wait else None,
    )
    return Exit.OK


def deploy(
    engine: Engine,
    ask: Callable[[str], bool] | None,
    issued: Callable[[], Collection[str]],
    sleep: Callable[[float], object] | None = None,
) -> None:
    """Preview, ask, deploy, and deploy again for sites whose certificates have been issued.

    Args:
        engine: what deploys.
        ask: asks a question and returns whether the answer is yes; None to go on without asking.
        issued: returns the domains whose certificates have been issued.
        sleep: waits for seconds before it checks again until all are issued; None not to wait.

    Raises:
        CommandError: the answer was no, or the engine failed.
    """
    planned = {name: count for name, count in engine.preview().items() if name != "same" and count}
    if planned:
        told = ", ".join(f"{count} to {name}" for name, count in sorted(planned.items()))
        # Replaced and deleted resources cannot be brought back.
        if ask is not None and not ask(f"{told}. Do it?"):
            raise CommandError(Exit.USAGE, _UNDONE)
    pending = set(engine.up())
    while pending:
        ready = pending & set(issued())
        if ready:
            print(
                f"The certificates of {', '.join(sorted(ready))} have been issued: deploying again."
            )
            left = set(engine.up())
            if left & ready:
                # Whatever delays them, another run would not change it.
                pending = left
                break
            pending = left
        elif sleep is None:
            break
        else:
            print(f"Waiting for the certificates of {', '.join(sorted(pending))}.", flush=True)
            sleep(_LOOK_SECONDS)
    if pending:
        names = ", ".join(sorted(pending))
        print(
            f"Sites for clients of {names} wait for a certificate, which AWS issues once "
            "the world sees the delegation (plexus dns). Then run this again."
        )


def _build_images(repository: Path, architecture: str) -> None:
    """Build missing images in the repository. Pulumi would build them without showing it."""
    if not (repository / "Makefile").exists():
        return
    arch = "arm64" if architecture == "arm64" else "amd64"
    done = subprocess.run(["make", "images", f"ARCH={arch}"], cwd=repository, check=False)  # noqa: S603, S607
    if done.returncode:
        line = (
            "an image cannot be built (see above); correct that, or leave it to Pulumi: --no-images"
        )
        raise CommandError(Exit.UNAVAILABLE, line)
