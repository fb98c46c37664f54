"""Measure the memory of the four containers with everything on, and write the results.

A desk of its own: ten people in webmail, twenty calendar programs, fifty mail clients in IDLE, and
mail from the world for all of them, in containers with the limits of their task definitions.

Exit status: 0 measured, 1 measured and a demand is not reached.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.mailhost import report
from benchmarks.mailhost.engine import ControlGroup
from benchmarks.web.people import Load
from postal_plexus.desk.stack_config import DEFAULT_STACK_FILE
from system.desk import Desk, letter

WEBMAIL, CALENDARS, SESSIONS, MAILBOXES = 10, 20, 50, 20
MAIL_SECONDS = 2.0
ATTACHMENT = 3 << 20
DEMANDS: tuple[report.Demand, ...] = (
    ("processes killed for want of memory", "killed", "<=", 0.0),
    ("acts that failed", "faults", "<=", 0.0),
    ("memory of the web container without page cache, MB", "web_mb", "<=", 80.0),
    ("memory of all four at one moment without page cache, MB", "sum_mb", "<=", 264.0),
)


def main() -> int:
    """Measure, write, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long the load lasts")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plexus-web-") as folder:
        desk = Desk(Path(folder) / "desk")
        try:
            found = measure(desk, arguments.seconds)
        finally:
            desk.down()
    found |= {"date": report.today(), "machine": report.machine(), "seconds": arguments.seconds}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "web.json").write_text(json.dumps(found, indent=2) + "\n")
    (arguments.out / "web.md").write_text(page(found))
    print(f"Written to {arguments.out}/web.md and .json")
    judged = report.judged(found, DEMANDS)
    for name, value, comparison, wanted, reached in judged:
        print(f"{'ok  ' if reached else 'MISS'} {name}: {value:.2f} ({comparison} {wanted:.2f})")
    return 0 if all(reached for *_, reached in judged) else 1


def measure(desk: Desk, seconds: float) -> dict[str, Any]:
    """Return the figures of one run."""
    users = [f"user{number}@example.org" for number in range(MAILBOXES)]
    desk.directory.parent.mkdir(parents=True, exist_ok=True)
    stack = yaml.safe_load(DEFAULT_STACK_FILE.read_text())
    boxes: list[dict[str, str]] = stack["config"]["postal-plexus:mailboxes"]
    boxes += [{**boxes[0], "address": user} for user in users]
    file = desk.directory.parent / "Pulumi.desk.yaml"
    file.write_text(yaml.safe_dump(stack))
    desk.plexus("up", "--ports", "ephemeral", "--stack-file", str(file))
    desk.up()
    load = average()
    state = json.loads(desk.plexus("status", "--json").stdout)
    names = [each["name"] for each in state["containers"]]
    groups = {name: ControlGroup.of(process(desk, name)) for name in names}
    limits = {name: limit(desk, name) for name in names}
    for user in users:
        mail(desk, user, "load 0")
    desk.await_empty_queue()
    idle = {name: group.anonymous() for name, group in groups.items()}
    for group in groups.values():
        group.reset_peak()
    people = Load(
        ssl.create_default_context(cafile=desk.ca_file),
        desk.endpoint("https")[1],
        desk.endpoint("imaps")[1],
    )
    for number in range(SESSIONS):
        user = users[number % MAILBOXES]
        people.begin(lambda user=user: people.mail_client(user, desk.password(user)))
    for number in range(CALENDARS):
        user = users[number % MAILBOXES]
        people.begin(lambda u=user, n=number: people.calendar(u, desk.password(u), n))
    for user in users[:WEBMAIL]:
        people.begin(lambda user=user: people.webmail(user, desk.password(user)))
    most, sums, turn, began = dict(idle), [sum(idle.values())], 0, time.monotonic()
    next_mail = began
    while time.monotonic() < began + seconds:
        now = {name: group.anonymous() for name, group in groups.items()}
        most = {name: max(most[name], now[name]) for name in names}
        sums.append(sum(now.values()))
        if time.monotonic() >= next_mail:
            mail(desk, users[turn % MAILBOXES], f"load {turn}", large=turn % 10 == 9)
            turn, next_mail = turn + 1, next_mail + MAIL_SECONDS
        time.sleep(0.2)
    people.end()
    mb = 1 << 20
    return {
        "load": load,
        "killed": sum(group.killed() for group in groups.values()),
        "faults": len(people.faults),
        "fault_kinds": sorted(set(people.faults))[:10],
        "done": dict(sorted(people.done.items())),
        "mails": turn,
        "web_mb": most["web"] / mb,
        "sum_mb": max(sums) / mb,
        "containers": {
            name: {
                "limit_mb": limits[name] / mb,
                "idle_mb": idle[name] / mb,
                "most_mb": most[name] / mb,
                "peak_mb": groups[name].peak() / mb,
                "killed": groups[name].killed(),
            }
            for name in names
        },
    }


def mail(desk: Desk, user: str, mark: str, *, large: bool = False) -> None:
    """Send a message from the world; a large one has an attachment of 3 MB."""
    message = letter("friend@elsewhere.example", user, mark)
    message.add_attachment(
        os.urandom(ATTACHMENT if large else 4096), "application", "octet-stream", filename="a.bin"
    )
    refused = desk.receive("friend@elsewhere.example", [user], message.as_bytes())
    if refused:
        raise RuntimeError(f"SES refused a message: {refused}")


def process(desk: Desk, name: str) -> int:
    """Return the process id of a container, as the host sees it."""
    return int(desk.engine("inspect", "--format", "{{.State.Pid}}", desk.container(name)))


def limit(desk: Desk, name: str) -> int:
    """Return the memory limit of a container, in bytes."""
    return int(desk.engine("inspect", "--format", "{{.HostConfig.Memory}}", desk.container(name)))


def average() -> float:
    """Return the machine's load before the run."""
    return os.getloadavg()[0]


def page(found: dict[str, Any]) -> str:
    """Return the page of one run's figures. Pure."""
    about = f"{found['date']}, {found['machine']}; {found['seconds']:.0f} s; "
    about += f"machine's load before: {found['load']:.1f}."
    lines = [
        "# Everything on, everybody there",
        "",
        "Made by `make bench-web`; [benchmarks.md](../../docs/benchmarks.md) explains it.",
        "",
        about,
        "",
        "| container | limit | idle | most under load | most with page cache | killed |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, each in sorted(found["containers"].items()):
        figures = [each[key] for key in ("limit_mb", "idle_mb", "most_mb", "peak_mb")]
        lines.append(f"| {name} | {' | '.join(f'{x:.1f}' for x in figures)} | {each['killed']} |")
    done = ", ".join(f"{name} {count:,}" for name, count in found["done"].items())
    lines += [
        "",
        f"MB. All four at one moment without page cache: {found['sum_mb']:.1f} at most.",
        f"Done: {done}; messages received: {found['mails']:,}; failed: {found['faults']}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
