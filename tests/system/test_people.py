"""What people do with a desk: the commands, mbsync, mutt, msmtp, a wrong stack file."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import uuid
from pathlib import Path

import pytest

from system.desk import Desk

PLAIN_PASSWORD = """\
config:
  postal-plexus:domains: [example.org]
  postal-plexus:mailboxes:
    - address: ann@example.org
      password-hash: secret
"""

SPECIAL_USE = {"Archive", "Drafts", "Junk", "Sent", "Trash"}


def test_status_says_all_that_a_client_needs(desk: Desk) -> None:
    """Its endpoints answer, its accounts can log in, and the CA and the outbox exist."""
    status = json.loads(desk.plexus("status", "--json").stdout)
    for name in ("ses_inbound", "ses_smtp", "imaps", "submissions", "submission", "sieve"):
        place = status["endpoints"][name]
        socket.create_connection((place["host"], place["port"]), timeout=10).close()
    assert {"ann@example.org", "ben@example.org"} <= {a["address"] for a in status["accounts"]}
    for account in status["accounts"]:
        desk.mailbox(account["address"]).close()
    assert Path(status["ca_file"]).is_file()
    assert Path(status["outbox"]).is_dir()


def test_up_again_changes_nothing(desk: Desk) -> None:
    """Another `up` deploys nothing and replaces no container."""
    before = desk.started()
    said = desk.plexus("up", "--ports", "ephemeral")
    assert "nothing had changed" in said.stderr
    assert before == desk.started()


def test_send_puts_a_mail_into_the_inbox(desk: Desk) -> None:
    """`plexus local send` sends a message to the inbox."""
    mark = uuid.uuid4().hex
    desk.plexus("send", desk.ann, "--subject", f"by command {mark}")
    with desk.mailbox(desk.ann) as mailbox:
        assert 1 == len(mailbox.await_mail("SUBJECT", mark))


def test_send_says_who_was_refused(desk: Desk) -> None:
    """An unknown recipient ends with 69 and SES's reply."""
    run = desk.plexus("send", "nobody@example.org", check=False)
    assert 69 == run.returncode
    assert "550 5.1.1" in run.stderr


def test_the_demonstration_tells_the_whole_way(desk: Desk) -> None:
    """Each step of an incoming and an outgoing message is shown with its time."""
    said = desk.plexus("demo").stdout
    for station in ("SES accepted", "S3", "the queue", "deliver", "IMAP", "Postfix", "outbox"):
        assert station in said


