"""Act as the SES service: S3 puts and SNS publishes that the resource's policy must allow.

ministack cannot be called as a service principal over HTTP. So its evaluator is called with
`ses.amazonaws.com` as the principal and the rule as `aws:SourceArn`, as it does itself for S3's
notifications; then its own functions do the work.

Failures: `DeniedError` (the policy does not allow it, or there is none), `MissingError` (no such
bucket or topic). Both are `ActionError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awsdesk.ministack_patches import environment, private

SERVICE = "ses.amazonaws.com"


class ActionError(Exception):
    """An action of SES on a resource failed."""


class DeniedError(ActionError):
    """The resource's policy does not let SES do it."""


class MissingError(ActionError):
    """There is no such resource."""


@dataclass(frozen=True)
class ServicePrincipal:
    """SES acting for one account and region, for one source (a receipt rule, an identity)."""

    account_id: str
    region: str
    source_arn: str

    def put_object(self, bucket: str, key: str, content: bytes) -> None:
        """Store an object as S3's PutObject does.

        Raises:
            ActionError: no such bucket, its policy does not let SES write there, or the disk is
                full.
        """
        s3 = environment.module("services.s3")
        with environment.scope(self.account_id, self.region):
            self.require_put_object(bucket, key)
            status, _, body = private.S3.put_object(
                bucket, key, content, {"content-type": "application/octet-stream"}
            )
            stored = private.S3.buckets[bucket]["objects"].get(key)
            if status == 200 and s3.S3_PERSIST and not self._is_on_disk(bucket, key, content):
                # ministack logs the failure and answers 200.
                raise ActionError(f"{key} could not be written to the disk")
            if status == 200 and stored is not None and s3.S3_PERSIST:
                # It is on disk by now; read it from there instead of keeping 40 MB in memory.
                stored["body"] = None
        if status != 200:
            raise ActionError(f"s3 answered {status} to the put of {key}: {body!r}")

    def _is_on_disk(self, bucket: str, key: str, content: bytes) -> bool:
        path = private.S3.object_disk_path(bucket, key)
        try:
            size, _ = Path(path).stat().st_size, Path(f"{path}.meta.json").stat()
        except OSError:
            return False
        return size == len(content)

    def require_put_object(self, bucket: str, key: str) -> None:
        """Check that SES may store the object.

        Raises:
            ActionError: no such bucket, or its policy does not let SES write there.
        """
        with environment.scope(self.account_id, self.region):
            owner = private.S3.bucket_owner_account(bucket)
            if owner is None:
                raise MissingError(f"no such bucket: {bucket}")
            policy = private.S3.bucket_policies.get_scoped(owner, None, bucket)
        if not self._allowed(policy, "s3:PutObject", f"arn:aws:s3:::{bucket}/{key}"):
            raise DeniedError(
                f"the policy of bucket {bucket} does not let {SERVICE} put {key}"
                f" for {self.source_arn}"
            )

    def publish(self, topic_arn: str, message: str, subject: str) -> None:
        """Publish as SNS's Publish does; the topic delivers to queues whose policy allows it.

        Raises:
            ActionError: no such topic, or its policy does not let SES publish there.
        """
        sns = environment.module("services.sns")
        with environment.scope(self.account_id, self.region):
            self.require_publish(topic_arn)
            try:
                sns.publish_internal(topic_arn, message, subject)
            except sns.SnsPublishError as error:
                raise ActionError(f"sns refused the notification: {error}") from error

    def require_publish(self, topic_arn: str) -> None:
        """Check that SES may publish to the topic.

        Raises:
            ActionError: no such topic, or its policy does not let SES publish there.
        """
        with environment.scope(self.account_id, self.region):
            topic = private.SNS.topic_by_arn_any_scope(topic_arn)
            if topic is None:
                raise MissingError(f"no such topic: {topic_arn}")
            policy = topic.get("attributes", {}).get("Policy")
        if not self._allowed(policy, "sns:Publish", topic_arn):
            raise DeniedError(
                f"the policy of topic {topic_arn} does not let {SERVICE} publish"
                f" for {self.source_arn}"
            )

    def _allowed(self, policy: Any, action: str, resource_arn: str) -> bool:
        if not policy:
            return False
        evaluator = environment.module("core.iam_evaluator")
        context = evaluator.EvalContext(
            # The service itself, not a principal of the account: grants to the account do not apply
            # to it.
            principal_arn="*",
            principal_type="Service",
            principal_account="",
            action=action,
            resource_arn=resource_arn,
            region=self.region,
            # Services call each other over TLS.
            source_ip="127.0.0.1",
            secure_transport=True,
            service_context={
                "aws:sourcearn": self.source_arn,
                "aws:sourceaccount": self.account_id,
                "aws:sourceowner": self.account_id,
                "aws:principalisawsservice": "true",
                "aws:principalservicename": SERVICE,
            },
        )
        decision = evaluator.evaluate_resource_policy(policy, context, service=SERVICE)
        return decision.decision == "Allow"
