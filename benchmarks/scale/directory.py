"""The directory with ever more mailboxes: its object, and what it costs the three containers.

The object is made and read by processes of their own, so that their memory is that of the directory
alone. The containers have the memory limits of the task definitions, and follow a change (one
mailbox more) of the object in the stand-in for AWS. Nothing else happens on the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import smtplib
import ssl
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.aws_stub.process import Stub
from benchmarks.deliver.bed import named
from benchmarks.mailhost.deliver_service import BUCKET, DIRECTORY_KEY, Boxed, environment
from benchmarks.mailhost.engine import ROOT, EngineError, Network, wait_until
from benchmarks.mailhost.host import PASSWORD, Place, dovecot, postfix, start_dovecot, start_postfix
from benchmarks.mailhost.imap import Session
from postal_plexus.config.host_memory import Memory, memory_of
from postal_plexus.directory import Alias, Directory, DirectoryError, Domain, Mailbox
from postal_plexus.directory.receipt_rules import receipt_rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.mailhost.engine import Container

MEGABYTE = 1024 * 1024
# The host on which the containers have their limits; at the last size there is no object.
SIZES = {1_000: "t4g.nano", 10_000: "t4g.nano", 50_000: "t4g.small", 100_000: ""}
LOGINS = 12
# As long as a real one (argon2id, 19 MB, two passes): it is stored, and never verified here.
_HASH = "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$" + "c" * 22 + "$" + "h" * 43
FIRST, NEW = "user0@d0.example", "new@d0.example"

_READ = """
import json, resource, sys, time
from postal_plexus.directory import TABLES, Directory, DirectoryError
def anonymous():
    lines = open("/proc/self/status").readlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024
before = anonymous()
octets = open(sys.argv[1], "rb").read()
begun = time.process_time()
try:
    directory = Directory.from_json(octets)
except DirectoryError as error:
    print(json.dumps({"refused": str(error)}))
    sys.exit()
loaded = time.process_time()
del octets
held = anonymous() - before
names = [each.address for each in directory.mailboxes][::7]
looked = time.process_time()
for name in names:
    directory.resolve(name)
ended = time.process_time()
for render in TABLES.values():
    render(directory)