def test_mbsync_fetches_the_mailbox(desk: Desk, tmp_path: Path) -> None:
    """mbsync, a client that many people run, makes a copy with all folders."""
    mark = uuid.uuid4().hex
    desk.plexus("send", desk.ben, "--subject", f"for mbsync {mark}")
    with desk.mailbox(desk.ben) as mailbox:
        mailbox.await_mail("SUBJECT", mark)
    _, port = desk.endpoint(
        "imaps"
    )  # mbsync compares names only, and the certificate has localhost
    copy = tmp_path / "copy"
    copy.mkdir()
    version = subprocess.run(["mbsync", "--version"], capture_output=True, text=True, check=True)
    # isync 1.5 (Debian 13) renamed the option.
    tls = "SSLType" if version.stdout.split()[1].startswith("1.4") else "TLSType"
    (tmp_path / "mbsyncrc").write_text(
        f"IMAPAccount plexus\nHost localhost\nPort {port}\nUser {desk.ben}\n"
        f'PassCmd "echo {desk.password(desk.ben)}"\n{tls} IMAPS\nCertificateFile {desk.ca_file}\n\n'
        "IMAPStore far\nAccount plexus\n\n"
        f"MaildirStore near\nSubFolders Verbatim\nPath {copy}/\nInbox {copy}/INBOX\n\n"
        "Channel mail\nFar :far:\nNear :near:\nPatterns *\nCreate Near\nSyncState *\n"
    )
    run = subprocess.run(
        ["mbsync", "--config", str(tmp_path / "mbsyncrc"), "mail"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == run.returncode, run.stderr
    assert SPECIAL_USE | {"INBOX"} <= {folder.name for folder in copy.iterdir()}
    assert any(mark.encode() in mail.read_bytes() for mail in copy.glob("INBOX/*/*"))


def test_mutt_reads_and_sends(desk: Desk, tmp_path: Path) -> None:
    """mutt reads a mail by IMAP in a terminal, and sends one from a script by submission."""
    mark, ann, password = uuid.uuid4().hex, desk.ann.replace("@", "%40"), desk.password(desk.ann)
    desk.plexus("send", desk.ann, "--subject", f"for mutt {mark}")
    with desk.mailbox(desk.ann) as mailbox:
        mailbox.await_mail("SUBJECT", mark)
    shown, rc = tmp_path / "shown", tmp_path / "muttrc"
    rc.write_text(
        f"set folder=imaps://{ann}@localhost:{desk.endpoint('imaps')[1]}/ spoolfile=+INBOX\n"
        f'set imap_pass="{password}" smtp_pass="{password}" from={desk.ann} realname="Ann A."\n'
        f"set smtp_url=smtps://{ann}@localhost:{desk.endpoint('submissions')[1]}/\n"
        f"set ssl_ca_certificates_file={desk.ca_file} ssl_force_tls=yes\n"
        "set record=+Sent wait_key=no pipe_decode=yes quit=yes\n"
    )
    keys = f"<limit>~s{mark}<enter><pipe-message>cat>{shown}<enter><quit>"
    environment = {**os.environ, "TERM": "vt100", "HOME": str(tmp_path)}
    # script gives it a terminal, but no size; Debian 13's ncurses opens none without.
    command = "stty rows 24 cols 80; " + shlex.join(["mutt", "-F", str(rc), "-e", f'push "{keys}"'])
    subprocess.run(
        ["script", "--quiet", "--command", command, "/dev/null"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert f"Subject: for mutt {mark}" in shown.read_text()
    sent = subprocess.run(
        ["mutt", "-F", str(rc), "-s", f"by mutt {mark}", "--", "friend@elsewhere.example"],
        env=environment,
        input="Hello from a script.\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == sent.returncode, sent.stderr
    assert desk.ann == desk.await_outbox(f"by mutt {mark}").sender
    with desk.mailbox(desk.ann) as mailbox:
        mailbox.imap.select("Sent")
        assert 1 == len(mailbox.search("SUBJECT", mark))


@pytest.mark.parametrize(("port", "starttls"), [("submissions", "off"), ("submission", "on")])
def test_msmtp_sends(desk: Desk, tmp_path: Path, port: str, starttls: str) -> None:
    """msmtp, the sendmail of many a server, submits on both ports with our certificate verified."""
    mark = uuid.uuid4().hex
    rc = tmp_path / "msmtprc"
    rc.write_text(
        f"defaults\nauth on\ntls on\ntls_starttls {starttls}\ntls_trust_file {desk.ca_file}\n"
        f"account plexus\nhost localhost\nport {desk.endpoint(port)[1]}\nfrom {desk.ann}\n"
        f"user {desk.ann}\npassword {desk.password(desk.ann)}\naccount default : plexus\n"
    )
    rc.chmod(0o600)
    done = subprocess.run(
        ["msmtp", f"--file={rc}", "friend@elsewhere.example"],
        input=f"From: {desk.ann}\nTo: friend@elsewhere.example\nSubject: mark {mark}\n\nHello\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert desk.ann == desk.await_outbox(mark).sender


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        ("config:\n  postal-plexus:domains: [example.org]\n", ["mailboxes"]),
        (
            PLAIN_PASSWORD,
            ["mailboxes", "ann@example.org", "plexus password"],
        ),
        ("config: [\n", ["line"]),
    ],
    ids=["no mailboxes", "plain password", "no YAML"],
)
def test_a_wrong_stack_file_is_named(
    desk: Desk, tmp_path: Path, stack: str, words: list[str]
) -> None:
    """A wrong stack file ends with 78 and names key, entry and remedy; the desk runs on."""
    file = tmp_path / "Pulumi.wrong.yaml"
    file.write_text(stack)
    run = desk.plexus("up", "--stack-file", str(file), check=False)
    assert 78 == run.returncode
    for word in words:
        assert word in run.stderr
    assert "Traceback" not in run.stderr
    assert desk.is_healthy()
