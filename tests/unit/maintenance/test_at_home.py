"""A task works on a mailbox only on the mailbox's host, and the mailbox stays there meanwhile."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postal_plexus.maintenance import at_home, mailbox_hold, mailboxes
from postal_plexus.maintenance.calls import Call
from postal_plexus.maintenance.codes import AGAIN, NO_USER, StatusError
from postal_plexus.maintenance.output import Output

ANN, BEN, NEW = "ann@example.org", "ben@example.org", "newer@example.org"
TABLE = """\
ann@example.org:{X}h:5000:5000::::
ben@example.org:{X}h:5000:5000::::shard=2 app-phone={X}a
newer@example.org:{X}h:5000:5000::/srv/mail/example.org/older::shard=2
older@example.org:{X}h:5000:5000::/srv/mail/example.org/older::renamed=newer@example.org shard=2
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide host 2's directories: of records, and of holds."""
    table = tmp_path / "dovecot-passwd"
    table.write_text(TABLE)
    monkeypatch.setattr(mailboxes, "TABLE", table)
    monkeypatch.setenv("PLEXUS_SHARD", "2")
    for name in ("records", "holds"):
        (tmp_path / name).mkdir()
    (tmp_path / "holds" / ".lock").touch()
    (tmp_path / "records" / BEN).write_text("2 has\n")
    (tmp_path / "records" / "older@example.org").write_text("2 has\n")
    return tmp_path


def stay(host: Path, address: str) -> Any:
    """Return the guard, with the host's directories."""
    return at_home.staying(address, host / "records", host / "holds")


def test_its_own_mailbox_is_worked_on(host: Path) -> None:
    """Also one that was renamed: its record has the first address."""
    for address in (BEN, NEW):
        with stay(host, address):
            pass


def test_another_hosts_mailbox_is_not(host: Path) -> None:
    """The operator's command is told where to go."""
    with (
        pytest.raises(at_home.ElsewhereError, match=f"{ANN} lives on host 1") as told,
        stay(host, ANN),
    ):
        pytest.fail("it began")
    assert (1, AGAIN) == (told.value.host, told.value.status)


@pytest.mark.parametrize("record", ["1 has\n", "2 takes\n", "2 takes a copy\n", "", "2 has", None])
def test_a_mailbox_on_its_way_is_not(host: Path, record: str | None) -> None:
    """The directory says it is here, and its record does not yet; or the record is torn."""
    path = host / "records" / BEN
    path.unlink() if record is None else path.write_text(record)
    with pytest.raises(StatusError, match="is being moved to host 2") as told, stay(host, BEN):
        pytest.fail("it began")
    assert AGAIN == told.value.status


def test_an_unknown_mailbox_is_not(host: Path) -> None:
    """Nor the first address of a renamed one."""
    for address in ("nobody@example.org", "older@example.org"):
        with pytest.raises(StatusError, match="no mailbox") as told, stay(host, address):
            pytest.fail("it began")
        assert NO_USER == told.value.status


def test_the_only_host_has_nothing_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is read."""
    monkeypatch.delenv("PLEXUS_SHARD", raising=False)
    with at_home.staying(ANN, Path("/nowhere"), Path("/nowhere")):
        pass


def test_it_does_not_leave_while_a_task_is_at_work(host: Path) -> None:
    """Several tasks share the mailbox; none begins while it leaves; other mailboxes are free."""
    holds = host / "holds"
    with stay(host, BEN), stay(host, BEN), mailbox_hold.leave("older@example.org", holds):
        with pytest.raises(mailbox_hold.MailboxBusyError), mailbox_hold.leave(BEN, holds):
            pytest.fail("it left")
    with mailbox_hold.leave(BEN, holds):
        pass


def test_a_task_waits_for_one_that_is_leaving(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And gives up: by then it lives elsewhere."""
    monkeypatch.setattr(mailbox_hold, "LEAVING_SECONDS", 0.0)
    with (
        mailbox_hold.leave(BEN, host / "holds"),
        pytest.raises(StatusError, match="is leaving this host"),
        stay(host, BEN),
    ):
        pytest.fail("it began")


def test_a_verb_tells_where_the_mailbox_lives(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a line for the command, before the error."""
    monkeypatch.setattr(
        at_home,
        "staying",
        lambda address, real=at_home.staying: real(address, host / "records", host / "holds"),
    )
    done: list[str] = []

    def work(call: Call, _output: Output) -> int:
        done.append(call.words[0])
        return 0

    verb: Callable[[Call, Output], int] = at_home.at_home(work)
    stream = io.StringIO()
    assert 0 == verb(Call((BEN,)), Output(stream))
    assert AGAIN == verb(Call((ANN,)), Output(stream))
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert ("elsewhere", ANN, 1) == (said[0]["kind"], said[0]["address"], said[0]["host"])
    assert ("error", AGAIN) == (said[1]["kind"], said[1]["code"])
    assert [BEN] == done


@pytest.mark.parametrize(
    ("shard", "words", "own", "away"),
    [
        ("2", (), [BEN, NEW], []),
        ("1", (), [ANN], []),
        ("1", (ANN, BEN), [ANN], [(BEN, 2)]),
        ("2", (ANN,), [], [(ANN, 1)]),
        ("", (), [ANN, BEN, NEW], []),
        ("", (BEN,), [BEN], []),
    ],
)
def test_a_host_answers_for_its_own_mailboxes(
    host: Path,
    monkeypatch: pytest.MonkeyPatch,
    shard: str,
    words: tuple[str, ...],
    own: list[str],
    away: list[tuple[str, int]],
) -> None:
    """And says of others where they live."""
    assert host
    monkeypatch.setenv("PLEXUS_SHARD", shard)
    asked: list[str] = []
    monkeypatch.setattr(
        mailboxes, "quota", lambda address: asked.append(address) or mailboxes.Quota(0, 0, None)
    )
    stream = io.StringIO()
    assert 0 == mailboxes.VERBS["mailbox-list"].run(Call(words), Output(stream))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert away == [
        (each["address"], each["host"]) for each in lines if each["kind"] == "elsewhere"
    ]
    assert own == asked
