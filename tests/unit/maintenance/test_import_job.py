"""An import's job, the destinations of folders, and the spelling of their names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.maintenance.dsync import configuration
from postal_plexus.maintenance.import_job import SPECIAL, JobError, read_job, target_folders
from postal_plexus.maintenance.modified_utf7 import decode, encode
from postal_plexus.maintenance.staging import Staging, finish, renamed_subscriptions
from postal_plexus.operations.moving import SourceError, server

IMAP = {
    "kind": "imap",
    "host": "imap.example.com",
    "port": 993,
    "tls": "imaps",
    "user": 'o"brien\\',
    "password": "pass word#1",
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "pop3"},
        {"host": "a b"},
        {"host": "x\nimapc_ssl = no"},
        {"user": "x\nimapc_ssl = no"},
        {"password": ""},
        {"password": "a\nb"},
        {"port": 0},
        {"port": True},
        {"tls": "plain"},
        {"prefix": "INBOX\n"},
        {"folders": {"a\n": "b"}},
        {"folders": {"a": "Sent", "b": "Sent"}},
        {"unknown": 1},
    ],
)
def test_a_wrong_job_is_refused_without_its_password(wrong: dict[str, object]) -> None:
    """Line ends would add settings to Dovecot's configuration; the error is logged."""
    with pytest.raises(JobError) as error:
        read_job(json.dumps(IMAP | wrong))
    assert "pass word" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "3"])
def test_what_is_no_job_is_refused(text: str) -> None:
    """Text that is no JSON object."""
    with pytest.raises(JobError):
        read_job(text)


def test_the_password_is_in_no_configuration_and_no_text_of_the_job() -> None:
    """The password is in a separate file, and a user name cannot add a setting."""
    job = read_job(json.dumps(IMAP))
    text = configuration(Path("/run/import"), job)
    assert "pass word" not in text + repr(job)
    assert 'imapc_user = "o\\"brien\\\\"' in text.splitlines()


@given(st.text())
def test_a_name_survives_its_spelling(name: str) -> None:
    """Any name, even with a lone surrogate, is encoded in ASCII and decoded again."""
    spelled = encode(name)
    assert spelled.isascii()
    if not any(0xD800 <= ord(each) < 0xE000 for each in name):
        assert name == decode(spelled)


def test_names_are_spelled_as_rfc_3501_has_them() -> None:
    """The examples of section 5.1.3, and `&`, which becomes `&-`."""
    assert "~peter/mail/&U,BTFw-/&ZeVnLIqe-" == encode("~peter/mail/台北/日本語")
    assert "M&APw-ller &- S&APY-hne" == encode("Müller & Söhne")


def test_folders_of_special_use_go_to_ours() -> None:
    """The preferred one of two is used, and no two folders are merged."""
    folders = ["INBOX", "Sent", "Sent Items", "Entw&APw-rfe", "[Gmail]/Spam", "Work", "Work/Sent"]
    expected = {
        "Entw&APw-rfe": "Drafts",
        "Sent": "Sent",
        "[Gmail]/Spam": "Junk",
        "INBOX": "INBOX",
        "Sent Items": "Sent Items",
        "Work": "Work",
        "Work/Sent": "Work/Sent",
    }
    assert expected == target_folders(folders, {})


def test_an_operators_choice_goes_before() -> None:
    """--folder is followed first; a folder that would go to a chosen target keeps its name."""
    chosen = {"Gesendet 2019": "Sent", "Müll": "Trash"}
    found = target_folders(["Sent Items", "Gesendet 2019", "M&APw-ll"], chosen)
    expected = {"Gesendet 2019": "Sent", "M&APw-ll": "Trash", "Sent Items": "Sent Items"}
    assert expected == found


def test_no_folder_goes_where_nobody_would_see_it() -> None:
    """Folders do not get our reserved names for shared folders and expunged messages."""
    found = target_folders(["shared", "shared/x", "Shared", ".Expunged", "sharedness"], {})
    assert {"shared_", "shared_/x", "Shared_", "Expunged_", "sharedness"} == set(found.values())


@given(
    st.lists(st.sampled_from([*SPECIAL["Sent"], *SPECIAL, "shared", "shared_", "x", "INBOX/Sent"])),
    st.dictionaries(st.sampled_from(["Sent", "x"]), st.sampled_from(["Sent", "Trash"]), max_size=1),
)
def test_no_two_folders_go_to_one(folders: list[str], chosen: dict[str, str]) -> None:
    """Two sources in one folder could not be told apart in the next pass."""
    theirs = {encode(each) for each in folders}
    found = target_folders(theirs, chosen)
    assert theirs == found.keys()
    assert len(found) == len(set(found.values()))


def test_subscriptions_follow_their_folders() -> None:
    """Dovecot's file of subscriptions, version 2: levels are separated by tabs."""
    text = "V\t2\n\nSent Items\nWork\t2020\n"
    names = {"Sent Items": "Sent", "Work/2020": "Old/2020"}
    assert "V\t2\n\nSent\nOld\t2020\n" == renamed_subscriptions(text, names)
    assert "" == renamed_subscriptions("", names)


def test_what_was_finished_is_known_as_such(tmp_path: Path) -> None:
    """A finished source is recorded, because another pass would store everything twice."""
    staging = Staging(tmp_path, "ann@x.example", "imap-host-user")
    (staging.path / "mailboxes").mkdir(parents=True)
    assert "" == staging.finished
    assert 1 == finish(tmp_path, "ann@x.example", "2026-12-01")
    assert not staging.path.exists()
    assert "2026-12-01" == staging.finished
    assert 0 == finish(tmp_path, "ann@x.example", "2026-12-02")
    assert "2026-12-01" == staging.finished


@pytest.mark.parametrize(
    ("text", "host", "port", "tls"),
    [
        ("imaps://imap.gmail.com", "imap.gmail.com", 993, "imaps"),
        ("imap://mail.example.com:1143/", "mail.example.com", 1143, "starttls"),
        ("imaps://[2001:db8::1]:9993", "2001:db8::1", 9993, "imaps"),
    ],
)
def test_a_servers_address(text: str, host: str, port: int, tls: str) -> None:
    """Ports default to 993; `imap://` means STARTTLS; IPv6 addresses are in brackets."""
    assert {"host": host, "port": port, "tls": tls} == server(text)


@pytest.mark.parametrize(
    "text",
    ["imap.gmail.com", "pop3://x", "imaps://", "imaps://u:p@host", "imaps://h:99999", "imaps://[x"],
)
def test_what_is_no_servers_address(text: str) -> None:
    """Other texts are refused, especially with a password, which would be in the shell's history."""
    with pytest.raises(SourceError):
        server(text)
