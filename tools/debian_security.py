"""What Debian's security archive offers for the packages of an image, and a fingerprint of it.

The names of an image's packages are in containers/NAME/packages. The archive's index is fetched
when it is asked for (`refresh`) and kept in .build, so that a tag does not move by itself between
two commands, and an unchanged or unconnected machine goes on with what it has.

It decides only *when* an image is built anew: what is installed is verified by apt. So the index is
checked against its release file, and the release file's signature is not checked.

Failures: none; an archive that does not answer is told on stderr, and what is known stays.
"""

import hashlib
import json
import lzma
import os
import re
import sys
import time
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path

SUITE = "trixie-security"
ARCHIVE = "http://deb.debian.org/debian-security"
_FRESH_SECONDS = 3600
_TIMEOUT_SECONDS = 20

Versions = Mapping[str, list[str]]


def offered(architecture: str, build: Path, *, refresh: bool) -> Versions:
    """Every package of the security archive with its versions, for Debian's `architecture`.

    Fetched anew if `refresh` and what is known is an hour old, or if nothing is known.
    """
    known = build / f"security-{architecture}.json"
    try:
        kept = json.loads(known.read_text())
    except (OSError, ValueError):
        kept = None
    if kept is not None and not (refresh and time.time() - kept["asked"] > _FRESH_SECONDS):
        return kept["versions"]
    try:
        versions = parse(_fetch(architecture))
        asked = time.time()
    except (OSError, ValueError, LookupError, lzma.LZMAError) as error:
        sys.stderr.write(
            f"images: {_archive()} does not answer ({error}), so it is not known whether Debian "
            "has newer packages; "
            + ("the last answer counts" if kept else "none are assumed")
            + "\n"
        )
        # Asked again with the next `refresh`, not with every command.
        asked, versions = 0.0, kept["versions"] if kept else {}
    build.mkdir(parents=True, exist_ok=True)
    fresh = known.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps({"asked": asked, "versions": versions}, sort_keys=True))
    fresh.replace(known)
    return versions


def is_known(architecture: str, build: Path) -> bool:
    """Whether the archive answered when it was last asked."""
    try:
        return bool(json.loads((build / f"security-{architecture}.json").read_text())["asked"])
    except (OSError, ValueError, LookupError):
        return False


def parse(index: str) -> dict[str, list[str]]:
    """Packages with their versions, of a Packages file (deb822, Debian policy 5.3)."""
    found: dict[str, list[str]] = {}
    for paragraph in index.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version): *(\S+)", paragraph, re.MULTILINE))
        if len(fields) == 2:
            found.setdefault(fields["Package"], []).append(fields["Version"])
    return {name: sorted(versions) for name, versions in sorted(found.items())}


def fingerprint(packages: Iterable[str], versions: Versions) -> str:
    """Eight hex digits that change when the archive offers something else for these packages."""
    lines = [
        f"{name} {version}\n" for name in sorted(packages) for version in versions.get(name, ())
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:8]


def _archive() -> str:
    return os.environ.get("PLEXUS_SECURITY_ARCHIVE", ARCHIVE).rstrip("/")


def _get(path: str) -> bytes:
    url = f"{_archive()}/dists/{SUITE}/{path}"
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url} is no web address")
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310  checked above
        return answer.read()


def _fetch(architecture: str) -> str:
    path = f"main/binary-{architecture}/Packages.xz"
    release = _get("InRelease").decode()
    found = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {re.escape(path)}$", release, re.MULTILINE)
    if not found:
        raise LookupError(f"its release file has no {path}")
    packed = _get(path)
    if hashlib.sha256(packed).hexdigest() != found[1]:
        raise ValueError(f"{path} is not the one of its release file; it changes just now")
    return lzma.decompress(packed).decode()
