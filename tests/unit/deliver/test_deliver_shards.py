"""Several hosts: each part of a message belongs to one of them, whenever each of them looks."""

from hypothesis import example, given
from hypothesis import strategies as st

from postal_plexus.deliver import directory_versions
from postal_plexus.deliver.aws.store import read_versions
from postal_plexus.deliver.directory_versions import CLOCKS_DIFFER_SECONDS, Version
from postal_plexus.deliver.recipients import resolve
from postal_plexus.directory import Alias, Directory, Domain, Host, Mailbox
from postal_plexus.mail.envelope import Envelope

DIRECTORY = Directory(
    (Domain("example.org"), Domain("example.net", "cat@example.org", 2)),
    (
        Mailbox("ann@example.org", "{PLAIN}x"),
        Mailbox("ben@example.net", "{PLAIN}x", home=2),
        Mailbox("cat@example.org", "{PLAIN}x", home=3),
    ),
    (Alias("all@example.net", ("ann@example.org", "ben@example.net", "x@else.example")),),
    tuple(Host(f"mail-{number}.example.org", f"10.0.0.{number}") for number in (1, 2, 3)),
)
RECIPIENTS = ("ann+a@example.org", "all@example.net", "any@example.net", "no@example.org")


def test_each_addressee_belongs_to_one_host() -> None:
    """Each mailbox belongs to its home, everything else to host 1; none is missing or twice."""
    whole = resolve(Envelope("", RECIPIENTS), DIRECTORY)
    parts = [whole.of_shard(DIRECTORY, shard) for shard in (1, 2, 3)]
    assert [("ann@example.org",), ("ben@example.net",), ("cat@example.org",)] == [
        tuple(each.name for each in part.mailboxes) for part in parts
    ]
    assert [whole.forwards, (), ()] == [part.forwards for part in parts]
    assert [("no@example.org",), (), ()] == [part.unknown for part in parts]
    assert "all@example.net" == parts[1].original("ben@example.net")


def test_a_stack_of_one_host_acts_on_everything() -> None:
    """Without a number nothing is left to others."""
    whole = resolve(Envelope("", RECIPIENTS), DIRECTORY)
    assert whole == whole.of_shard(DIRECTORY, 0)


_SKEW = st.floats(-CLOCKS_DIFFER_SECONDS / 2, CLOCKS_DIFFER_SECONDS / 2)
_PUBLISHED = st.lists(st.floats(0, 300), min_size=1, max_size=8, unique=True).map(sorted)


@given(_PUBLISHED, st.floats(0, 300), st.lists(st.floats(0, 400), min_size=2, max_size=4), _SKEW)
@example([0.0, 10.0], 12.0, [0.0, 300.0], 0.0)
def test_all_hosts_choose_one_version(
    published: list[float], accepted_at: float, delays: list[float], skew: float
) -> None:
    """Whenever a host looks, from the moment on at which it may, it finds what all others find.

    S3's clock is off by `skew`; those of SES and the hosts agree. A host sees what had been
    published when it looked.
    """
    for moment in (
        directory_versions.of_known(accepted_at),
        directory_versions.of_new(accepted_at),
    ):
        chosen = set[str]()
        for delay in delays:
            looks_at = moment.seen_from + delay
            seen = [
                Version(str(number), float(int(at + skew)))
                for number, at in enumerate(published)
                if at <= looks_at
            ]
            counting = directory_versions.newest(seen[::-1], moment)
            chosen.add(counting[0].id if counting else "")
        assert 1 == len(chosen)


def test_a_new_address_counts_at_once() -> None:
    """SES accepts mail for it as soon as its rule is there, which is after the version with it."""
    versions = [Version("new", 1000.0), Version("old", 0.0)]
    (first, *_) = directory_versions.newest(versions, directory_versions.of_new(1000.0))
    assert "new" == first.id
    (first, *_) = directory_versions.newest(versions, directory_versions.of_known(1000.0))
    assert "old" == first.id


def test_s3s_list_of_versions() -> None:
    """Only versions of exactly this key count, the newest first; a deletion is not a version."""
    entries = "".join(
        f"<{kind}><Key>{key}</Key><VersionId>{version}</VersionId>"
        f"<IsLatest>true</IsLatest><LastModified>{at}</LastModified></{kind}>"
        for kind, key, version, at in (
            ("DeleteMarker", "directory/directory.json", "gone", "2026-11-29T00:00:09.000Z"),
            ("Version", "directory/directory.json", "b", "2026-11-29T00:00:02.000Z"),
            ("Version", "directory/directory.json", "a", "2026-11-29T00:00:01Z"),
            ("Version", "directory/directory.json.bak", "x", "2026-11-29T00:00:03.000Z"),
            ("Version", "directory/directory.json", "null", "2026-11-29T00:00:00.000Z"),
            ("Version", "directory/directory.json", "c", "yesterday"),
        )
    )
    listing = f'<?xml version="1.0"?><ListVersionsResult>{entries}</ListVersionsResult>'
    found = read_versions(listing, "directory/directory.json")
    assert ["b", "a"] == [each.id for each in found]
    assert 1.0 == found[0].since - found[1].since
    assert [] == read_versions("", "directory/directory.json")
