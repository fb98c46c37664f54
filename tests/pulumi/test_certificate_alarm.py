"""From a certificate to the alarm: the task's own line, through the filter, to who is told."""

import datetime
import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from registrations import Run

from postal_plexus.certificates.task import main
from postal_plexus.certificates.tls_directory import TlsDirectory

HOST = "mail.example.org"


def install(tls: Path, days: float) -> None:
    """Install an authority's certificate with this many of its 90 days left."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)]) for cn in (HOST, "an issuer")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - datetime.timedelta(days=90))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    TlsDirectory(tls).install(pem, private, certificate)


def task_lines(tmp_path: Path, capfd: Any) -> list[dict[str, Any]]:
    """Return what a run of the task logs if no authority answers (or certbot is missing)."""
    (tmp_path / "state").mkdir()
    main(
        {
            "PLEXUS_CERTIFICATE_NAMES": HOST,
            # An adopted zone counts as delegated without a look.
            "PLEXUS_ZONES": json.dumps({"example.org": []}),
            "PLEXUS_ACME_DIRECTORY": "https://127.0.0.1:1/directory",
            "PLEXUS_TLS_PATH": str(tmp_path / "tls"),
            "PLEXUS_STATE_PATH": str(tmp_path / "state"),
        }
    )
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def metric(run: Run, lines: list[dict[str, Any]]) -> list[float]:
    """Return the values that the stack's metric filter makes of these lines."""
    given = run.one("aws:cloudwatch/logMetricFilter:LogMetricFilter", "-certbot").inputs
    (event,) = re.findall(r'\{ \$\.event = "([a-z.]+)" \}', given["pattern"])
    field = given["metricTransformation"]["value"].removeprefix("$.")
    return [line[field] for line in lines if line["event"] == event]


def rings(run: Run, values: list[float | None]) -> bool:
    """Return whether the alarm tells, after these minima of its periods; None for no data."""
    alarm = run.one("aws:cloudwatch/metricAlarm:MetricAlarm", "-certificate").inputs
    assert ("LessThanThreshold", "Minimum", len(values)) == (
        alarm["comparisonOperator"],
        alarm["statistic"],
        alarm["evaluationPeriods"],
    )
    missing = {"breaching": True, "notBreaching": False}[alarm["treatMissingData"]]
    return all(missing if each is None else each < alarm["threshold"] for each in values)


@pytest.mark.parametrize(("days", "told"), [(19, True), (21, False), (-1, True)])
def test_nineteen_days_are_told_and_twenty_one_are_not(
    run: Run,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    *,
    days: int,
    told: bool,
) -> None:
    """A certificate that nobody renews is told of when less than 20 days are left."""
    (tmp_path / "tls").mkdir()
    install(tmp_path / "tls", days)
    lines = task_lines(tmp_path, capfd)
    assert "certificate.failed" in {line["event"] for line in lines}
    (value,) = metric(run, lines)
    assert max(days, 0) - 0.01 <= value <= max(days, 0)
    assert told == rings(run, [value] * 4)


def test_a_task_that_does_not_run_is_told_of_after_a_day(run: Run) -> None:
    """And one missed run, or the first hours of a stack, are not."""
    assert rings(run, [None] * 4)
    assert not rings(run, [80.0, None, None, None])
    alarm = run.one("aws:cloudwatch/metricAlarm:MetricAlarm", "-certificate").inputs
    assert 86400 == alarm["period"] * alarm["evaluationPeriods"]
