"""What a run does: its messages, who should get them, and the faults that meet them. Pure.

Everything follows from the seed. Who should get a mail is written down here by hand, not asked of
the directory that is under test.

Faults have one of two triggers, neither of them a clock: a mail carries its own, met when that mail
comes to the place; and an `Outage` names a count of LMTP transactions and a stage of one. So a seed
gives the same faults at the same points of the same messages; only what else is in flight at that
moment is left to the machine.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from postal_plexus.directory import Alias, Directory, Domain, Host, Mailbox

PASSWORD = "a-password-of-no-worth"
MARK = b"X-Chaos-Mail: "
ECHO = "chaos-echo-"


def _mailbox(address: str) -> Mailbox:
    return Mailbox(address, f"{{PLAIN}}{PASSWORD}")


ORG = tuple(
    f"{name}@example.org"
    for name in ("ann", "ben", "cay", "dan", "eve", "fay", "gil", "hal", "kim", "lea", "max")
)
NET = ("ira@example.net", "jon@example.net")
MAILBOXES = ORG + NET
DIRECTORY = Directory(
    (Domain("example.org"), Domain("example.net", "ann@example.org")),
    tuple(_mailbox(address) for address in MAILBOXES),
    (
        Alias("info@example.org", ("ann@example.org", "ben@example.org")),
        Alias("all@example.org", ("info@example.org", "cay@example.org", "dan@example.org")),
        Alias("loop-a@example.org", ("loop-b@example.org", "eve@example.org")),
        Alias("loop-b@example.org", ("loop-a@example.org", "fay@example.org")),
        Alias("shop@example.net", ("jon@example.net", "gil@example.org")),
        Alias("friends@example.org", ("hal@example.org", "friend@outside.example")),
        Alias("away@example.org", ("away@outside.example",)),
    ),
)

# Those that a client has open and flags the messages of; they move most often.
READ = ("ann@example.org", "jon@example.net")


def directory(homes: Mapping[str, int], hosts: tuple[Host, ...]) -> Directory:
    """Return the directory of several hosts, in which each mailbox has this home."""
    mailboxes = tuple(replace(each, home=homes[each.address]) for each in DIRECTORY.mailboxes)
    return Directory(DIRECTORY.domains, mailboxes, DIRECTORY.aliases, hosts)


# How a recipient is written in the envelope, and who must get the mail.
WRITTEN: tuple[tuple[str, tuple[str, ...]], ...] = (
    *((address, (address,)) for address in MAILBOXES),
    ("Ben@Example.ORG", ("ben@example.org",)),
    ("HAL@example.org", ("hal@example.org",)),
    ("info@example.org", ("ann@example.org", "ben@example.org")),
    (
        "all@example.org",
        ("ann@example.org", "ben@example.org", "cay@example.org", "dan@example.org"),
    ),
    ("loop-a@example.org", ("eve@example.org", "fay@example.org")),
    ("shop@example.net", ("jon@example.net", "gil@example.org")),
    ("anything@example.net", ("ann@example.org",)),
    ("postmaster@example.net", ("ann@example.org",)),
    ("postmaster@example.org", ("ann@example.org",)),
    ("friends@example.org", ("hal@example.org", "friend@outside.example")),
    ("away@example.org", ("away@outside.example",)),
)
SUBADDRESSED = (
    ("cay+lists@example.org", "cay@example.org"),
    ("eve+shop@example.org", "eve@example.org"),
)
UNKNOWN = ("nobody@example.org", "no.such.user@example.org")


class Stage(Enum):
    """A point of an LMTP transaction, as the proxy sees it."""

    MAIL = "mail"  # MAIL FROM has come
    CONTENT = "content"  # a part of the content has gone through
    DOT = "dot"  # all of the content has gone through, no reply yet
    ANSWERED = "answered"  # Dovecot has answered, deliver does not know it yet
    PASSED = "passed"  # the answers have just been passed on


class Outage(Enum):
    """What happens to a whole part of the system."""

    KILL_DELIVER = "kill -9 deliver"
    STOP_DELIVER = "SIGTERM deliver"
    KILL_DOVECOT = "kill -9 Dovecot"
    KILL_LMTP = "kill -9 Dovecot's LMTP processes"
    KILL_AWS = "kill -9 AWS"
    KILL_POSTFIX = "kill -9 Postfix"
    FILL_MAIL = "fill the mail store"
    FILL_STATE = "fill deliver's disk"
    # With several hosts only.
    MOVE = "move a mailbox"
    PARTITION = "cut off from S3"
    STALE_DIRECTORY = "cut off from the directory"
    SUSPEND_DELIVER = "suspend deliver"
    SUSPEND_DOVECOT = "suspend Dovecot"
    FILL_INDEXES = "fill the indexes' disk"


@dataclass(frozen=True, slots=True)
class PlannedOutage:
    """An outage at a stage of a host's transaction with this number, counted from the start."""

    transaction: int
    stage: Stage
    what: Outage
    pause: float  # seconds until what was struck is well again
    host: int = 1
    mailbox: str = ""  # which one moves

    def __str__(self) -> str:
        what = f"{self.what.value} {self.mailbox}".rstrip()
        return f"host {self.host}, transaction {self.transaction}, {self.stage.value}: {what}"


