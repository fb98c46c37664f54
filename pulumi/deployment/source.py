"""The source of a build in one file: of the images, for the weekly patches, or of the doctor.

Equal files produce equal octets, so that a deployment without changes shows none.
"""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Source:
    """`name`: of the packed file, here and in the bucket; folders are taken with all in them."""

    name: str
    folders: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def key(self) -> str:
        """Where it lies in the bucket."""
        return f"source/{self.name}"


# tools/images, tools/smoke and tools/patch with all that they read.
IMAGES = Source(
    "source.zip",
    ("containers", "src/postal_plexus", "tools", "requirements"),
    (
        "pulumi/deployment/__init__.py",
        "pulumi/deployment/containers.py",
        "pulumi/deployment/host_directories.py",
    ),
)
# postal_plexus.operations.weekly with what it imports.
DOCTOR = Source(
    "doctor.zip",
    (
        "src/postal_plexus/config",
        "src/postal_plexus/mail",
        "src/postal_plexus/operations",
    ),
    ("requirements/patch.txt", "src/postal_plexus/__init__.py"),
)
_SKIPPED = {"__pycache__", ".mypy_cache"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


def files(source: Source) -> list[Path]:
    """Return all of them, in order."""
    found = [ROOT / name for name in source.files]
    for folder in source.folders:
        found += [
            path
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and not _SKIPPED & set(path.parts) and path.suffix != ".pyc"
        ]
    return sorted(found)


def pack(source: Source) -> tuple[Path, str]:
    """Write the file into .build; return its path and the hash of its octets."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files(source):
            entry = zipfile.ZipInfo(str(path.relative_to(ROOT)), _EPOCH)
            entry.external_attr = (0o755 if path.stat().st_mode & 0o100 else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    content = packed.getvalue()
    target = ROOT / ".build" / source.name
    target.parent.mkdir(exist_ok=True)
    if not target.exists() or target.read_bytes() != content:
        target.write_bytes(content)
    return target, hashlib.sha256(content).hexdigest()
