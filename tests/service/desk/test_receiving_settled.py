"""tools/receiving-settled, which `pulumi up` runs before the receipt rules, against the desk's SES."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from service.desk.account import MailAccount

TOOL = Path(__file__).resolve().parents[3] / "tools" / "receiving-settled"
RULE_SET = "rules"


def environment(account: MailAccount, seconds: float) -> dict[str, str]:
    """Return the environment that the program gives."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    desk = account.desk.settings
    return others | {
        "PLEXUS_RULE_SET": RULE_SET,
        "PLEXUS_RECIPIENT": "receiving-settled@example.org",
        "PLEXUS_BUCKET": account.bucket,
        "PLEXUS_PREFIX": "inbound/",
        "PLEXUS_TOPIC": account.topic,
        "PLEXUS_PATIENCE_SECONDS": str(seconds),
        "AWS_REGION": desk.region,
        "AWS_ENDPOINT_URL": desk.endpoint_url,
        "AWS_ACCESS_KEY_ID": desk.root_key_id,
        "AWS_SECRET_ACCESS_KEY": desk.root_secret,
    }


def run(account: MailAccount, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run it."""
    return subprocess.run(
        [sys.executable, TOOL],
        env=environment(account, seconds),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture(autouse=True)
def _rules(account: MailAccount) -> None:
    account.allow_bucket()
    account.allow_topic()
    account.clear_rules()


def rules(account: MailAccount) -> list[object]:
    """Return what is in the rule set."""
    return list(account.ses.describe_receipt_rule_set(RuleSetName=RULE_SET)["Rules"])


def test_it_goes_on_once_ses_may(account: MailAccount) -> None:
    """A policy that is seen only later is waited for, and no rule is left."""
    account.allow_bucket(source_arn="arn:aws:ses:us-east-1:111122223333:receipt-rule-set/x:*")
    later = threading.Timer(3, account.allow_bucket)
    later.start()
    done = run(account, 60)
    later.join()
    assert (0, "") == (done.returncode, done.stderr)
    assert [] == rules(account)


def test_a_refusal_that_stays_is_told(account: MailAccount) -> None:
    """SES's words, of which bucket and topic, and what to do; no rule is left."""
    account.allow_topic("s3.amazonaws.com")
    done = run(account, 0)
    assert 1 == done.returncode
    assert done.stderr.startswith("receiving-settled: after 0 s SES may still not write to")
    assert "InvalidSnsTopic" in done.stderr
    assert account.topic in done.stderr
    assert [] == rules(account)


def test_what_is_no_matter_of_time_is_not_tried_again(account: MailAccount) -> None:
    """Another answer of SES ends it at once, in its words."""
    done = subprocess.run(
        [sys.executable, TOOL],
        env=environment(account, 600) | {"PLEXUS_RULE_SET": "not-there"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert 1 == done.returncode
    assert "RuleSetDoesNotExist" in done.stderr
