"""Run one deployment in its own process (Pulumi's runtime can run once per process).

Reads a request as JSON from standard input, writes the result as JSON to standard output; what
the program prints goes to standard error.  Exit status: 0 deployed, 1 with `problems`.
"""

import asyncio
import json
import logging
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

from pulumi.runtime import (
    mocks,  # pyright: ignore[reportAttributeAccessIssue]
    settings,
)
from pulumi.runtime.config import set_all_config
from pulumi.runtime.stack import run_in_stack

from awsdesk.pulumi.monitor import DeployingMonitor
from awsdesk.pulumi.resources.resource_type import Aws
from awsdesk.pulumi.state import StateError, StateFile


def _project_name(program: Path) -> str:
    import yaml  # noqa: PLC0415  only this function reads YAML

    content: dict[str, Any] = yaml.safe_load((program / "Pulumi.yaml").read_text())
    return str(content["name"])


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Deploy according to `request`; the result has `outputs`, `changes` and `problems`."""
    program = Path(request["program"])
    aws = Aws(
        request["endpoint_url"],
        request["access_key_id"],
        request["secret_access_key"],
        request["region"],
    )
    try:
        state = StateFile(Path(request["state_file"]))
    except StateError as error:
        return {"problems": [str(error)]}
    state.begin()
    set_all_config(
        {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in request["config"].items()
        }
    )
    monitor = DeployingMonitor(aws, state)
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


def main() -> int:
    """Run one request; see the module's docstring."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the program's own prints must not mix with the result
    result = run(json.load(sys.stdin))
    json.dump(result, answers)
    answers.close()
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
