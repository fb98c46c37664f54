"""Users' filters by ManageSieve (RFC 5804), through a client library that verifies our certificate."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sievelib.factory import FiltersSet
from sievelib.managesieve import Client

from service.mail_host import HOSTNAME, PASSWORD, MailHost

pytestmark = pytest.mark.timeout(600)

ANN = "ann@example.org"
LISTS = """require ["fileinto", "mailbox"];
if header :contains "list-id" "plexus" { fileinto :create "Lists"; stop; }
"""
REGEX = 'require ["regex"];\nif header'
# They took all memory when uploaded, and 26 s and the process of a delivery.
NESTED = '"subject" "(((((a{1,100}){1,100}){1,100}){1,100}){1,100})"'
BACKTRACKING = r'"subject" "(a|aa)*(a|aa)*\\1c"'


@pytest.fixture(scope="module")
def host(idle_host: MailHost) -> MailHost:
    """Provide a host with Dovecot running."""
    idle_host.start("dovecot")
    return idle_host


@pytest.fixture
def ann(host: MailHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Provide Ann's session, inside TLS, without scripts before and after."""
    monkeypatch.setenv("SSL_CERT_FILE", str(host.root / "tls/certificate.pem"))
    client = Client("127.0.0.1", host.containers["dovecot"].port(4190), srvhostname=HOSTNAME)
    assert client.connect(ANN, PASSWORD, starttls=True)
    yield client
    client.setactive("")
    for name in client.listscripts()[1]:
        assert client.deletescript(name), client.errmsg
    client.logout()


def delivered(host: MailHost, subject: str, *headers: str) -> str:
    """Deliver a mail to Ann by LMTP; the folder in which it is."""
    content = "\r\n".join([f"Subject: {subject}", *headers, "", "Hello", ""]).encode()
    with host.lmtp() as lmtp:
        assert {} == lmtp.sendmail("s@elsewhere.example", [ANN], content)
    with host.imap(ANN) as client:
        for line in client.list()[1]:
            folder = line.decode().partition(' "/" ')[2]
            if client.select(folder, readonly=True)[0] != "OK":
                continue  # "shared" itself
            if client.search(None, "SUBJECT", f'"{subject}"')[1] != [b""]:
                return folder.strip('"')
    raise AssertionError(f"{subject} is nowhere")


def test_scripts_are_uploaded_listed_activated_and_deleted(host: MailHost, ann: Client) -> None:
    """A script's whole life; what is active files mail, and cannot be deleted by accident."""
    assert "Dovecot" not in ann.get_implementation()
    assert ann.havespace("lists", len(LISTS))
    assert ann.putscript("lists", LISTS), ann.errmsg
    assert ann.putscript("other", "keep;\n"), ann.errmsg
    assert "INBOX" == delivered(host, "not yet active", "List-Id: <plexus.example.org>")
    assert ann.setactive("lists")
    assert ("lists", ["other"]) == ann.listscripts()
    assert LISTS.strip() == ann.getscript("lists").strip()
    assert "Lists" == delivered(host, "to the list", "List-Id: <plexus.example.org>")
    assert not ann.deletescript("lists")
    assert b"ACTIVE" == ann.errcode
    assert ann.renamescript("lists", "filters")
    assert ("filters", ["other"]) == ann.listscripts()
    assert ann.setactive("")
    assert ann.deletescript("filters")
    assert (None, ["other"]) == ann.listscripts()
    assert "INBOX" == delivered(host, "no longer active", "List-Id: <plexus.example.org>")


def test_log_says_which_rule_filed_a_mail(host: MailHost, ann: Client) -> None:
    """The filter's name and line, under the session that Dovecot's reply names; no subject."""
    assert ann.putscript("my rules", LISTS), ann.errmsg
    assert ann.setactive("my rules")
    assert "Lists" == delivered(host, "by which rule", "List-Id: <plexus.example.org>")
    said = host.containers["dovecot"].logs()
    (session, rule) = re.findall(r"sieve rule: session=<(\S+)> (.*)", said)[-1]
    assert "action=fileinto by=my rules: line 2" == rule
    assert f"<{session}>: Info: sieve: msgid=unspecified: fileinto action: stored mail" in said
    assert "by which rule" not in said


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("keep;\nfileinto :frob 1;\n", "line 2"),
        ('require "vnd.dovecot.execute";\nexecute "learn-sender";\n', "vnd.dovecot.execute"),
        ('require "vnd.dovecot.pipe";\npipe "learn-sender";\n', "vnd.dovecot.pipe"),
        ('require "editheader";\ndeleteheader "Received";\n', "editheader"),
        ("# " + "x" * 1024 * 1024, "too large"),
        (f"{REGEX} :regex {NESTED} {{ discard; }}\n", "regex"),
        (f"{REGEX} :regex {BACKTRACKING} {{ discard; }}\n", "regex"),
    ],
    ids=["syntax", "execute", "pipe", "editheader", "too large", "memory", "processor"],
)
def test_refused_script_is_explained_and_not_stored(ann: Client, script: str, reason: str) -> None:
    """A script with a mistake, or that wants what is not for users, is refused with the reason."""
    assert not ann.putscript("refused", script)
    assert reason in ann.errmsg.decode()
    assert "refused" not in ann.listscripts()[1]


