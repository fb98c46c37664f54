"""What `plexus reports` does: find the reports, and print a summary."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from postal_plexus.cli import system
from postal_plexus.cli.exits import CommandError, Exit
from postal_plexus.operations.archive import Archive
from postal_plexus.reports import digest, dmarc
from postal_plexus.reports import tls as tls_reports
from postal_plexus.reports.attachments import ReportError, documents
from postal_plexus.reports.digest import DomainDigest, TlsDigest
from postal_plexus.reports.recognition import HEAD, is_authenticated, may_hold_report

_SHOWN_SOURCES = 10


@dataclass
class _Found:
    """The reports that were found, and what could not be read."""

    aggregates: list[dmarc.Aggregate] = field(default_factory=list[dmarc.Aggregate])
    tls: list[tls_reports.TlsReport] = field(default_factory=list[tls_reports.TlsReport])
    unread: list[str] = field(default_factory=list[str])
    unproved: int = 0

    def add(self, name: str, octets: bytes) -> None:
        """Read a message or a file. If it contains no report, note it in `unread`."""
        before = len(self.aggregates) + len(self.tls)
        try:
            for document in documents(octets):
                if document.lstrip()[:1] == b"{":
                    self.tls.append(tls_reports.read(document))
                else:
                    self.aggregates.append(dmarc.read(document))
        except ReportError as error:
            self.unread.append(f"{name}: {error}")
            return
        if before == len(self.aggregates) + len(self.tls):
            self.unread.append(f"{name}: it contains no report")


def run(args: Namespace) -> int:
    """Print a summary for each domain. Return DATA if a file cannot be read."""
    found = _Found()
    if args.files:
        _from_files(found, args.files)
    else:
        _from_archive(found, args)
    domains, encrypted = digest.domains(found.aggregates), digest.tls(found.tls)
    if args.json:
        print(json.dumps(_document(domains, encrypted, found), indent=2, default=_plain))
    else:
        for line in _told(domains, encrypted, found):
            print(line)
    if args.files and found.unread:
        raise CommandError(Exit.DATA, *found.unread)
    for line in found.unread:  # from strangers, so not a failure
        print(f"plexus: left out {line}", file=sys.stderr)
    return Exit.OK


def _from_files(found: _Found, files: Sequence[Path]) -> None:
    for file in files:
        try:
            octets = file.read_bytes()
        except OSError as error:
            line = f"cannot be read ({error.strerror}); give the path of a report"
            raise CommandError(Exit.NO_INPUT, line, source=str(file)) from error
        found.add(str(file), octets)


def _from_archive(found: _Found, args: Namespace) -> None:
    archive = Archive(system.connect(args))
    mails = list(archive.since(datetime.now(UTC) - timedelta(days=args.days)))
    console = Console(stderr=True)
    for mail in track(mails, "Looking for reports", console=console, transient=True):
        head = archive.read(mail.message_id, HEAD)
        if not may_hold_report(head):
            continue
        if not is_authenticated(head):
            found.unproved += 1
            continue
        found.add(f"mail {mail.message_id}", archive.read(mail.message_id))


def _told(
    domains: Sequence[DomainDigest], encrypted: Sequence[TlsDigest], found: _Found
) -> Iterator[str]:
    if not domains and not encrypted and not found.unread:
        yield "No reports. Other servers send them once a day to the postmaster of each domain."
    for each in domains:
        yield f"{each.domain}  DMARC, policy {each.policy}, {_period(each)}"
        share = f" ({100 * each.passed / each.mails:.1f} %)" if each.mails else ""
        yield f"  {each.passed} of {each.mails} messages passed{share}"
        for source in each.failing[:_SHOWN_SOURCES]:
            proved = f", authenticated as {', '.join(source.proved)}" if source.proved else ""
            yield f"  {source.count:>7} from {source.address}{proved}"
            yield f"          {source.kind.value}"
        if len(each.failing) > _SHOWN_SOURCES:
            yield f"          and {len(each.failing) - _SHOWN_SOURCES} other sources (see --json)"
        yield f"  Next: {each.advice}."
        yield ""
    for tls_digest in encrypted:
        yield f"{tls_digest.domain}  TLS, {_period(tls_digest)}"
        failed = sum(count for _, count in tls_digest.failures)
        yield f"  {tls_digest.successes} sessions encrypted, {failed} failed"
        for kind, count in tls_digest.failures:
            yield f"  {count:>7} {kind}"
        yield ""
    if found.unproved:
        yield f"{found.unproved} reports left out: SES could not authenticate their sender."


def _period(found: DomainDigest | TlsDigest) -> str:
    reporters = len(found.reporters)
    who = f"{reporters} reporter{'s' if reporters != 1 else ''}"
    return f"{found.begin:%Y-%m-%d} to {found.end:%Y-%m-%d}, {who}"


def _document(
    domains: Sequence[DomainDigest], encrypted: Sequence[TlsDigest], found: _Found
) -> dict[str, Any]:
    return {
        "dmarc": [
            {**asdict(each), "safe_policy": each.safe_policy, "advice": each.advice}
            for each in domains
        ],
        "tls": [asdict(each) for each in encrypted],
        "unauthenticated": found.unproved,
        "not_read": found.unread,
    }


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, digest.Kind):
        return value.name.lower()
    raise TypeError(type(value).__name__)