@dataclass(slots=True)
class PlannedMail:
    """One mail: what SES accepted, who must get it, and what goes wrong with it."""

    number: int
    seed: int
    sender: str
    recipients: list[str]
    expected: frozenset[str]  # mailboxes that must get it, but for `refused`
    outside: frozenset[str]  # addresses that it must be forwarded to
    unknown: frozenset[str]  # envelope recipients that nobody has
    size: int
    verdicts: dict[str, str] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)  # mailbox: times 452, or -1: always 550
    in_proxy: list[str] = field(default_factory=list)
    in_queue: list[str] = field(default_factory=list)
    in_archive: list[str] = field(default_factory=list)
    split: bool = False  # SES ran two rules: two objects, two notifications
    doubled: bool = False  # SNS delivered the notification twice

    @property
    def ses_message_id(self) -> str:
        """As SES gives it; unlike in each run."""
        return f"chaos{self.seed:08x}{self.number:06d}"

    @property
    def quarantined(self) -> bool:
        """Whether it is kept from all INBOXes because of its virus."""
        return self.verdicts.get("virus") == "FAIL"

    @property
    def delivered(self) -> frozenset[str]:
        """Mailboxes where it must be at the end, exactly once."""
        if self.quarantined:
            return frozenset()
        return frozenset(box for box in self.expected if self.refused.get(box) != -1)

    @property
    def forwarded(self) -> frozenset[str]:
        """Addresses outside that must get it: at least once, for Postfix cannot be asked."""
        return frozenset() if self.quarantined or self.spam else self.outside

    @property
    def spam(self) -> bool:
        """Whether it belongs to Junk, and is not sent on in our name."""
        return self.verdicts.get("spam") == "FAIL"

    def content(self) -> bytes:
        """Return the mail, with CRLF line ends; the same for the same seed and number."""
        chance = random.Random(f"{self.seed} {self.number}")
        head = (
            MARK
            + f"{self.number}\r\n".encode()
            + f"From: Someone <{self.sender or 'mailer-daemon@sender.example'}>\r\n".encode()
            + b"To: undisclosed-recipients:;\r\n"
            + f"Subject: chaos {self.number}\r\n".encode()
            + f"Message-ID: <{self.ses_message_id}@sender.example>\r\n\r\n".encode()
        )
        lines = [head]
        length = len(head)
        while length < self.size:
            line = chance.choice(_LINES)
            if line is None:
                line = chance.randbytes(60).translate(_PRINTABLE) + b"\r\n"
            lines.append(line)
            length += len(line)
        return b"".join(lines)

    def faults(self) -> list[str]:
        """Return the faults of the run, as text and as keys to count."""
        found = [f"proxy {fault}" for fault in self.in_proxy]
        found += [f"queue {fault}" for fault in self.in_queue]
        found += [f"archive {fault}" for fault in self.in_archive]
        found += [f"refused {box} {times}" for box, times in self.refused.items()]
        if self.split:
            found.append("two rules")
        if self.doubled:
            found.append("notified twice")
        return found


