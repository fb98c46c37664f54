"""The mail host as launched: its processor's credits, and who hears what they cost."""

import json

import pytest
from registrations import PROGRAM, Run, record, stack_configuration


def test_a_burstable_host_boots_at_full_speed(run: Run) -> None:
    """A t4g has no credits at its launch, so `standard` would give it 6 CPU seconds a minute."""
    template = run.one("aws:ec2/launchTemplate:LaunchTemplate").inputs
    assert template["instanceType"].startswith("t")
    assert {"cpuCredits": "unlimited"} == template["creditSpecification"]


def test_credits_that_cost_money_raise_an_alarm_and_the_balance_is_to_be_seen(run: Run) -> None:
    """Of the host's group, whichever instance it has."""
    (alarm,) = [
        entry.inputs
        for entry in run.of("aws:cloudwatch/metricAlarm:MetricAlarm")
        if entry.inputs.get("metricName") == "CPUSurplusCreditsCharged"
    ]
    assert ("AWS/EC2", "Sum") == (alarm["namespace"], alarm["statistic"])
    assert alarm["alarmActions"]
    body = run.one("aws:cloudwatch/dashboard:Dashboard").inputs["dashboardBody"]
    graphs = [widget["properties"]["metrics"] for widget in json.loads(body)["widgets"]]
    (balance,) = [
        metric for metrics in graphs for metric in metrics if "CPUCreditBalance" in metric
    ]
    assert {"AutoScalingGroupName": balance[-1]} == alarm["dimensions"]


def test_a_host_that_runs_short_raises_an_alarm(run: Run) -> None:
    """Memory, swap, disk, state volume, a container's own limit: told for 15 minutes on end."""
    (alarm,) = [
        entry.inputs
        for entry in run.of("aws:cloudwatch/metricAlarm:MetricAlarm")
        if entry.inputs.get("metricName") == "HostShort"
    ]
    for what in ("memory", "swap", "disk", "state volume", "container"):
        assert what in alarm["alarmDescription"]
    assert 900 == alarm["period"] * alarm["evaluationPeriods"]
    assert "notBreaching" == alarm["treatMissingData"]


@pytest.mark.parametrize(
    ("spot", "quota", "is_warned"),
    [(True, 0, True), (True, 1, True), (True, 2, False), (True, None, False), (False, 0, False)],
)
def test_a_spot_quota_that_lets_no_host_come_is_told(
    spot: bool, quota: float | None, is_warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With what to do, before the group waits in silence; who may not ask is not stopped."""
    config = {**stack_configuration(PROGRAM / "Pulumi.prod.yaml"), "postal-plexus:spot": spot}
    with caplog.at_level("WARNING"):
        record(config, spot_quota=quota)
    told = [each for each in caplog.messages if "quota of Spot instances" in each]
    assert is_warned == bool(told)
    assert all("postal-plexus:spot to false" in each for each in told)
