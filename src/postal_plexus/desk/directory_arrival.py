"""Check whether the deployed directory has reached the three services.

`deliver` follows the object in S3 and writes its tables for Dovecot and Postfix; Postfix builds
maps from them. Until all have it, a new address gets no mail and a new password no login. Files
that this process may not read (the passwords' table, except for root) are skipped.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from postal_plexus.directory import TABLES, Directory, DirectoryError

if TYPE_CHECKING:
    from pathlib import Path

    from awsdesk.settings import DeskSettings


def directory_object(desk: DeskSettings, place: str) -> bytes:
    """Return the directory object at `s3://bucket/key`; b"" for no place. Raise OSError."""
    bucket, _, key = place.removeprefix("s3://").partition("/")
    if not key:
        return b""
    # Slow to import, and needed only here.
    boto3: Any = importlib.import_module("boto3")
    exceptions: Any = importlib.import_module("botocore.exceptions")
    client = boto3.client(
        "s3",
        endpoint_url=desk.endpoint_url,
        region_name=desk.region,
        aws_access_key_id=desk.root_key_id,
        aws_secret_access_key=desk.root_secret,
    )
    try:
        return client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except (exceptions.BotoCoreError, exceptions.ClientError) as error:
        raise OSError(f"{place}: {error}") from error
    finally:
        client.close()


def has_arrived(document: bytes, tables: Path, postfix_maps: Path) -> bool:
    """Return whether the tables, and Postfix's maps, are those of the directory object.

    A broken object never arrives: the last good one stays in use, so there is nothing to wait for.
    """
    try:
        directory = Directory.from_json(document)
    except DirectoryError:
        return True
    for name, render in TABLES.items():
        text = render(directory).encode()
        places = [tables / name]
        if name.startswith("postfix-"):
            places.append(postfix_maps / name.removeprefix("postfix-"))
        for place in places:
            try:
                if place.read_bytes() != text:
                    return False
            except PermissionError:
                continue
            except OSError:
                return False
    return True
