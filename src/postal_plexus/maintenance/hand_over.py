"""Read a secret from an operator once: an SSM SecureString that is deleted when it is read.

Everybody who may describe tasks can read their arguments and environment. So the secret is stored
under /postal-plexus/STACK/hand-over/, where operators may write and only the task's role may read,
and the arguments contain its name. The task deletes it after reading; the operator's command
deletes it after the task, in case the task never started.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from typing import cast

from postal_plexus.deliver.aws.errors import AwsError
from postal_plexus.deliver.aws.session import AwsAccount, AwsSession
from postal_plexus.deliver.aws.signing import Signer
from postal_plexus.maintenance.programs import ProgramError


def take(name: str, environment: Mapping[str, str]) -> str:
    """Return the secret with this name (the last part of the parameter's), and delete it.

    Raises:
        ProgramError: it does not exist, or AWS refuses.
    """
    parameter = f"{environment['PLEXUS_HAND_OVER']}{name}"
    region = environment["AWS_REGION"]
    account = AwsAccount.from_environment(environment, region, threading.Event())
    url = environment.get("AWS_ENDPOINT_URL", "")
    account = AwsAccount(region, account.credentials, account.tls, {"ssm": url}, threading.Event())
    host = f"ssm.{region}.{account.suffix}"
    session = AwsSession(account, "ssm", account.endpoint("ssm", host), Signer("ssm", region))
    try:
        found = _call(session, "GetParameter", {"Name": parameter, "WithDecryption": True})
        _call(session, "DeleteParameter", {"Name": parameter})
    except AwsError as error:
        raise ProgramError(f"the handed-over secret cannot be read: {error}") from error
    finally:
        session.close()
    answer = cast("dict[str, dict[str, str]]", json.loads(found))
    return answer["Parameter"]["Value"]


def _call(session: AwsSession, operation: str, arguments: Mapping[str, object]) -> bytes:
    payload = json.dumps(arguments).encode()
    answer = session.request(
        operation,
        "POST",
        "/",
        {
            "content-type": "application/x-amz-json-1.1",
            "content-length": str(len(payload)),
            "x-amz-target": f"AmazonSSM.{operation}",
        },
        payload,
        hashlib.sha256(payload).hexdigest(),
    )
    return answer.read_all(64 * 1024)
