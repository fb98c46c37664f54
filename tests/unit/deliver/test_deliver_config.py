"""The service's configuration: read once, and all that is wrong said at once."""

from __future__ import annotations

import pytest

from postal_plexus.deliver.config import ConfigError, read_config
from postal_plexus.deliver.policy import VirusPolicy

GOOD = {
    "AWS_REGION": "us-east-1",
    "PLEXUS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/1/mail",
    "PLEXUS_DEAD_LETTER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/1/dead",
    "PLEXUS_ARCHIVE_BUCKET": "archive",
    "PLEXUS_DIRECTORY": "s3://archive/directory/directory.json",
    "PLEXUS_HOSTNAME": "mail.example.org",
}


def test_defaults_are_the_contracts() -> None:
    """What the task definition need not say."""
    config = read_config(GOOD)
    assert ("archive", "directory/directory.json") == (
        config.directory_bucket,
        config.directory_key,
    )
    assert "/run/plexus/dovecot/lmtp.sock" == config.lmtp_socket
    assert VirusPolicy.DEAD_LETTER is config.virus


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Each variable by name."""
    wrong = {"PLEXUS_QUEUE_URL": "mail", "PLEXUS_DIRECTORY": "/x", "PLEXUS_VIRUS": "eat"}
    with pytest.raises(ConfigError) as error:
        read_config(wrong)
    for name in (*GOOD, "PLEXUS_VIRUS"):
        assert name in str(error.value)
