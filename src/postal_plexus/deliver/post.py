"""What all workers share: the parts of the service, put together once in `service`."""

import threading
from dataclasses import dataclass

from postal_plexus.deliver.aws.session import AwsAccount
from postal_plexus.deliver.aws.signing import Signer
from postal_plexus.deliver.config import Config
from postal_plexus.deliver.courier import Courier
from postal_plexus.deliver.directory_follower import DirectoryFollower
from postal_plexus.deliver.failure_policy import Policy
from postal_plexus.deliver.gate import Gate
from postal_plexus.deliver.journal import Journal
from postal_plexus.deliver.metrics import Metrics
from postal_plexus.deliver.pace import BouncePace
from postal_plexus.deliver.question import Question
from postal_plexus.deliver.settlement import Settlement
from postal_plexus.deliver.twins import Twins


@dataclass(frozen=True, slots=True)
class Post:
    """The post office. Everything in it may be used by all threads."""

    config: Config
    account: AwsAccount
    s3_signer: Signer
    sqs_signer: Signer
    follower: DirectoryFollower
    journal: Journal
    courier: Courier
    dovecot_gate: Gate
    question: Question
    settlement: Settlement
    policy: Policy
    twins: Twins
    metrics: Metrics
    bounce_pace: BouncePace
    stopping: threading.Event