# What a line machine gets wrong: dots, an end of data inside, long lines, eight bits.
_LINES: tuple[bytes | None, ...] = (
    *(None,) * 8,
    b".\r\n",
    b"..\r\n",
    b".leading dot\r\n",
    b"\r\n.\r\nMAIL FROM:<smuggled@sender.example>\r\n",
    b"x" * 990 + b"\r\n",
    "Gr\u00fc\u00dfe aus K\u00f6ln\r\n".encode(),
    bytes(range(128, 256)) + b"\r\n",
    b"\r\n",
)
_PRINTABLE = bytes(33 + value % 94 for value in range(256))

QUEUE_FAULTS = (
    "receive:error500",
    "receive:error503",
    "receive:throttle",
    "receive:drop-before",
    "receive:drop-after",
    "receive:slow",
    "delete:error500",
    "delete:throttle",
    "delete:drop-before",
    "delete:drop-after",
    "delete:slow",
    "delete-entry:",
    "change:error503",
    "repeat:0",
    "repeat:0.05",
    "repeat:1",
    "late-delete:",
)
ARCHIVE_FAULTS = (
    "get:error500",
    "get:error503",
    "get:throttle",
    "get:drop-before",
    "get:truncate",
    "get:slow",
    "get:expired",
)
PROXY_FAULTS = (
    "cut-mail",
    "cut-recipients",
    "cut-content",
    "cut-dot",
    "swallow",
    "half-replies",
    "late-replies",
    "split-replies",
    "421-mail",
    "451-mail",
    "451-data",
    "nonsense",
)
NAMELESS_PROXY_FAULTS = ("cut-content", "cut-dot", "swallow", "half-replies", "late-replies")
OUTAGES = (
    *(Outage.KILL_DELIVER,) * 12,
    *(Outage.STOP_DELIVER,) * 2,
    *(Outage.KILL_LMTP,) * 5,
    *(Outage.KILL_DOVECOT,) * 3,
    *(Outage.KILL_AWS,) * 4,
    *(Outage.KILL_POSTFIX,) * 2,
    *(Outage.FILL_MAIL,) * 2,
    *(Outage.FILL_STATE,) * 2,
)
BETWEEN_HOSTS = (
    *(Outage.MOVE,) * 16,
    *(Outage.PARTITION,) * 3,
    *(Outage.STALE_DIRECTORY,) * 3,
    *(Outage.SUSPEND_DELIVER,) * 3,
    *(Outage.SUSPEND_DOVECOT,) * 3,
    *(Outage.FILL_INDEXES,) * 2,
)
_PAUSE = (0.05, 0.6)
_PAUSES = {
    Outage.PARTITION: (2.0, 40.0),
    # Longer than a host may act on what it knows (deliver.directory_versions).
    Outage.STALE_DIRECTORY: (10.0, 60.0),
    Outage.SUSPEND_DELIVER: (1.0, 20.0),
    Outage.SUSPEND_DOVECOT: (0.5, 6.0),
    Outage.FILL_INDEXES: (0.5, 10.0),
}


@dataclass(frozen=True, slots=True)
class PlannedEcho:
    """One event of SES about a mail that a user of ours has sent: a notice in that mailbox."""

    number: int
    seed: int
    mailbox: str
    kind: str  # Bounce, Complaint or DeliveryDelay
    in_queue: tuple[str, ...] = ()
    doubled: bool = False

    @property
    def message_id(self) -> str:
        """Of the mail that the user sent, by which the notice is known again."""
        return f"<{ECHO}{self.seed:08x}-{self.number}@example.org>"


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    seed: int
    mails: tuple[PlannedMail, ...]
    outages: tuple[PlannedOutage, ...]
    echoes: tuple[PlannedEcho, ...] = ()
    hosts: int = 1

    @property
    def homes(self) -> dict[str, int]:
        """The home of each mailbox at the start."""
        return {address: 1 + index % self.hosts for index, address in enumerate(MAILBOXES)}

    def faults(self) -> int:
        """Return how many there are, of all kinds."""
        of_mails = sum(len(mail.faults()) for mail in self.mails)
        of_echoes = sum(len(echo.in_queue) + echo.doubled for echo in self.echoes)
        return len(self.outages) + of_mails + of_echoes


