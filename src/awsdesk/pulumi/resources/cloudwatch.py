"""CloudWatch: alarms and the dashboard."""

from typing import Any

from awsdesk.pulumi.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
    auto_name,
    objects,
    tag_list,
)

_ALARM_ARGUMENTS = {
    "actionsEnabled": "ActionsEnabled",
    "alarmActions": "AlarmActions",
    "alarmDescription": "AlarmDescription",
    "comparisonOperator": "ComparisonOperator",
    "datapointsToAlarm": "DatapointsToAlarm",
    "evaluationPeriods": "EvaluationPeriods",
    "metricName": "MetricName",
    "namespace": "Namespace",
    "okActions": "OKActions",
    "period": "Period",
    "statistic": "Statistic",
    "threshold": "Threshold",
    "treatMissingData": "TreatMissingData",
}


def _dimensions(given: dict[str, str] | None) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in sorted((given or {}).items())]


def _query(query: dict[str, Any]) -> dict[str, Any]:
    put: dict[str, Any] = {"Id": query["id"], "ReturnData": query.get("returnData", False)}
    if query.get("label"):
        put["Label"] = query["label"]
    if query.get("expression"):
        put["Expression"] = query["expression"]
    if query.get("metric"):
        metric: dict[str, Any] = query["metric"]
        put["MetricStat"] = {
            "Metric": {
                "Namespace": metric["namespace"],
                "MetricName": metric["metricName"],
                "Dimensions": _dimensions(metric.get("dimensions")),
            },
            "Period": metric["period"],
            "Stat": metric["stat"],
        }
    return put


def _put_alarm(aws: Aws, name: str, inputs: Inputs) -> None:
    arguments: dict[str, Any] = {"AlarmName": name, "Tags": tag_list(inputs)}
    for given, argument in _ALARM_ARGUMENTS.items():
        if inputs.get(given) is not None:
            arguments[argument] = inputs[given]
    if inputs.get("metricQueries"):
        arguments["Metrics"] = [_query(query) for query in objects(inputs, "metricQueries")]
    else:
        arguments["Dimensions"] = _dimensions(inputs.get("dimensions"))
    aws.client("cloudwatch").put_metric_alarm(**arguments)


def _create_alarm(aws: Aws, logical_name: str, inputs: Inputs) -> Made:
    name = auto_name(inputs, "name", logical_name)
    _put_alarm(aws, name, inputs)
    return Made(name, {"name": name, "arn": aws.arn("cloudwatch", f"alarm:{name}")})


def _update_alarm(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    _put_alarm(aws, existing.id, inputs)
    return dict(existing.outputs)


def _delete_alarm(aws: Aws, existing: Existing) -> None:
    aws.client("cloudwatch").delete_alarms(AlarmNames=[existing.id])


def _put_dashboard(aws: Aws, inputs: Inputs) -> None:
    aws.client("cloudwatch").put_dashboard(
        DashboardName=inputs["dashboardName"], DashboardBody=inputs["dashboardBody"]
    )


def _create_dashboard(aws: Aws, _name: str, inputs: Inputs) -> Made:
    _put_dashboard(aws, inputs)
    name = inputs["dashboardName"]
    return Made(name, {"dashboardArn": aws.arn("cloudwatch", f"dashboard/{name}", regional=False)})


def _update_dashboard(aws: Aws, existing: Existing, inputs: Inputs) -> Outputs:
    _put_dashboard(aws, inputs)
    return dict(existing.outputs)


def _delete_dashboard(aws: Aws, existing: Existing) -> None:
    aws.client("cloudwatch").delete_dashboards(DashboardNames=[existing.id])


TYPES = (
    ResourceType(
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        _create_alarm,
        _delete_alarm,
        _update_alarm,
        properties=frozenset({*_ALARM_ARGUMENTS, "dimensions", "metricQueries", "tags", "tagsAll"}),
        replaces=frozenset({"name"}),
    ),
    ResourceType(
        "aws:cloudwatch/dashboard:Dashboard",
        _create_dashboard,
        _delete_dashboard,
        _update_dashboard,
        properties=frozenset({"dashboardBody"}),
        replaces=frozenset({"dashboardName"}),
    ),
)
