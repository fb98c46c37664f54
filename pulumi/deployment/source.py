"""The source of the images in one file, from which the weekly patches build.

Equal files produce equal octets, so that a deployment without changes shows none.
"""

import hashlib
import io
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

# tools/images, tools/smoke and tools/patch with all that they read.
_FOLDERS = ("containers", "src/postal_plexus", "tools", "requirements")
_FILES = (
    "pulumi/deployment/__init__.py",
    "pulumi/deployment/containers.py",
    "pulumi/deployment/host_directories.py",
)
_SKIPPED = {"__pycache__", ".mypy_cache"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


def files() -> list[Path]:
    """Return all of them, in order."""
    found = [ROOT / name for name in _FILES]
    for folder in _FOLDERS:
        found += [
            path
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and not _SKIPPED & set(path.parts) and path.suffix != ".pyc"
        ]
    return sorted(found)


def pack() -> tuple[Path, str]:
    """Write the file into .build; return its path and the hash of its octets."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files():
            entry = zipfile.ZipInfo(str(path.relative_to(ROOT)), _EPOCH)
            entry.external_attr = (0o755 if path.stat().st_mode & 0o100 else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    content = packed.getvalue()
    target = ROOT / ".build" / "source.zip"
    target.parent.mkdir(exist_ok=True)
    if not target.exists() or target.read_bytes() != content:
        target.write_bytes(content)
    return target, hashlib.sha256(content).hexdigest()
