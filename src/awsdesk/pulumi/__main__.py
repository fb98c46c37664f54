"""Deployments, each in a process of its own: Pulumi's runtime is one a process.

Reads from standard input a JSON object a line: a `request`, and the `environment` and `directory`
to run it with. Writes its result as a line of JSON to standard output, or {"died": its last words}.
Ends at the end of standard input.

Each run is forked from this process, which imports before it what the run before it has imported
of `pulumi_aws`: its modules take seconds to import.
"""

import asyncio
import gc
import importlib
import json
import logging
import os
import re
import runpy
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from pulumi.runtime import (
    mocks,  # pyright: ignore[reportAttributeAccessIssue]
    settings,
)
from pulumi.runtime.config import set_all_config
from pulumi.runtime.stack import run_in_stack

from awsdesk.pulumi.monitor import DeployingMonitor
from awsdesk.pulumi.resources.resource_type import Aws
from awsdesk.pulumi.state import StateError, StateFile

_PROVIDERS = re.compile(r"pulumi_aws(\.[a-z0-9]+)?")


def _project_name(program: Path) -> str:
    import yaml  # noqa: PLC0415  only this function reads YAML

    content: dict[str, Any] = yaml.safe_load((program / "Pulumi.yaml").read_text())
    return str(content["name"])


def _configure(request: dict[str, Any], program: Path, monitor: DeployingMonitor) -> None:
    """Give Pulumi's runtime the stack's configuration, and the monitor in place of an engine."""
    set_all_config(
        {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in request["config"].items()
        }
    )
    # Like mocks.set_mocks, but without its root, which run_in_stack creates, as `pulumi up` does.
    settings.configure(
        mocks.MockSettings(
            monitor=monitor,
            monitor_features=monitor.features,
            engine=mocks.MockEngine(logging.getLogger("pulumi")),
            project=_project_name(program),
            stack=request["stack"],
            dry_run=False,
            organization=None,
            callbacks=None,
        )
    )


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Deploy according to `request`; the result has `outputs`, `changes` and `problems`."""
    program = Path(request["program"])
    aws = Aws(
        request["endpoint_url"],
        request["access_key_id"],
        request["secret_access_key"],
        request["region"],
        request["subnet"],
    )
    try:
        state = StateFile(Path(request["state_file"]))
    except StateError as error:
        return {"problems": [str(error)]}
    state.begin()
    monitor = DeployingMonitor(aws, state)
    _configure(request, program, monitor)
    problems: list[str] = []

    def run_program() -> None:
        runpy.run_path(str(program / "__main__.py"), run_name="__main__")

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(run_in_stack(run_program))
    except Exception as error:  # noqa: BLE001  the caller gets it as a problem
        if request.get("traceback"):
            traceback.print_exc()
        problems.append(str(error) or repr(error))
    else:
        problems.extend(str(problem) for problem in monitor.finish())
        if not problems:
            state.end(request["fingerprint"], monitor.outputs, monitor.lookups)
    # What was begun when another resource failed goes on record, too.
    loop.run_until_complete(loop.shutdown_default_executor())
    changes = monitor.changes
    return {
        "outputs": monitor.outputs,
        "problems": problems,
        "changes": {
            "created": changes.created,
            "updated": changes.updated,
            "replaced": changes.replaced,
            "deleted": changes.deleted,
            "same": changes.same,
        },
    }


@dataclass(frozen=True)
class _Asked:
    """A line of standard input."""

    request: dict[str, Any]
    environment: dict[str, str]
    directory: str


def _run_forked(asked: _Asked) -> dict[str, Any]:
    """Run a request in a child; add the modules that it imported as `imported`."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            _be_the_child(asked, writing, said.fileno())
        os.close(writing)
        with os.fdopen(reading) as answers:
            answer = answers.read()
        _, status = os.waitpid(child, 0)
        if answer:
            return json.loads(answer)
        said.seek(0)
        code = os.waitstatus_to_exitcode(status)
        return {"died": said.read().strip() or f"exit status {code}"}


def _be_the_child(asked: _Asked, writing: int, said: int) -> NoReturn:
    status = 1
    try:
        # What the program prints must not mix with results.
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.environ.clear()
        os.environ.update(asked.environment)
        os.chdir(asked.directory)
        gc.disable()  # half of the time went into looking for garbage that there is not
        result = run(asked.request)
        result["imported"] = [
            name
            for name, module in sys.modules.items()
            if _PROVIDERS.fullmatch(name) and type(module) is ModuleType
        ]
        answer = json.dumps(result)
        with os.fdopen(writing, "w") as answers:
            answers.write(answer)
        status = 0
    except BaseException:  # noqa: BLE001  what a fork raises would go on as its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> int:
    """Run requests until there are no more; see the module's docstring."""
    imported: list[str] = []
    for line in sys.stdin:
        for name in imported:
            # The provider's modules are loaded at the first look into them.
            getattr(importlib.import_module(name), "__all__", None)
        result = _run_forked(_Asked(**json.loads(line)))
        imported = result.pop("imported", [])
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
