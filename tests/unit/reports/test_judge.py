"""parsedmarc reads the same in reports that others sent."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from postal_plexus.reports import dmarc, tls
from postal_plexus.reports.attachments import documents

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = Path(__file__).parent / "samples"
FILES = sorted(path for path in SAMPLES.iterdir() if path.name != "README")
JUDGE = """
import json, parsedmarc, sys
read = lambda file: parsedmarc.parse_report_file(file, offline=True)["report"]
print(json.dumps({file: read(file) for file in sys.argv[1:]}, default=str))
"""


@pytest.fixture(scope="module")
def judged() -> dict[str, Any]:
    python = ROOT / ".build" / "parsedmarc" / "bin" / "python"
    command = [str(python), "-c", JUDGE, *map(str, FILES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_judge_reads_the_same(file: Path, judged: dict[str, Any]) -> None:
    """parsedmarc, an independent reader, finds the same ids, policies, counts and results."""
    (document,) = documents(file.read_bytes())
    wanted = judged[str(file)]
    if document.lstrip()[:1] == b"{":
        found = tls.read(document)
        assert wanted["report_id"] == found.report_id
        assert [
            (each["successful_session_count"], each["failed_session_count"])
            for each in wanted["policies"]
        ] == [(each.successes, each.failures) for each in found.results]
        return
    aggregate = dmarc.read(document)
    assert wanted["report_metadata"]["org_name"].lower() == aggregate.organisation.lower()
    assert wanted["policy_published"]["domain"] == aggregate.domain
    assert wanted["policy_published"]["p"] == aggregate.policy
    assert [
        (each["source"]["ip_address"], each["count"], each["alignment"]["dmarc"])
        for each in wanted["records"]
    ] == [(row.source, row.count, row.passes) for row in aggregate.rows]
