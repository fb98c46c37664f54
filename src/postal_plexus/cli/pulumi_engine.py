"""Pulumi as `plexus up` runs it: the Automation API with the existing program and stack file.

The API runs the program `pulumi`, passes its output on, and never writes a stack file. Raises
CommandError: UNAVAILABLE.
"""

import os
import subprocess
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.config.settings import Settings
from postal_plexus.operations.system import AccessError, OperationError, System, told
from pulumi import automation

_INSTALL = "install it (https://www.pulumi.com/docs/install/), and see docs/deploy.md"
# CloudFront accepts certificates from this region only.
_CERTIFICATE_REGION = "us-east-1"
_T = TypeVar("_T")


class PulumiEngine:
    """One stack of the program in `directory`.

    Raises:
        CommandError: Pulumi is not installed, is too old, or does not know the stack.
    """

    def __init__(self, directory: Path, stack: str) -> None:
        if not (directory / "Pulumi.yaml").exists():
            line = f"there is no Pulumi.yaml in {directory}; the stack file belongs beside it"
            raise CommandError(Exit.UNAVAILABLE, line)
        try:
            command = automation.PulumiCommand()
        except FileNotFoundError as error:
            raise CommandError(
                Exit.UNAVAILABLE, f"there is no program pulumi; {_INSTALL}"
            ) from error
        except (
            automation.InvalidVersionError,
            subprocess.SubprocessError,
            OSError,
            ValueError,
        ) as error:
            line = f"the program pulumi cannot be used ({error}); {_INSTALL}"
            raise CommandError(Exit.UNAVAILABLE, line) from error
        options = automation.LocalWorkspaceOptions(pulumi_command=command)
        try:
            self._stack = automation.select_stack(stack, work_dir=str(directory), opts=options)
        except automation.StackNotFoundError as error:
            line = (
                f"Pulumi does not know the stack {stack}; in {directory}: pulumi stack init {stack}"
            )
            raise CommandError(Exit.UNAVAILABLE, line) from error
        except automation.CommandError as error:
            raise _failed("stack select", error) from error

    def preview(self) -> Mapping[str, int]:
        """Show what would be done. Return the number of resources for each operation."""
        done = _tried("preview", lambda: self._stack.preview(on_output=print, on_error=print))
        changes = cast("Mapping[Any, int]", done.change_summary)
        return {str(getattr(kind, "value", kind)): count for kind, count in changes.items()}

    def up(self) -> Collection[str]:
        """Deploy. Return the domains whose client set-up sites wait for a certificate."""
        done = _tried(
            "up", lambda: self._stack.up(on_output=print, on_error=print, show_secrets=False)
        )
        pending = done.outputs.get("client_setup_pending")
        return cast("list[str]", pending.value) if pending is not None else []


def issued_certificates(settings: Settings, profile: object) -> Callable[[], Collection[str]]:
    """Return a function that returns the domains whose certificates ACM has issued."""
    system = System(settings.stack, _CERTIFICATE_REGION, str(profile) if profile else None)

    def look() -> Collection[str]:
        try:
            with told("ACM"):
                pages = system.client("acm").get_paginator("list_certificates")
                found = pages.paginate(CertificateStatuses=["ISSUED"])
                names = {
                    str(each["DomainName"])
                    for page in cast("list[dict[str, Any]]", found)
                    for each in page["CertificateSummaryList"]
                }
        except AccessError as error:
            raise CommandError(Exit.NO_PERMISSION, str(error)) from error
        except OperationError as error:
            raise CommandError(Exit.UNAVAILABLE, str(error)) from error
        return {client.domain for client in settings.clients if client.autoconfig in names}

    return look


def _tried(what: str, run: Callable[[], _T]) -> _T:
    try:
        return run()
    except automation.ConcurrentUpdateError as error:
        line = "another `pulumi up` of this stack runs, or one was killed: then run `pulumi cancel`"
        raise CommandError(Exit.UNAVAILABLE, line) from error
    except automation.CommandError as error:
        raise _failed(what, error) from error
    except RuntimeError as error:  # no summary: the program `pulumi` ended too early
        line = f"`pulumi {what}` printed nothing that can be parsed ({error}); run it by hand"
        raise CommandError(Exit.UNAVAILABLE, line) from error


def _failed(what: str, error: automation.CommandError) -> CommandError:
    """Return the error of a command that Pulumi has explained, with the most common causes."""
    text = str(error).lower()
    if "passphrase" in text and "PULUMI_CONFIG_PASSPHRASE" not in os.environ:
        line = "Pulumi needs the passphrase of the state: export PULUMI_CONFIG_PASSPHRASE=..."
        return CommandError(Exit.UNAVAILABLE, line)
    last = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
    last = last.strip().removeprefix("stderr: ")
    line = f"`pulumi {what}` failed: {last}; what errors mean: docs/deploy.md; then again"
    return CommandError(Exit.UNAVAILABLE, line)