print(json.dumps({
    "load_ms": (loaded - begun) * 1000, "held_mb": held,
    "lookup_us": (ended - looked) / len(names) * 1e6,
    "render_ms": (time.process_time() - ended) * 1000,
}))
"""


def made(mailboxes: int, *more: str) -> Directory:
    """Return mailboxes in domains of a hundred, an alias for every tenth; two can log in."""
    domains = tuple(Domain(f"d{number}.example") for number in range(-(-mailboxes // 100)))
    names = [f"user{number}@d{number // 100}.example" for number in range(mailboxes)]
    password = f"{{PLAIN}}{PASSWORD}"
    entries = [Mailbox(name, _HASH) for name in names]
    entries[0] = Mailbox(names[0], password)
    # The last one costs the most where a table is read from its beginning.
    entries[-1] = Mailbox(names[-1], password)
    entries += [Mailbox(address, password) for address in more]
    aliases = tuple(
        Alias(f"team{number}@d{number // 100}.example", (names[number],))
        for number in range(0, mailboxes, 10)
    )
    return Directory(domains, tuple(entries), aliases)


def stack_file(directory: Directory, host: str) -> str:
    """Return the text of a stack file with this directory, on a host of this type."""
    lines = [
        "config:",
        "  aws:region: us-east-1",
        "  postal-plexus:client-hosts: shared",
        f"  postal-plexus:instance-type: {host}",
        "  postal-plexus:domains:",
    ]
    lines += [f"    - {each.name}" for each in directory.domains]
    lines.append("  postal-plexus:mailboxes:")
    for each in directory.mailboxes:
        lines += [f"    - address: {each.address}", f'      password-hash: "{_HASH}"']
    lines.append("  postal-plexus:aliases:")
    for alias in directory.aliases:
        lines += [
            f"    - address: {alias.address}",
            f"      destinations: [{alias.destinations[0]}]",
        ]
    return "\n".join(lines) + "\n"


class Watch:
    """The most memory that containers use at any moment, without page cache."""

    def __init__(self, boxes: dict[str, Container]) -> None:
        self._groups = {name: box.usage() for name, box in boxes.items()}
        self._ending = threading.Event()
        self.most = dict.fromkeys(boxes, 0)
        self._before = {name: group.processor_seconds() for name, group in self._groups.items()}
        self.seconds: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        for name, group in self._groups.items():
            with contextlib.suppress(OSError):
                self.seconds[name] = group.processor_seconds() - self._before[name]

    def _run(self) -> None:
        while not self._ending.is_set():
            for name, group in self._groups.items():
                # The container may have ended, and its control group with it.
                with contextlib.suppress(OSError):
                    self.most[name] = max(self.most[name], group.anonymous())
            time.sleep(0.02)


@dataclass(slots=True)
class Row:
    """One size of the directory. None: not measured, because it does not work at that size.

    Memory is in MB without page cache. "most": while the container follows a change.
    """

    mailboxes: int
    host: str
    object_mb: float = 0
    rules: int | None = None
    check_s: float | None = None
    check_mb: float | None = None
    load_ms: float | None = None
    render_ms: float | None = None
    lookup_us: float | None = None
    held_mb: float | None = None
    refused: str | None = None
    deliver_mb: float | None = None
    deliver_most_mb: float | None = None
    deliver_change_s: float | None = None
    dovecot_mb: float | None = None
    dovecot_most_mb: float | None = None
    dovecot_change_s: float | None = None
    login_first_ms: float | None = None
    login_of_first_ms: float | None = None
    login_of_first_cpu_ms: float | None = None
    login_of_last_ms: float | None = None
    login_of_last_cpu_ms: float | None = None
    login_worst_ms: float | None = None
    postfix_mb: float | None = None
    postfix_most_mb: float | None = None
    postfix_change_s: float | None = None
    change_s: float | None = None


def measure(root: Path, sizes: dict[int, str], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Measure each size; `root` must not exist."""
    rows: list[dict[str, Any]] = []
    for number, host in sizes.items():
        root.mkdir(parents=True)
        row = Row(number, host)
        try:
            _alone(root, row)
            if host:
                _containers(root, row, memory_of(host))
        except EngineError as error:
            say(f"{number} mailboxes: {error}")
        finally:
            shutil.rmtree(root)
        rows.append({name: _short(value) for name, value in asdict(row).items()})
        say(json.dumps(rows[-1]))
    return rows


def _short(value: object) -> object:
    return round(value, 2) if isinstance(value, float) else value


