"""Who has a mailbox, and what each host does when the directory names another home. Pure."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from postal_plexus.config.lists import read_stack
from postal_plexus.directory import Host
from postal_plexus.directory.tables import dovecot_passwd
from postal_plexus.maintenance.homes import Act, Mailbox, Record, plan, read_table

_HASH = "{ARGON2ID}$argon2id$v=19$m=7168,t=5,p=1$HZITOFsFK3oMqK/tToVQag$DO76ivTeCen3k9teWE7XaeYG6legpiCB/UlKxhc+vLk"
ANN = Mailbox("ann@example.org", ("ann@example.org",), 2)


def acts(shard: int, mailbox: Mailbox, record: str | None) -> list[Act]:
    """What that host does about one mailbox."""
    return [act for act, _ in plan(shard, [mailbox], {mailbox.stored: record})]


def test_the_table_of_the_directory_is_read() -> None:
    """With homes, and a renamed mailbox under its first address with both its users."""
    directory = read_stack(
        {
            "hosts": 2,
            "domains": ["example.org"],
            "mailboxes": [
                {
                    "address": "ann@example.org",
                    "password-hash": _HASH,
                },
                {
                    "address": "eva@example.org",
                    "stored-as": "eve@example.org",
                    "password-hash": _HASH,
                    "quota-gb": 1,
                    "host": 2,
                },
            ],
        }
    ).on_hosts((Host("mail.example.org", "10.0.0.1"), Host("mail-2.example.org", "10.0.0.2")))
    assert [
        Mailbox("ann@example.org", ("ann@example.org",), 1),
        Mailbox("eve@example.org", ("eva@example.org", "eve@example.org"), 2),
    ] == read_table(dovecot_passwd(directory))


def test_a_move_step_by_step() -> None:
    """The old home leaves it, the new one takes it, and nobody else does anything."""
    for record, first, second in (
        (None, [Act.LEAVE], [Act.WAIT]),
        ("1 has\n", [Act.LEAVE], [Act.WAIT]),
        ("2 takes\n", [], [Act.TAKE]),
        ("2 takes a copy\n", [], [Act.TAKE]),
        ("2 has\n", [], []),
    ):
        assert first == acts(1, ANN, record)
        assert second == acts(2, ANN, record)
        assert [] == acts(3, ANN, record)


def test_whoever_was_named_passes_it_on_when_the_directory_has_changed_again() -> None:
    """Also back, before it was taken; and what is no record lets nobody open the mailbox."""
    back = Mailbox(ANN.stored, ANN.names, 1)
    assert [Act.LEAVE] == acts(2, back, "2 takes\n")
    assert [Act.WAIT] == acts(1, back, "2 takes\n")
    assert [Act.OWN] == acts(1, back, None)
    assert [Act.WAIT] == acts(1, back, "torn")


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.lists(st.integers(1, 3), min_size=3, max_size=3)),
        max_size=30,
    )
)
def test_no_two_hosts_ever_have_a_mailbox(steps: list[tuple[int, list[int]]]) -> None:
    """Whatever versions of the directory the hosts have, in whatever order they act."""
    record: str | None = None

    def openers(homes: list[int]) -> list[int]:
        now = Record.parse(record)
        assert now
        return [n for n in (1, 2, 3) if homes[n - 1] == n and now == Record(n, has=True)]

    apply: dict[Act, Callable[[int, int], str | None]] = {
        Act.LEAVE: lambda _shard, home: f"{home} takes\n",
        Act.TAKE: lambda shard, _home: f"{shard} has\n",
        Act.OWN: lambda shard, _home: f"{shard} has\n",
        Act.WAIT: lambda _shard, _home: record,
    }
    for shard, homes in steps:
        before = Record.parse(record)
        for act in acts(shard, Mailbox(ANN.stored, ANN.names, homes[shard - 1]), record):
            # Only the host that is named writes.
            assert act is Act.WAIT or (before and before.host == shard)
            record = apply[act](shard, homes[shard - 1])
        assert len(openers(homes)) <= 1
    # When all have one directory, it comes home.
    for shard in (1, 2, 3) * 3:
        for act in acts(shard, ANN, record):
            record = apply[act](shard, ANN.home)
    assert Record(ANN.home, has=True) == Record.parse(record)


@given(st.text(max_size=20))
def test_only_exact_records_count(text: str) -> None:
    """Any other text is nobody's."""
    record = Record.parse(text)
    assert record is None or text.split(" ", maxsplit=1)[0].isdigit()
