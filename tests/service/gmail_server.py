"""Play Gmail's IMAP server, for one user whose interface is in German: python3 gmail_server.py CERTIFICATE KEY

Google describes what differs at it (developers.google.com/workspace/gmail/imap/imap-extensions): labels show as folders, in which one
mail is under several names with the same X-GM-MSGID; X-GM-LABELS may be stored; All Mail has all but junk and trash, also what has no
label. Labels, messages and `\\Flagged` are changed by clients, as there. Each mail that is fetched is printed. `XLIMIT n` lets so many octets
of messages through, then refuses in Google's words, and `XHIDE name` hides a folder. It stands alone, since it runs in a container.
"""

from __future__ import annotations

import base64
import re
import socket
import socketserver
import ssl
import sys
import threading
import time
from dataclasses import dataclass, field

FOLDERS = {
    "INBOX": (r"\HasNoChildren", r"\Inbox"),
    "[Gmail]": (r"\HasChildren \Noselect", ""),
    "[Gmail]/Alle Nachrichten": (r"\All \HasNoChildren", ""),
    "[Gmail]/Entw&APw-rfe": (r"\Drafts \HasNoChildren", r"\Draft"),
    "[Gmail]/Gesendet": (r"\HasNoChildren \Sent", r"\Sent"),
    "[Gmail]/Markiert": (r"\Flagged \HasNoChildren", r"\Starred"),
    "[Gmail]/Papierkorb": (r"\HasNoChildren \Trash", r"\Trash"),
    "[Gmail]/Spam": (r"\HasNoChildren \Junk", r"\Junk"),
    "[Gmail]/Wichtig": (r"\HasNoChildren \Important", r"\Important"),
}
"""Folder -> its attributes, and the label of the messages in it."""
CAPABILITIES = (
    "IMAP4rev1 UNSELECT NAMESPACE ID CHILDREN X-GM-EXT-1 SASL-IR AUTH=PLAIN UIDPLUS ENABLE CONDSTORE"
    " ESEARCH SPECIAL-USE"
)
LIMITED = "NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)"


@dataclass
class Mail:
    """One mail; its labels as X-GM-LABELS has them."""

    number: int
    content: bytes
    date: str
    flags: set[str]
    labels: set[str]
    modseq: int = 1


@dataclass
class Account:
    """All messages, and under which UID each folder shows them."""

    folders: dict[str, tuple[str, str]] = field(default_factory=lambda: dict(FOLDERS))
    mails: list[Mail] = field(default_factory=list)
    uids: dict[str, dict[int, Mail]] = field(default_factory=dict)
    next_uids: dict[str, int] = field(default_factory=dict)
    limit: int = 1 << 60
    modseq: int = 1
    lock: threading.RLock = field(default_factory=threading.RLock)

    def shows(self, folder: str, mail: Mail) -> bool:
        """Return whether a folder contains a message."""
        attributes, label = self.folders[folder]
        gone = mail.labels & {r"\Trash", r"\Junk"}
        if r"\All" in attributes:
            return not gone
        if label == r"\Starred":
            return r"\Flagged" in mail.flags and not gone
        return label in mail.labels and (not gone or label in gone)

    def refresh(self) -> None:
        """Assign UIDs to a folder's new messages, and remove those of messages that left."""
        for folder in self.folders:
            shown = self.uids.setdefault(folder, {})
            for uid, mail in list(shown.items()):
                if not self.shows(folder, mail):
                    del shown[uid]
            for mail in self.mails:
                if mail not in shown.values() and self.shows(folder, mail):
                    uid = self.next_uids.get(folder, 1)
                    self.next_uids[folder] = uid + 1
                    shown[uid] = mail


ACCOUNT = Account()


