"""A security archive of a test's own, with the files that apt's archives have."""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import http.server
import lzma
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

SUITE = "trixie-security"


@dataclass
class Archive:
    """A security archive; `put` and `put_package` replace what it offers."""

    directory: Path
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def put(self, versions: Mapping[str, str]) -> None:
        """Offer packages of these versions, of which there is no file."""
        self.put_all({name: [version] for name, version in versions.items()})

    def put_all(self, versions: Mapping[str, Sequence[str]]) -> None:
        """Offer packages, some in several versions, of which there is no file."""
        self._write(
            "\n".join(
                f"Package: {name}\nArchitecture: amd64\nVersion: {version}\nDescription: a package\n"
                for name, several in versions.items()
                for version in several
            )
        )

    def put_package(self, package: Path, control: str) -> None:
        """Offer one package, whose file apt can fetch."""
        content = package.read_bytes()
        (self.directory / package.name).write_bytes(content)
        self._write(
            f"{control.strip()}\nFilename: ./{package.name}\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )

    def _write(self, index: str) -> None:
        """Write the index of amd64 and its release file."""
        suite = self.directory / "dists" / SUITE
        path = "main/binary-amd64/Packages"
        (suite / path).parent.mkdir(parents=True, exist_ok=True)
        files = {path: index.encode(), f"{path}.xz": lzma.compress(index.encode())}
        for name, content in files.items():
            (suite / name).write_bytes(content)
        hashes = "".join(
            f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}\n"
            for name, content in files.items()
        )
        release = (
            f"Suite: {SUITE}\nDate: {email.utils.format_datetime(datetime.now(UTC))}\n"
            f"Components: main\nArchitectures: amd64\nSHA256:\n{hashes}"
        )
        for name in ("InRelease", "Release"):
            (suite / name).write_text(release)


@contextlib.contextmanager
def served(directory: Path) -> Iterator[Archive]:
    """Provide an archive on a port of its own of 127.0.0.1."""
    made = Archive(directory)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=str(made.directory))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            # It is not signed: apt must take the other file, as from a source that it is told to trust.
            if self.path.endswith("/InRelease") and "APT" in self.headers.get("User-Agent", ""):
                self.send_error(404)
            else:
                super().do_GET()

        def log_message(self, *_given: object) -> None:
            made.asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}/"
    yield made
    server.shutdown()
