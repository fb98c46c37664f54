"""What Debian's security archive offers for the packages of an image, and a fingerprint of it.

The names of an image's packages are in containers/NAME/packages. The archive is the one that the
base image's apt asks, or PLEXUS_SECURITY_ARCHIVE. Its index is fetched when it is asked for
(`refresh`) and kept in .build, so that a tag does not move by itself between two commands, and an
unchanged or unconnected machine goes on with what it has.

It decides only *when* an image is built anew: what is installed is verified by apt. So the index is
checked against its release file, and the release file's signature is not checked.

Failures: none; an archive that does not answer is told on stderr, and what is known stays.
"""

import hashlib
import io
import json
import lzma
import os
import re
import sys
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

SUITE = "trixie-security"
UNKNOWN = "Debian's security archive"
_FRESH_SECONDS = 3600
_TIMEOUT_SECONDS = 20

Versions = Mapping[str, list[str]]


def offered(
    architecture: str, build: Path, sources: Callable[[], str], *, refresh: bool
) -> Versions:
    """Every package of the security archive with its versions, for Debian's `architecture`.

    Fetched anew if `refresh` and what is known is an hour old, or if nothing is known. `sources` is
    called only then: it gives the base image's apt sources, or raises LookupError.
    """
    known = build / f"security-{architecture}.json"
    try:
        kept = json.loads(known.read_text())
    except (OSError, ValueError):
        kept = None
    if kept is not None and not (refresh and time.time() - kept["asked"] > _FRESH_SECONDS):
        return kept["versions"]
    archive = os.environ.get("PLEXUS_SECURITY_ARCHIVE", "")
    try:
        archive = archive or archive_of(sources())
        versions = parse(_fetch(archive.rstrip("/"), architecture))
        asked = time.time()
    except (OSError, ValueError, LookupError, lzma.LZMAError) as error:
        sys.stderr.write(
            f"images: {archive or UNKNOWN} does not answer ({error}), so it is not known whether "
            "Debian has newer packages; "
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


def sources_in(packed: bytes) -> str:
    """The files of apt's sources in a tar of /etc/apt, a blank line between two.

    Raises:
        LookupError: it cannot be read.
    """
    found: list[str] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(packed)) as apt:
            for member in apt.getmembers():
                file = apt.extractfile(member) if member.isfile() else None
                if file and re.search(r"/sources\.list(\.d/[^/]+\.(list|sources))?$", member.name):
                    found.append(file.read().decode())
    except (tarfile.TarError, ValueError) as error:
        raise LookupError(f"the base image's /etc/apt cannot be read: {error}") from error
    return "\n\n".join(found)


def archive_of(sources: str) -> str:
    """The address of the security archive in apt's sources, of either format (sources.list(5)).

    Raises:
        LookupError: they name none.
    """
    for line in sources.splitlines():
        found = re.match(rf"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+{SUITE}/?\s", line)
        if found:
            return found[1]
    for paragraph in re.split(r"\n\s*\n", sources):
        fields = {
            name.lower(): value.split()
            for name, value in re.findall(
                r"^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)", paragraph, re.MULTILINE
            )
        }
        if (
            "deb" in fields.get("types", ())
            and SUITE in fields.get("suites", ())
            and fields.get("enabled") != ["no"]
            and fields.get("uris")
        ):
            return fields["uris"][0]
    raise LookupError(f"the base image's apt sources have no {SUITE}")


def fingerprint(packages: Iterable[str], versions: Versions) -> str:
    """Eight hex digits that change when the archive offers something else for these packages."""
    lines = [
        f"{name} {version}\n" for name in sorted(packages) for version in versions.get(name, ())
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:8]


def _get(archive: str, path: str) -> bytes:
    url = f"{archive}/dists/{SUITE}/{path}"
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url} is not a web address")
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310  checked above
        return answer.read()


def _fetch(archive: str, architecture: str) -> str:
    path = f"main/binary-{architecture}/Packages.xz"
    release = _get(archive, "InRelease").decode()
    found = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {re.escape(path)}$", release, re.MULTILINE)
    if not found:
        raise LookupError(f"its release file has no {path}")
    packed = _get(archive, path)
    if hashlib.sha256(packed).hexdigest() != found[1]:
        raise ValueError(f"{path} is not the one of its release file; it changes just now")
    return lzma.decompress(packed).decode()
