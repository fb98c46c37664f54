"""`plexus import` and `plexus export` on the desk: a task beside the real Dovecot, and a foreign server."""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import imap_source
from service.certificates import Authority
from service.container_engine import engine
from service.imap_source import ImapSource
from system.desk import Desk

MARK = "moved-by-a-task"
PASSWORD = imap_source.PASSWORD


@pytest.fixture(scope="module")
def source(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImapSource]:
    """Provide Cyrus with two messages, where the desk's tasks find it."""
    dovecot = desk.container("dovecot")
    (network,) = json.loads(
        desk.engine("inspect", "--format", "{{json .NetworkSettings.Networks}}", dovecot)
    )
    authority = Authority(tmp_path_factory.mktemp("authority"))
    made = imap_source.start(engine(), network, "cyrus", authority)
    client = made.client()
    for folder, flags in (("INBOX", r"\Seen"), ('"Sent Items"', r"\Answered")):
        octets = f"Subject: {MARK}\r\n\r\n{folder}\r\n".encode()
        assert "OK" == client.append(folder, f"({flags})", None, octets)[0]
    client.logout()
    try:
        yield made
    finally:
        made.container.remove()


def test_mail_comes_by_a_task_and_leaves_as_a_file(
    desk: Desk, source: ImapSource, tmp_path: Path
) -> None:
    """Two passes duplicate nothing; nothing remains in SSM, the bucket or the log."""
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    words = (desk.ben, f"imaps://{source.host}", "--user", imap_source.USER, "--json")
    words += ("--password-file", str(secret), "--authority", str(source.authority))
    for _ in range(2):
        run = desk.operate("import", *words)
        assert 0 == run.returncode, run.stderr
        (done,) = json.loads(run.stdout)
        folders = {line["source"]: line for line in done["lines"] if line["kind"] == "folder"}
        assert ("Sent", 1) == (folders["Sent Items"]["folder"], folders["Sent Items"]["brought"])
    with desk.mailbox(desk.ben) as mailbox:
        found: dict[str, int] = {}
        for name in ("INBOX", "Sent"):
            mailbox.imap.select(name)
            found[name] = len(mailbox.search("SUBJECT", MARK))
    assert {"INBOX": 1, "Sent": 1} == found

    file = tmp_path / "ben.tar"
    run = desk.operate("export", desk.ben, "--to", str(file), "--json")
    assert 0 == run.returncode, run.stderr
    with tarfile.open(file) as tar:
        mails = [each for each in tar.getmembers() if each.isfile() and "/cur/" in each.name]
        texts = [tar.extractfile(each).read() for each in mails]  # type: ignore[union-attr]
    assert 2 == sum(MARK.encode() in each for each in texts)
    said = json.loads(run.stdout)
    assert file.stat().st_size == said["file_octets"]

    archive, again = tmp_path / "export.zip", ("--json", "--folder", "Old=Kept")
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("ben/Inbox/1.eml", f"Subject: {MARK} file\n\nx\n")
        zipped.writestr("ben/Old/2.eml", f"Subject: {MARK} file\n\ny\n" + "z" * (9 << 20))
    for brought in (1, 0):
        run = desk.operate("import", desk.ben, str(archive), *again)
        assert 0 == run.returncode, run.stderr
        (done,) = json.loads(run.stdout)
        lines = {line["folder"]: line for line in done["lines"]}
        assert {"INBOX": brought, "Kept": brought} == {
            name: line["brought"] for name, line in lines.items()
        }
    for unknown in ((str(archive),), ("--finish",)):
        run = desk.operate("import", "nobody@example.org", *unknown)
        assert (67, 1) == (run.returncode, run.stderr.count("\n")), run.stderr

    secret.write_text("not that one\n")
    run = desk.operate("import", *words)
    assert 77 == run.returncode, run.stderr
    ssm, s3, logs = (desk.client(each) for each in ("ssm", "s3", "logs"))
    names = [each["Name"] for each in ssm.describe_parameters()["Parameters"]]
    assert not [name for name in names if "hand-over" in name]
    buckets = [each["Name"] for each in s3.list_buckets()["Buckets"]]
    for bucket in buckets:
        assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix="moving/")
    (group,) = (
        each["logGroupName"]
        for each in logs.describe_log_groups()["logGroups"]
        if "maintenance" in each["logGroupName"]
    )
    events = logs.filter_log_events(logGroupName=group)["events"]
    assert events
    assert not [each for each in events if "not that one" in each["message"]]