def make(seed: int, mails: int, faults: int, *, outages: bool = True, hosts: int = 1) -> Plan:
    """Return the plan of a seed: `mails` messages and `faults` faults, a fifth of them outages."""
    chance = random.Random(seed)
    planned = [_mail(chance, seed, number) for number in range(mails)]
    broken = faults // 5 if outages else 0
    have = sum(len(mail.faults()) for mail in planned)
    while have < faults - broken:
        mail = chance.choice(planned)
        before = len(mail.faults())
        _break(chance, mail)
        have += len(mail.faults()) - before
    # The last transactions are left alone, so that each outage has its transaction.
    last = max(1, int(mails * (0.9 if hosts == 1 else 0.5)))
    planned_outages = sorted(
        (_outage(chance, last, hosts) for _ in range(broken)),
        key=lambda outage: outage.transaction,
    )
    echoes = tuple(_echo(chance, seed, number) for number in range(mails // 40))
    return Plan(seed, tuple(planned), tuple(planned_outages), echoes, hosts)


def _outage(chance: random.Random, last: int, hosts: int) -> PlannedOutage:
    transaction = chance.randint(1, last)
    stage = chance.choice(list(Stage))
    what = chance.choice(OUTAGES if hosts == 1 else OUTAGES + BETWEEN_HOSTS)
    pause = chance.uniform(*_PAUSES.get(what, _PAUSE))
    if hosts == 1:
        return PlannedOutage(transaction, stage, what, pause)
    mailbox = chance.choice(READ * 3 + MAILBOXES) if what is Outage.MOVE else ""
    return PlannedOutage(transaction, stage, what, pause, chance.randint(1, hosts), mailbox)


def _echo(chance: random.Random, seed: int, number: int) -> PlannedEcho:
    return PlannedEcho(
        number,
        seed,
        chance.choice(MAILBOXES),
        chance.choice(("Bounce", "Bounce", "Complaint", "DeliveryDelay")),
        (chance.choice(QUEUE_FAULTS),) if chance.random() < 0.2 else (),
        chance.random() < 0.1,
    )


def _mail(chance: random.Random, seed: int, number: int) -> PlannedMail:
    sender = "" if chance.random() < 0.08 else f"chaos-{number:06d}@sender.example"
    recipients: list[str] = []
    leads_to: set[str] = set()
    for written, boxes in chance.sample(WRITTEN, chance.choice((1, 1, 1, 2, 2, 3, 5))):
        recipients.append(written)
        leads_to |= set(boxes)
    written, box = chance.choice(SUBADDRESSED)
    if chance.random() < 0.1 and box not in leads_to:
        recipients.append(written)
        leads_to.add(box)
    unknown: frozenset[str] = frozenset()
    if chance.random() < 0.015:
        unknown = frozenset({chance.choice(UNKNOWN)})
        recipients += unknown
    chance.shuffle(recipients)
    verdicts: dict[str, str] = {}
    if chance.random() < 0.03:
        verdicts["spam"] = "FAIL"
    if chance.random() < 0.005:
        verdicts["virus"] = "FAIL"
    size = chance.choice((300, 700, 2000, 2000, 4000, 4000, 8000))
    if chance.random() < 0.01:
        size = chance.choice((100_000, 1_000_000))
    ours = frozenset(leads_to & set(MAILBOXES))
    outside = frozenset(leads_to - ours)
    return PlannedMail(number, seed, sender, recipients, ours, outside, unknown, size, verdicts)


def _break(chance: random.Random, mail: PlannedMail) -> None:
    """Give a mail one more fault, if it can bear the kind that comes up."""
    kind = chance.random()
    if kind < 0.35:
        faults = PROXY_FAULTS if mail.sender else NAMELESS_PROXY_FAULTS
        mail.in_proxy.append(chance.choice(faults))
    elif kind < 0.65:
        mail.in_queue.append(chance.choice(QUEUE_FAULTS))
    elif kind < 0.8:
        mail.in_archive.append(chance.choice(ARCHIVE_FAULTS))
    elif kind < 0.92 and mail.sender and mail.expected:
        box = chance.choice(sorted(mail.expected))
        mail.refused[box] = -1 if chance.random() < 0.2 else chance.randint(1, 2)
    elif kind < 0.96:
        mail.doubled = True
    elif len(mail.recipients) > 1:
        mail.split = True