def test_what_filters_may_use(ann: Client) -> None:
    """What filter editors of today write is there; what could harm others is not."""
    offered = set(ann.get_sieve_capabilities())
    wanted = {
        *(
            "fileinto",
            "reject",
            "envelope",
            "vacation",
            "subaddress",
            "relational",
            "copy",
        ),
        *("include", "variables", "body", "imap4flags", "date", "mailbox", "duplicate", "index"),
        *("comparator-i;ascii-numeric", "extracttext", "mime", "foreverypart"),
    }
    never = {"regex", "editheader", "vnd.dovecot.execute", "vnd.dovecot.pipe", "vnd.dovecot.filter"}
    assert set() == (wanted - offered) | (never & offered)


def test_scripts_include_others(host: MailHost, ann: Client) -> None:
    """A script may be made of several (RFC 6609); one that is not there is no failure if optional."""
    assert ann.putscript("lists", LISTS), ann.errmsg
    both = (
        'require ["include", "fileinto", "mailbox"];\ninclude :personal :optional "absent";\n'
        'include :personal "lists";\n'
        'if header :is "subject" "invoice" { fileinto :create "Invoices"; }\n'
    )
    assert ann.putscript("all", both), ann.errmsg
    assert ann.setactive("all")
    assert "Lists" == delivered(host, "included", "List-Id: <plexus.example.org>")
    assert "Invoices" == delivered(host, "invoice")
    assert "INBOX" == delivered(host, "neither")


def test_script_of_a_filter_editor_works(host: MailHost, ann: Client) -> None:
    """What the library's own editor writes, as webmail programs use it, is taken and does its work."""
    filters = FiltersSet("rules")
    filters.addfilter(
        "boss", [("From", ":contains", "boss@work.example")], [("fileinto", ":create", "Work")]
    )
    filters.addfilter(
        "big news", [("Subject", ":matches", "*urgent*")], [("fileinto", ":copy", "Archive")]
    )
    script = str(filters)
    assert ann.checkscript(script), ann.errmsg
    assert ann.putscript("rules", script), ann.errmsg
    assert ann.setactive("rules")
    assert "Work" == delivered(host, "weekly", "From: The Boss <boss@work.example>")
    assert {"Archive", "INBOX"} >= {delivered(host, "very urgent thing")}


def test_wrong_password_opens_nothing(host: MailHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """ManageSieve asks the same directory as IMAP."""
    monkeypatch.setenv("SSL_CERT_FILE", str(host.root / "tls/certificate.pem"))
    client = Client("127.0.0.1", host.containers["dovecot"].port(4190), srvhostname=HOSTNAME)
    assert not client.connect(ANN, "a guess", starttls=True)


def test_a_filter_files_into_anothers_folder_only_with_the_right(
    host: MailHost, ann: Client
) -> None:
    """Rights count in others' folders, though a delivery asks for none in the user's own."""
    ben = "ben@example.org"
    script = f'require ["fileinto"];\nfileinto "shared/{ben}/Project";\n'
    assert ann.putscript("foreign", script), ann.errmsg
    assert ann.setactive("foreign")
    with host.imap(ben) as client:
        client.create("Project")
        assert "INBOX" == delivered(host, "without rights")
        assert "OK" == client.setacl("Project", ANN, "lrs")[0]
        assert "INBOX" == delivered(host, "with the right to read")
        assert "OK" == client.setacl("Project", ANN, "lrsp")[0]
        assert f"shared/{ben}/Project" == delivered(host, "with the right to post")


def test_a_delivery_finds_a_folder_that_the_list_lacks(host: MailHost, ann: Client) -> None:
    """A delivery takes folders as their list in the index has them; an old list loses nothing."""
    script = (
        'require ["fileinto"];\nif header :contains "subject" "later" { fileinto "Later"; }\n'
        'elsif header :contains "subject" "gone" { fileinto "Gone"; }\n'
    )
    assert ann.putscript("files", script), ann.errmsg
    assert ann.setactive("files")
    directory = host.root / "indexes/example.org/ann/sdbox"

    def put_back(lists: dict[Path, bytes]) -> None:
        for path in directory.glob("dovecot.list.index*"):
            path.unlink()
        for path, octets in lists.items():
            path.write_bytes(octets)
            shutil.chown(path, 5000, 5000)

    with host.imap(ANN) as client:
        assert "OK" == client.create("Gone")[0]
    assert "Gone" == delivered(host, "not gone")
    old = {path: path.read_bytes() for path in directory.glob("dovecot.list.index*")}
    assert old
    with host.imap(ANN) as client:
        assert "OK" == client.delete("Gone")[0]
        assert "OK" == client.create("Later")[0]
        client.append("Later", None, None, b"Subject: the first\r\n\r\nHello\r\n")
    put_back(old)
    assert "Later" == delivered(host, "for later")
    put_back(old)
    assert "INBOX" == delivered(host, "now gone")
    with host.imap(ANN) as client:
        assert [b"2"] == client.select("Later")[1]
