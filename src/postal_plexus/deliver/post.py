"""What all workers share: the parts of the service, put together once in `service`."""

import threading
from typing import NamedTuple

from postal_plexus.deliver.aws.session import AwsAccount
from postal_plexus.deliver.aws.signing import Signer
from postal_plexus.deliver.config import Config
from postal_plexus.deliver.directory_follower import DirectoryFollower
from postal_plexus.deliver.failure_policy import Policy
from postal_plexus.deliver.forward_bounces import ForwardBounces
from postal_plexus.deliver.forward_seal import ForwardSeal
from postal_plexus.deliver.journal import Journal
from postal_plexus.deliver.metrics import Metrics
from postal_plexus.deliver.pace import BouncePace
from postal_plexus.deliver.route import Route
from postal_plexus.deliver.settlement import Settlement
from postal_plexus.deliver.twins import Twins


class Post(NamedTuple):
    """The post office. Everything in it may be used by all threads."""

    config: Config
    account: AwsAccount
    s3_signer: Signer
    sqs_signer: Signer
    follower: DirectoryFollower
    journal: Journal
    dovecot: Route
    postfix: Route
    forward_seal: ForwardSeal
    forward_bounces: ForwardBounces
    settlement: Settlement
    policy: Policy
    twins: Twins
    metrics: Metrics
    bounce_pace: BouncePace
    stopping: threading.Event
