"""The running Dovecot, asked by the keeper: whether a password is right, who is connected, an end.

Passwords are asked on a socket of the keeper's alone, as of the service `account` and with the
browser's address; passwords.lua then takes the main password only, and counts a wrong one as every
other.
"""

from dataclasses import asdict, dataclass

from postal_plexus.account.password_check import Outcome, verify
from postal_plexus.maintenance import mailboxes

__all__ = ["Dovecot", "Outcome"]


@dataclass(frozen=True)
class Dovecot:
    """Its sockets: for passwords, and for a few commands of doveadm."""

    auth: str = "/run/dovecot/auth-account"
    doveadm: str = "/run/dovecot/doveadm-account"

    def verify(self, typed: str, password: str, remote: str) -> tuple[Outcome, str]:
        """Say whether the main password is right, and the address that `typed` means.

        Raises:
            OSError: Dovecot does not answer.
        """
        verdict = verify(self.auth, "account", typed, password, remote)
        return verdict.outcome, verdict.address

    def quota(self, address: str) -> dict[str, object]:
        """Give what a mailbox holds, and may hold (maintenance.mailboxes.quota)."""
        return {"address": address, **asdict(mailboxes.quota(address, self.doveadm))}

    def sessions(self, address: str) -> list[dict[str, object]]:
        """Give who is connected as that user."""
        answer = mailboxes.ask("", "who", address, path=self.doveadm)
        found = mailboxes.sessions_of(list(mailboxes.rows(answer, 5)))
        return [each for each in found if each["address"] == address]

    def kick(self, address: str) -> None:
        """End all connections of a user; devices with a right password come back by themselves."""
        mailboxes.ask("", "kick", address, path=self.doveadm)