class Session(socketserver.StreamRequestHandler):
    """One connection."""

    folder = ""

    def handle(self) -> None:
        """Answer commands until LOGOUT, or the limit."""
        ACCOUNT.refresh()
        self.say("* OK Gimap ready")
        while line := self.line():
            tag, _, rest = line.partition(" ")
            name, _, rest = rest.partition(" ")
            name = name.upper()
            if name == "UID":
                name, _, rest = rest.partition(" ")
                name = f"uid_{name.upper()}"
            act = getattr(self, f"do_{name.lower()}", None)
            with ACCOUNT.lock:
                answer = act(rest) if act else f"BAD Unknown command {name}"
            self.say(f"{tag} {answer or 'OK Success'}")
            if name == "LOGOUT" or answer == LIMITED:
                return

    def line(self) -> str:
        """Read a command with its literals, which are inserted as Latin-1 between two NULs."""
        text = ""
        while octets := self.rfile.readline():
            text += octets.decode("latin-1").rstrip("\r\n")
            literal = re.search(r"\{(\d+)\+?\}$", text)
            if not literal:
                return text
            self.say("+ go ahead")
            text = (
                text[: literal.start()]
                + "\0"
                + self.rfile.read(int(literal[1])).decode("latin-1")
                + "\0"
            )
        return ""

    def say(self, text: str) -> None:
        """Write a line."""
        self.wfile.write(text.encode("latin-1") + b"\r\n")

    def do_capability(self, _: str) -> None:
        self.say(f"* CAPABILITY {CAPABILITIES}")

    def do_login(self, rest: str) -> str:
        return self._enter(words(rest)[-1])

    def do_authenticate(self, rest: str) -> str:
        given = rest.partition(" ")[2]
        if not given:
            self.say("+ ")
            given = self.line()
        return self._enter(base64.b64decode(given).decode().split("\0")[-1])

    def _enter(self, password: str) -> str:
        if password == "as for the web":
            return "NO [ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 (Failure)"
        if ACCOUNT.limit <= 0:
            return LIMITED
        return (
            "OK authenticated (Success)"
            if password == "secret"
            else "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)"
        )

    def do_namespace(self, _: str) -> None:
        self.say('* NAMESPACE (("" "/")) NIL NIL')

    def do_id(self, _: str) -> None:
        self.say('* ID ("name" "GImap")')

    def do_noop(self, _: str) -> None:
        """Nothing changes while a folder is open."""

    do_close = do_unselect = do_enable = do_subscribe = do_noop

    def do_logout(self, _: str) -> None:
        self.say("* BYE LOGOUT Requested")

    def do_list(self, rest: str, answer: str = "LIST") -> None:
        pattern = words(rest)[-1]
        if not pattern:
            self.say(f'* {answer} (\\Noselect) "/" "/"')
            return
        matching = re.compile(re.escape(pattern).replace(r"\*", ".*").replace("%", "[^/]*"))
        for name, (attributes, _) in ACCOUNT.folders.items():
            if matching.fullmatch(name):
                self.say(f'* {answer} ({attributes}) "/" "{name}"')

    def do_lsub(self, rest: str) -> None:
        self.do_list(rest, "LSUB")

    def do_create(self, rest: str) -> None:
        (name,) = words(rest)
        ACCOUNT.folders[name] = (r"\HasNoChildren", name)
        ACCOUNT.refresh()

    def do_status(self, rest: str) -> str | None:
        name = words(rest)[0]
        if name not in ACCOUNT.uids:
            return "NO [NONEXISTENT] Unknown Mailbox"
        counted = {
            "MESSAGES": len(ACCOUNT.uids[name]), "RECENT": 0, "UNSEEN": 0, "UIDVALIDITY": 7,
            "UIDNEXT": ACCOUNT.next_uids.get(name, 1), "HIGHESTMODSEQ": ACCOUNT.modseq,
        }  # fmt: skip
        asked = re.search(r"\(([^)]*)\)$", rest)[1].upper().split()  # type: ignore[index]
        self.say(f'* STATUS "{name}" ({" ".join(f"{each} {counted[each]}" for each in asked)})')
        return None

    def do_select(self, rest: str) -> str:
        name = words(rest)[0]
        if name not in ACCOUNT.uids or "Noselect" in ACCOUNT.folders[name][0]:
            return "NO [NONEXISTENT] Unknown Mailbox"
        self.folder = name
        self.shown = dict(sorted(ACCOUNT.uids[name].items()))
        self.say(r"* FLAGS (\Answered \Flagged \Draft \Deleted \Seen)")
        self.say(r"* OK [PERMANENTFLAGS (\Answered \Flagged \Draft \Deleted \Seen \*)] ok")
        self.say("* OK [UIDVALIDITY 7] ok")
        self.say(f"* {len(self.shown)} EXISTS")
        self.say("* 0 RECENT")
        self.say(f"* OK [UIDNEXT {ACCOUNT.next_uids.get(name, 1)}] ok")
        self.say(f"* OK [HIGHESTMODSEQ {ACCOUNT.modseq}] ok")
        return "OK [READ-WRITE] selected (Success)"

    do_examine = do_select

    def _chosen(self, text: str) -> list[tuple[int, int, Mail]]:
        """Return number, UID and message for a set of UIDs."""
        every = [(number, uid, mail) for number, (uid, mail) in enumerate(self.shown.items(), 1)]
        last = max(self.shown, default=0)
        chosen: set[int] = set()
        for part in text.split(","):
            ends = [last if end == "*" else int(end) for end in part.split(":")]
            chosen |= {uid for uid in self.shown if min(ends) <= uid <= max(ends)}
        return [each for each in every if each[1] in chosen]

    def do_uid_fetch(self, rest: str) -> str | None:
        which, _, items = rest.partition(" ")
        for number, uid, mail in self._chosen(which):
            said = [f"UID {uid}"]
            for item in re.findall(
                r"BODY(?:\.PEEK)?\[[^\]]*\]|[A-Z0-9.-]+", items.strip("()").upper()
            ):
                if item.startswith("BODY"):
                    part = item.partition("[")[2].rstrip("]")
                    octets = mail.content
                    if part.startswith("HEADER"):
                        octets = header(
                            mail.content, re.findall(r"[A-Z0-9-]+", part.partition("FIELDS")[2])
                        )
                    else:
                        ACCOUNT.limit -= len(octets)
                        if ACCOUNT.limit < 0:
                            return LIMITED
                        print("fetched", mail.number, flush=True)
                    said.append(f"BODY[{part}] {{{len(octets)}}}\r\n{octets.decode('latin-1')}")
                elif item != "UID":
                    said.append(f"{item} {self._item(item, mail)}")
            self.say(f"* {number} FETCH ({' '.join(said)})")
        return None

    def _item(self, item: str, mail: Mail) -> str:
        match item:
            case "FLAGS":
                return f"({' '.join(sorted(mail.flags))})"
            case "X-GM-MSGID":
                return str(1_278_455_344_230_334_865 + mail.number)
            case "X-GM-LABELS":
                own = ACCOUNT.folders[self.folder][1]
                quoted = (each.replace("\\", "\\\\") for each in sorted(mail.labels - {own}))
                return "(" + " ".join(f'"{each}"' for each in quoted) + ")"
            case "RFC822.SIZE":
                return str(len(mail.content))
            case "INTERNALDATE":
                return f'"{mail.date}"'
            case "MODSEQ":
                return f"({mail.modseq})"
            case _:
                raise ValueError(item)

    def do_uid_store(self, rest: str) -> None:
        which, what, values = rest.split(" ", 2)
        given = {each.replace("\\\\", "\\") for each in words(values.strip("()"))}
        for _, _, mail in self._chosen(which):
            its = mail.labels if "LABELS" in what.upper() else mail.flags
            its.difference_update(given) if what.startswith("-") else its.update(given)
            ACCOUNT.modseq += 1
            mail.modseq = ACCOUNT.modseq
        ACCOUNT.refresh()

    def do_uid_search(self, rest: str) -> None:
        larger = re.search(r"LARGER (\d+)", rest.upper())
        found = [
            uid
            for uid, mail in self.shown.items()
            if not larger or len(mail.content) > int(larger[1])
        ]
        self.say(f"* SEARCH {' '.join(map(str, found))}")

    def do_append(self, rest: str) -> str:
        rest, content, _ = rest.split("\0")
        label = ACCOUNT.folders[words(rest)[0]][1]
        flags = re.search(r"\(([^)]*)\)", rest)
        date = re.search(r'"([ \d]\d-[^"]*)" ?$', rest)
        ACCOUNT.mails.append(
            Mail(
                len(ACCOUNT.mails) + 1,
                content.encode("latin-1"),
                date[1] if date else time.strftime("%d-%b-%Y %H:%M:%S +0000", time.gmtime()),
                set(flags[1].split()) if flags else set(),
                {label} - {""},
            )
        )
        ACCOUNT.refresh()
        return "OK Success"

    def do_xhide(self, rest: str) -> None:
        del ACCOUNT.folders[rest]

    def do_xlimit(self, rest: str) -> None:
        ACCOUNT.limit = int(rest)


def words(text: str) -> list[str]:
    """Return the words of a command: atoms, quoted strings and literals."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"|\0([^\0]*)\0|([^\s()]+)', text)
    return [
        re.sub(r"\\(.)", r"\1", quoted) if quoted else literal or atom
        for quoted, literal, atom in found
    ]


def header(content: bytes, names: list[str]) -> bytes:
    """Return a message's header, or some of its fields."""
    head = content.partition(b"\r\n\r\n")[0] + b"\r\n"
    fields = re.findall(rb"(?m)^[^\s:]+:.*\r\n(?:[ \t].*\r\n)*", head)
    wanted = [
        each for each in fields if not names or each.partition(b":")[0].decode().upper() in names
    ]
    return b"".join(wanted) + b"\r\n"


class Server(socketserver.ThreadingTCPServer):
    """A thread for each connection, in which TLS begins."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("", 993), Session)
        self._context = context

    def finish_request(self, request, client_address) -> None:  # type: ignore[no-untyped-def]
        assert isinstance(request, socket.socket)
        with self._context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request, client_address) -> None:  # type: ignore[no-untyped-def]
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


if __name__ == "__main__":
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*sys.argv[1:3])
    with Server(tls) as server:
        server.serve_forever()
