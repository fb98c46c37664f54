"""Write the records of deliveries to the archive (`mail.delivered`) before an entry is deleted.

A record is needed only when mailboxes are lost, so delivery does not wait for it: if S3 does not
accept it, this is logged, and the entry is deleted anyway.
"""

import os
import time
from dataclasses import dataclass

from postal_plexus.deliver import maillog
from postal_plexus.deliver.aws.errors import AwsError
from postal_plexus.deliver.aws.store import Store
from postal_plexus.mail.delivered import PREFIX

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Records:
    """One thread's connection for them."""

    store: Store
    bucket: str

    def write(self, records: list[bytes]) -> None:
        """Write the records of one batch into one object."""
        if not records:
            return
        now = time.time()
        moment = time.strftime("%Y-%m-%d/%H-%M-%S", time.gmtime(now))
        key = f"{PREFIX}{moment}.{int(now * 1000) % 1000:03d}-{os.urandom(6).hex()}.jsonl"
        try:
            self.store.put(self.bucket, key, b"".join(records), _ATTEMPTS)
        except AwsError as error:
            maillog.unrecorded(len(records), str(error))

    def close(self) -> None:
        """Close the connection."""
        self.store.close()