def _alone(root: Path, row: Row) -> None:
    """What the operator's command and the object alone take."""
    directory = made(row.mailboxes)
    octets = directory.to_json()
    row.object_mb = len(octets) / MEGABYTE
    try:
        row.rules = len(receipt_rules(directory))
    except DirectoryError:
        row.rules = None
    file = root / "object.json"
    file.write_bytes(octets)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    read = subprocess.run(
        [sys.executable, "-c", _READ, str(file)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    for name, value in json.loads(read.stdout).items():
        setattr(row, name, value)
    if not row.host:
        return
    stack = root / "Pulumi.scale.yaml"
    stack.write_text(stack_file(directory, row.host))
    checking = subprocess.Popen(
        [sys.executable, "-m", "postal_plexus.cli", "check", "--stack-file", str(stack)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    # Not `wait`: only this tells what the process has used.
    _, status, used = os.wait4(checking.pid, 0)
    checking.returncode = os.waitstatus_to_exitcode(status)
    if checking.returncode == 0:
        row.check_s = used.ru_utime + used.ru_stime
        row.check_mb = used.ru_maxrss / 1024


def _containers(root: Path, row: Row, memory: Memory) -> None:
    directory = made(row.mailboxes)
    place = Place(root / "host")
    place.make()
    place.keep(directory)
    trusted = root / "authority.pem"
    trusted.write_text("")
    network = Network(named("scale"))
    boxes: dict[str, Container] = {}
    try:
        boxes["dovecot"] = dovecot(named("dovecot"), place, memory=f"{memory.dovecot}m")
        start_dovecot(boxes["dovecot"], place)
        last = directory.mailboxes[-1].address
        port, group = boxes["dovecot"].port(993), boxes["dovecot"].usage()
        row.login_first_ms = _login_ms(port, FIRST)
        for name, address in (("first", FIRST), ("last", last)):
            before = group.processor_seconds()
            waits = [_login_ms(port, address) for _ in range(LOGINS)]
            used = (group.processor_seconds() - before) / LOGINS
            setattr(row, f"login_of_{name}_ms", statistics.median(waits))
            setattr(row, f"login_of_{name}_cpu_ms", used * 1000)
        row.dovecot_mb = _anonymous(boxes["dovecot"])
        boxes["postfix"] = postfix(
            named("postfix"), place, network, 9, trusted, memory=f"{memory.postfix}m"
        )
        start_postfix(boxes["postfix"], place)
        wait_until("a submission", lambda: _submits(boxes["postfix"]), 60)
        row.postfix_mb = _anonymous(boxes["postfix"])
        _follow(place, boxes, row, f"{memory.deliver}m")
    finally:
        for box in boxes.values():
            box.remove()
        network.remove()


def _follow(place: Place, boxes: dict[str, Container], row: Row, limit: str) -> None:
    """Start `deliver`, publish one mailbox more, and watch until it can log in and submit."""
    with Stub("--visibility", "600") as stub:
        stub.put_object(f"{BUCKET}/{DIRECTORY_KEY}", made(row.mailboxes).to_json())
        settings = environment(stub) | {"PLEXUS_DIRECTORY_SECONDS": "1"}
        swap = ("--memory-swap", limit)
        service = Boxed(named("deliver"), place, settings, memory=limit, options=swap)
        boxes["deliver"] = service.container
        service.start()
        wait_until("the directory", lambda: "directory" in service.container.logs(), 60)
        time.sleep(2)
        if not service.container.running:
            raise EngineError(f"deliver has ended: {service.container.logs()[-300:]}")
        row.deliver_mb = _anonymous(service.container)
        waits: list[float] = []
        port = boxes["dovecot"].port(993)
        with Watch(boxes) as watch:
            begun = time.monotonic()
            stub.put_object(f"{BUCKET}/{DIRECTORY_KEY}", made(row.mailboxes, NEW).to_json())

            def lets_in() -> bool:
                if not service.container.running:
                    raise EngineError("deliver has ended: more memory than its limit")
                waits.append(_login_ms(port, FIRST))
                return _knows(boxes["dovecot"], NEW)

            try:
                wait_until("the new user's login", lets_in, 60)
                row.change_s = time.monotonic() - begun
                wait_until("his submission", lambda: _submits(boxes["postfix"], NEW), 60)
            finally:
                row.login_worst_ms = max(waits, default=0.0)
                time.sleep(0.2)
        for name in boxes:
            setattr(row, f"{name}_most_mb", watch.most[name] / MEGABYTE)
            setattr(row, f"{name}_change_s", watch.seconds.get(name))


def _anonymous(box: Container) -> float:
    return box.usage().anonymous() / MEGABYTE


def _knows(box: Container, address: str) -> bool:
    """Whether Dovecot finds the user. A login before that can end imap-login (known-issues.md)."""
    try:
        box.execute("doveadm", "user", address)
    except EngineError:
        return False
    return True


def _login_ms(port: int, address: str) -> float:
    """Return the milliseconds of a connection and a login."""
    return asyncio.run(_login(port, address)) * 1000


async def _login(port: int, address: str) -> float:
    begun = time.perf_counter()
    session = await Session.open(port, _trust(), address, PASSWORD)
    took = time.perf_counter() - begun
    session.close()
    return took


def _trust() -> ssl.SSLContext:
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    return trust


def _submits(box: Container, address: str = FIRST) -> bool:
    """Submit a message to somebody elsewhere, which reads the guard's tables."""
    content = f"From: {address}\r\nTo: a@else.example\r\nSubject: a\r\n\r\na\r\n"
    try:
        with smtplib.SMTP_SSL("127.0.0.1", box.port(465), timeout=30, context=_trust()) as client:
            client.login(address, PASSWORD)
            client.sendmail(address, ["a@else.example"], content)
    except (OSError, smtplib.SMTPException):
        return False
    return True
