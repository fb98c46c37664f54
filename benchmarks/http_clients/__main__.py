"""Measures the clients in turn, several times, and writes the medians to benchmarks/results."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.aws_stub.process import Stub
from benchmarks.http_clients.clients import CLIENTS
from benchmarks.mailhost import report
from benchmarks.mailhost.engine import ROOT

LIBRARIES = ROOT / ".build" / "http_clients"
SIZE = 4096
FIGURES = {
    "resident MB at start": lambda run: run["start"]["resident_mb"],
    "after the messages": lambda run: run["end"]["resident_mb"],
    "anonymous MB after": lambda run: run["end"]["anonymous_mb"],
    "CPU ms a message": lambda run: run["cpu_ms_per_mail"],
    "messages a second": lambda run: run["mails_per_second"],
}


def main() -> int:
    """Measure and write. Exit status 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http_clients", description=__doc__)
    parser.add_argument("--mails", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--delay", type=float, default=0.015, help="seconds of each AWS call")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    arguments = parser.parse_args()
    if not (LIBRARIES / "awscrt").is_dir():
        requirements = str(Path(__file__).parent / "requirements.txt")
        command = ("-m", "pip", "install", "--quiet", "--target", str(LIBRARIES))
        subprocess.run([sys.executable, *command, "-r", requirements], check=True)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CLIENTS}
    with Stub("--delay", str(arguments.delay), "--visibility", "600", queues=("mail",)) as stub:
        stub.put_object("archive/mail", b"Subject: x\r\n\r\n" + b"x" * (SIZE - 14))
        for number in range(arguments.rounds):
            # Each round begins with another one, so that none has the best place.
            order = [*CLIENTS][number % len(CLIENTS) :] + [*CLIENTS][: number % len(CLIENTS)]
            for name in order:
                stub.post(
                    "send", queue="mail", entries=[{"body": "archive/mail"}] * arguments.mails
                )
                runs[name].append(run(name, stub, arguments.mails))
                print(name, json.dumps(runs[name][-1]), flush=True)
    write(runs, arguments)
    return 0


def run(name: str, stub: Stub, mails: int) -> dict[str, Any]:
    """Run one process, started as `deliver` is: without `site`."""
    program = ("-S", "-m", "benchmarks.http_clients.program")
    done = subprocess.run(
        [sys.executable, *program, name, stub.host, str(stub.port), str(mails)],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}:{LIBRARIES}",
            "MALLOC_ARENA_MAX": "1",
        },
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(done.stdout)
    assert mails * SIZE == found["octets"]
    return found


def write(runs: dict[str, list[dict[str, Any]]], arguments: argparse.Namespace) -> None:
    """Write the medians as a table, and every run as JSON."""
    medians = {
        name: {title: statistics.median(map(figure, of)) for title, figure in FIGURES.items()}
        for name, of in runs.items()
    }
    about = (
        f"{report.today()}, {report.machine()}, Python {platform.python_version()}; "
        f"{arguments.mails:,} messages of 4 KB, 20 threads, {arguments.delay * 1000:g} ms for each "
        f"call of AWS, medians of {arguments.rounds} runs. Made by `python -m "
        "benchmarks.http_clients`; "
        "docs/delivery.md says what follows."
    )
    lines = [
        "# HTTP clients, measured",
        "",
        about,
        "",
        "| client | " + " | ".join(FIGURES) + " |",
        "|---|" + "---:|" * len(FIGURES),
    ]
    for name, found in medians.items():
        figures = [f"{found[title]:.{0 if 'second' in title else 2}f}" for title in FIGURES]
        lines.append(f"| {name} | " + " | ".join(figures) + " |")
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "http_clients.md").write_text("\n".join(lines) + "\n")
    everything = {"about": about, "medians": medians, "runs": runs}
    (arguments.out / "http_clients.json").write_text(json.dumps(everything, indent=1) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
