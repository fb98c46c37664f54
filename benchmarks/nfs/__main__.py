"""Counts the mail store's operations, and holds the contest on NFS and on a local disk in turn.

Needs root; no KVM. Writes `nfs.md` and `nfs.json`. Ratios only: the processor is emulated, so no
time here is one of a real host.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from benchmarks.mailhost import report
from benchmarks.nfs.contest import contest
from host.nfs_host import NfsHost, counted

HEAD = """# What each action asks of the mail store

NFS 4.1 operations, counted by the client (`/proc/self/mountstats`) in the virtual machine of
`tests/host/nfs_host.py`: Linux's server and client, EFS's mount options, no delegations, everybody
squashed to 5000, indexes on a disk of the host. The processor is emulated (QEMU, no KVM). What is
steady is done three times, and the least counts: a machine that takes seconds for an action asks
for attributes again that a faster one still believes. The renewal of the client's lease (SEQUENCE),
which goes by the clock, is not counted. Not EFS: "would take" is 1 ms for an operation and 3 ms for
a WRITE.

| action | operations | would take | which |
|---|---|---|---|
"""
CONTEST = """
## Two deliverers and two clients on one mailbox

Each as fast as it can, for {seconds:.0f} s: the deliverers one message of 4 KB after the other by
LMTP; the clients NOOP, STORE of a flag on five messages and back, FETCH of the newest, MOVE of it
to Trash. The same machine with the mail store on NFS and on its own disk, in turn, {rounds} times.

| | deliveries | longest wait of one | commands | longest wait of one |
|---|---|---|---|---|
"""


def main() -> int:
    """Measure and write. Exit status 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nfs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=25)
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    parser.add_argument("--only", choices=("operations",), help="the contest keeps its figures")
    arguments = parser.parse_args()
    if arguments.only:
        last = json.loads((arguments.out / "nfs.json").read_text())
        with (
            tempfile.TemporaryDirectory(prefix="nfs-") as directory,
            NfsHost(Path(directory) / "host") as host,
        ):
            write(counted(host), last["contest"], arguments)
        return 0
    runs: dict[str, list[dict[str, float]]] = {"nfs": [], "local": []}
    counts: dict[str, dict[str, int]] = {}
    for number in range(arguments.rounds):
        # Each round begins with the other one.
        for store in ("nfs", "local") if number % 2 == 0 else ("local", "nfs"):
            with (
                tempfile.TemporaryDirectory(prefix="nfs-") as directory,
                NfsHost(Path(directory) / "host", store=store) as host,
            ):
                if store == "nfs" and not counts:
                    counts = counted(host)
                runs[store].append(contest(host, arguments.seconds).figures())
                print(store, json.dumps(runs[store][-1]), flush=True)
    write(counts, runs, arguments)
    return 0


def write(
    counts: dict[str, dict[str, int]],
    runs: dict[str, list[dict[str, float]]],
    arguments: argparse.Namespace,
) -> None:
    """Both tables, and every run as JSON."""
    text = HEAD
    for action, found in counts.items():
        which = sorted(found.items(), key=lambda each: (-each[1], each[0]))
        names = ", ".join(f"{name} {count}" for name, count in which)
        taken = sum(found.values()) + 2 * found.get("WRITE", 0)
        text += f"| {action} | {sum(found.values())} | {taken} ms | {names} |\n"
    text += CONTEST.format(seconds=arguments.seconds, rounds=arguments.rounds)
    for store, each in runs.items():
        cells = (
            store,
            f"{_median(each, 'deliveries'):.0f}",
            f"{_worst(each, 'longest_delivery_s')} s",
            f"{_median(each, 'commands'):.0f}",
            f"{_worst(each, 'longest_command_s')} s",
        )
        text += f"| {' | '.join(cells)} |\n"
    pairs = [
        one["deliveries"] / other["deliveries"]
        for one, other in zip(runs["nfs"], runs["local"], strict=True)
    ]
    text += (
        "\nDeliveries on NFS over those on the disk, round by round: "
        f"{', '.join(f'{each:.2f}' for each in pairs)}; median {statistics.median(pairs):.2f}. "
        "The waits are the worst of all rounds.\n"
    )
    text += f"\n{report.machine()}; QEMU's emulated processor.\n"
    (arguments.out / "nfs.md").write_text(text)
    document = {"operations": counts, "contest": runs, "machine": report.machine()}
    (arguments.out / "nfs.json").write_text(json.dumps(document, indent=1) + "\n")


def _median(runs: list[dict[str, float]], key: str) -> float:
    return statistics.median(each[key] for each in runs)


def _worst(runs: list[dict[str, float]], key: str) -> float:
    return max(each[key] for each in runs)


if __name__ == "__main__":
    raise SystemExit(main())
