"""The signed return path of forwards."""

from __future__ import annotations

from pathlib import Path

from postal_plexus.deliver.return_path import ReturnPath

DAY = 86400.0
NOW = 20000 * DAY


def test_a_signature_is_good_for_its_domain_and_on_its_host(tmp_path: Path) -> None:
    """Another domain, another host's key, or a changed digit: not signed here."""
    (tmp_path / "other").mkdir()
    return_path = ReturnPath(str(tmp_path))
    sender = return_path.sign("example.org")
    assert True is return_path.verify(sender)
    assert True is ReturnPath(str(tmp_path)).verify(sender.upper())
    assert False is return_path.verify(sender.replace("example.org", "example.net"))
    assert False is ReturnPath(str(tmp_path / "other")).verify(sender)
    assert None is return_path.verify("postmaster@example.org")
    assert 0o600 == (tmp_path / "forward-seal.key").stat().st_mode & 0o777


def test_a_signature_lasts_for_two_weeks(tmp_path: Path) -> None:
    """Neither longer, nor before its day."""
    sender = ReturnPath(str(tmp_path), lambda: NOW).sign("example.org")
    assert [False, True, True, False] == [
        ReturnPath(str(tmp_path), lambda days=days: NOW + days * DAY).verify(sender)
        for days in (-1, 0, 14, 15)
    ]
