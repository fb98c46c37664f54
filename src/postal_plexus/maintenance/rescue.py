"""Take over the mailboxes that a lost host had, and whose home is this host now.

`plexus failover` runs it on each other host, while the lost host's instance is terminated and none
can be launched, so that no two hosts ever have one mailbox. It changes only the mailboxes' records:
Dovecot's container takes the indexes, as in any other move (`homes`).

Kinds of lines: `rescued` (address, flags_from: when the copy of its inbox's index was written, in
seconds since the epoch, or null) for each mailbox; at the end `left` (mailboxes), how many have the
lost host as their home still. Exit code: 0; 64 the stack has one host, or this is the lost one.
"""

import os
import re
from pathlib import Path

from postal_plexus.maintenance import homes, mailboxes, programs
from postal_plexus.maintenance.calls import Call, Verb
from postal_plexus.maintenance.codes import USAGE
from postal_plexus.maintenance.output import Output
from postal_plexus.maintenance.staging import VMAIL

_NUMBER = re.compile(r"[1-9][0-9]?")
_COPY = "sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index.copy"


def to_rescue(
    shard: int, lost: int, there: list[homes.Mailbox], records: dict[str, str | None]
) -> list[homes.Mailbox]:
    """Return the mailboxes of the lost host that are to live on host `shard`. Pure."""
    found: list[homes.Mailbox] = []
    for each in there:
        record = homes.Record.parse(records[each.stored])
        if each.home == shard and record is not None and record.host == lost:
            found.append(each)
    return found


def _rescue(call: Call, output: Output) -> int:
    shard, lost = int(os.environ.get("PLEXUS_SHARD") or 0), int(call.options["from"])
    if shard in {0, lost}:
        return output.fail(USAGE, "it runs on a host other than the lost one")
    there = homes.read_table(mailboxes.TABLE.read_text("utf-8"))
    records = {each.stored: homes.read_record(each.stored) for each in there}
    for each in to_rescue(shard, lost, there, records):
        programs.run(
            [
                *("setpriv", f"--reuid={VMAIL}", f"--regid={VMAIL}", "--clear-groups", "env"),
                *(f"PLEXUS_SHARD={shard}", "/usr/local/bin/indexes", "rescue"),
                *(each.path, str(lost)),
            ]
        )
        output.say("rescued", address=each.names[0], flags_from=_written(each))
    output.say("left", mailboxes=sum(each.home == lost for each in there))
    return 0


def _written(mailbox: homes.Mailbox) -> int | None:
    """Return when the copy of a mailbox's index was written; None if there is none."""
    try:
        return int(Path(mailboxes.STORE, mailbox.path, _COPY).stat().st_mtime)
    except OSError:
        return None


VERBS = {"rescue": Verb(_rescue, options={"from": _NUMBER})}
