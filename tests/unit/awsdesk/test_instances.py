"""Which host of a desk a cluster is on, and where its ports are."""

from pathlib import Path

from awsdesk import instances
from awsdesk.instances import Instance


def test_the_only_host_has_every_cluster(tmp_path: Path) -> None:
    """Without a file, as on a desk of an older version."""
    path = tmp_path / "instances.json"
    assert Instance() == instances.of_cluster(path, "any")
    assert [Instance()] == instances.load(path)
    assert ("127.0.0.1", "dovecot") == (Instance().loopback, Instance().named("dovecot"))


def test_a_cluster_of_several_hosts_is_on_its_own(tmp_path: Path) -> None:
    """One that is not in the file yet is on none, so that its tasks wait."""
    path = tmp_path / "instances.json"
    first, second = Instance(1, "10.89.0.254"), Instance(2, "10.89.0.253")
    instances.save(path, {"a": first, "b": second})
    assert [first, second, None] == [instances.of_cluster(path, each) for each in "abc"]
    assert [first, second] == instances.load(path)
    assert ("127.0.0.2", "dovecot-2") == (second.loopback, second.named("dovecot"))
    path.write_text("{")
    assert instances.of_cluster(path, "a") is None
