"""Commands that the program runs on the operator's machine: noted on the desk, not run.

What the program does by them is done for AWS: pushing images, waiting until a policy is seen
everywhere. The desk's images are here, and its policies are seen at once.
"""

from awsdesk.pulumi.resources.resource_type import Aws, Inputs, Made, ResourceType


def _note(_aws: Aws, logical_name: str, _inputs: Inputs) -> Made:
    return Made(logical_name, {"stdout": "", "stderr": ""})


TYPES = (
    ResourceType(
        "command:local:Command",
        _note,
        replaces=frozenset({"triggers"}),
        recorded=frozenset({"create", "environment"}),
    ),
)
