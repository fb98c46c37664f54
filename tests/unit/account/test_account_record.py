"""The file with a user's settings: read exactly, or refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postal_plexus.account import hashing, totp
from postal_plexus.account.record import (
    LARGEST,
    MOST_APPS,
    AppPassword,
    ChangeError,
    Record,
    RecordError,
    fingerprint,
    is_app_name,
    parsed,
    rendered,
)
from postal_plexus.directory import entries, password_hash

ANN = "ann@example.org"
HASH = "{ARGON2ID}$argon2id$v=19$m=7168,t=5,p=1$HZITOFsFK3oMqK/tToVQag$DO76ivTeCen3k9teWE7XaeYG6legpiCB/UlKxhc+vLk"
STACK = "{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuabcdefghijklmn"

HASHES = st.sampled_from([HASH, STACK])
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True).filter(is_app_name)
RECORDS = st.builds(
    Record,
    mailbox=st.sampled_from([ANN, "a!#$%&'*=?^_`{|}~-b@xn--strae-oqa.example"]),
    stack=st.just(fingerprint(STACK)),
    main=st.none() | HASHES,
    apps=st.lists(
        st.builds(AppPassword, NAMES, st.integers(min_value=0, max_value=10**12 - 1), HASHES),
        max_size=MOST_APPS,
        unique_by=lambda each: each.name,
    ).map(tuple),
    only_apps=st.booleans(),
    secret=st.none() | st.binary(min_size=20, max_size=20),
    recovery=st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), max_size=8).map(tuple),
).map(lambda record: record if record.secret else replace(record, last_step=0))


@settings(max_examples=40)
@given(RECORDS)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    """Every record is read back, within its readers' size limit."""
    assert record == parsed(rendered(record), record.mailbox)
    assert len(rendered(record)) < LARGEST


@settings(max_examples=40)
@given(RECORDS, st.data())
def test_a_torn_record_is_refused(record: Record, data: st.DataObject) -> None:
    """A record truncated at any place is refused."""
    text = rendered(record)
    cut = data.draw(st.integers(min_value=0, max_value=len(text) - 1))
    with pytest.raises(RecordError):
        parsed(text[:cut], record.mailbox)


@settings(max_examples=40)
@given(RECORDS, st.data())
def test_a_line_that_means_nothing_is_refused(record: Record, data: st.DataObject) -> None:
    """Unknown, repeated or padded lines are refused."""
    lines = rendered(record).splitlines(keepends=True)
    at = data.draw(st.integers(min_value=0, max_value=len(lines)))
    more = data.draw(
        st.sampled_from(
            ["\n", "\0\n", "end\n", "main \n", f"mailbox {ANN}\n", f"app ../x 1 {HASH}\n", " end\n"]
            + [f"app main 1 {HASH}\n", f"app phone -1 {HASH}\n", "second-factor A 1\n"]
        )
    )
    with pytest.raises(RecordError):
        parsed("".join([*lines[:at], more, *lines[at:]]), record.mailbox)


@given(st.text() | st.text(alphabet="plexus-passwords 1\nmailboxend{}$"))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Any text is a record or raises RecordError."""
    with pytest.raises(RecordError):
        parsed(text, ANN)


def test_a_record_is_of_its_mailbox_only() -> None:
    """A copy or link in another mailbox's directory is refused."""
    with pytest.raises(RecordError, match="another mailbox's"):
        parsed(rendered(Record(ANN, fingerprint(STACK), main=HASH)), "ben@example.org")


def test_another_hash_in_the_stack_file_makes_it_void() -> None:
    """A record is valid only with the stack file's hash for which it was created."""
    record = Record(ANN, fingerprint(STACK), main=HASH)
    assert (False, True) == (record.is_void(STACK), record.is_void(HASH))


def test_app_passwords_are_added_and_revoked() -> None:
    """Names must be valid and free, and their number is limited."""
    record = Record(ANN, fingerprint(STACK)).with_app(AppPassword("phone", 1, HASH), frozenset())
    for name in ("phone", "laptop", "main", "Phone", "../x", "a b", "", "x" * 33):
        with pytest.raises(ChangeError):
            record.with_app(AppPassword(name, 1, HASH), frozenset({"laptop"}))
    assert () == record.without_app("phone").apps
    with pytest.raises(ChangeError, match="no such"):
        record.without_app("laptop")
    for number in range(MOST_APPS - 1):
        record = record.with_app(AppPassword(f"a{number}", 1, HASH), frozenset())
    with pytest.raises(ChangeError, match="revoke one first"):
        record.with_app(AppPassword("more", 1, HASH), frozenset())


def test_a_recovery_code_counts_once() -> None:
    """A recovery code is valid once, as is a code of the app."""
    secret, code = b"12345678901234567890", totp.recovery_code(b"0123456789")
    record = Record(ANN, fingerprint(STACK), secret=secret, recovery=(totp.recovery_hash(code),))
    used = record.with_code(code, 59)
    assert used is not None
    assert used.with_code(code, 59) is None
    after = used.with_code(totp.code_at(secret, 1), 59)
    assert after is not None
    assert after.with_code(totp.code_at(secret, 1), 59) is None


@given(st.text() | st.from_regex(r"[a-zA-Z0-9-]{0,34}", fullmatch=True) | st.just("main"))
def test_names_are_those_of_the_stack_file(text: str) -> None:
    """The keeper's rule for names is that of the directory, whose package it does not load."""
    assert entries.is_app_name(text) == is_app_name(text)


def test_hashes_cost_what_the_stack_files_cost() -> None:
    """The hash's cost is the directory's, because both must fit Dovecot's memory."""
    mine, stacks = (hashing.MEMORY_KIB, hashing.TIME_COST), (password_hash.MEMORY_KIB, password_hash.TIME_COST)  # fmt: skip
    assert stacks == mine


def test_nothing_secret_is_shown() -> None:
    """The representation of a record, as in a log, contains no hash."""
    record = Record(
        ANN, "0" * 64, main=HASH, apps=(AppPassword("phone", 1, HASH),), secret=b"x" * 20
    )
    assert "argon2" not in repr(record) + repr(record.apps)
