"""The names of ministack that the desk reaches into are there, in the version that is pinned."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from awsdesk.ministack_patches import private

# In a process of its own: ministack is one account a process, set up as it is imported.
_LIST_MISSING = """
from awsdesk.ministack_patches import environment, private
for one in private.TABLE:
    module = environment.module(one.module)
    for name in one.names:
        if not hasattr(module, name):
            print(one.module, name)
"""


def test_ministack_is_the_version_whose_names_these_are() -> None:
    """Another one is a decision: what is private may change without a word."""
    assert private.VERSION == importlib.metadata.version("ministack")


def test_every_name_is_there(tmp_path: Path) -> None:
    """Every private name that the desk uses exists; otherwise calls would fail much later."""
    done = subprocess.run(
        [sys.executable, "-c", _LIST_MISSING],
        env=os.environ | {"STATE_DIR": str(tmp_path), "S3_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "" == done.stdout


def test_a_name_outside_the_table_is_refused() -> None:
    """Before ministack is even imported; each entry of the table says what we would ask for."""
    with pytest.raises(AttributeError, match="is not in the table"):
        _ = private.SQS.queues
    assert all(one.request.endswith(".") for one in private.TABLE)
