"""A whole stack file, read and validated once: `Settings` is what the parts use.

`plexus check` and `plexus cost` read the stack file itself; the Pulumi program reads what Pulumi
made of it. Raises StackError with all problems, each with key, entry and remedy.
"""

import json
import re
from collections.abc import Mapping

from postal_plexus.autoconfig import (
    ClientSetup,
    ClientSetupError,
    certificate_names,
    client_setups,
    domain_of,
)
from postal_plexus.autoconfig.hosts import MAX_CERTIFICATE_NAMES
from postal_plexus.config import regions
from postal_plexus.config.host_memory import deliver_memory, least_type, memory_of
from postal_plexus.config.lists import read_stack
from postal_plexus.config.model import TEXT_KEYS, WEB_IMAGE, Keys, architecture
from postal_plexus.config.names import host_names
from postal_plexus.config.problems import Problem, StackError
from postal_plexus.config.reading import Findings, read_keys
from postal_plexus.config.sharing import Shared, read_shared
from postal_plexus.config.web_parts import addresses
from postal_plexus.directory.address import is_domain
from postal_plexus.directory.model import SIZE_LIMIT, Directory

# Names of AWS resources derive from the stack's name; the longest (an IAM role) has 64 characters.
# ECR allows only single hyphens between other characters.
_STACK_NAME = re.compile(r"(?=.{1,20}\Z)[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


class Settings(Keys):
    """What to deploy: the keys of the file and those of Pulumi, combined."""

    stack: str
    region: str
    directory: Directory
    clients: tuple[ClientSetup, ...]
    # Who shares what: sharing.Shared.
    shared: Shared

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains' names, as A-labels."""
        return tuple(domain.name for domain in self.directory.domains)

    @property
    def host_names(self) -> tuple[str, ...]:
        """The hosts' names by their numbers; the first is the mail host."""
        return host_names(self.mail_host, self.hosts)

    @property
    def architecture(self) -> str:
        """`arm64` or `x86_64`: AWS's name for the instance type's architecture."""
        return architecture(self.instance_type)

    @property
    def web_parts(self) -> tuple[str, ...]:
        """The optional parts that the web container serves; without any there is no container."""
        on = (
            ("account", self.account_page),
            ("calendars", self.calendars),
            ("webmail", self.webmail),
        )
        return tuple(part for part, is_on in on if is_on)

    @property
    def web_addresses(self) -> dict[str, str]:
        """The addresses of these parts, by their names; `web_parts.LABELS` has their titles."""
        domain = domain_of(self.mail_host, self.domains)
        names = (each.webmail for each in self.clients if each.domain == domain)
        return addresses(self.web_parts, self.mail_host, next(names, ""))

    def dmarc(self, domain: str) -> str:
        """Return a domain's DMARC policy."""
        return self.dmarc_policies.get(domain, self.dmarc_policy)


def decoded(key: str, value: object) -> object:
    """Return a value as Pulumi's program gets it: JSON in a text is parsed, except for text keys.

    A value that should be JSON but is not stays a text, so that `read_settings` reports it.
    """
    if key in TEXT_KEYS or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def read_settings(stack: str | None, region: object, config: Mapping[str, object]) -> Settings:
    """Return the settings of `stack`.

    Args:
        stack: the stack's name, or None if it is not known and need not be checked.
        region: `aws:region`.
        config: every key of the namespace `postal-plexus`, without the namespace.

    Raises:
        StackError: with all problems.
    """
    config = {key: decoded(key, value) for key, value in config.items()}
    problems = [*_of_stack(stack), *_of_region(region)]
    findings = Findings(())
    try:
        directory = read_stack(config)
    except StackError as error:
        # Without valid domains, what refers to them cannot be checked.
        read_keys(config, None, findings)
        raise StackError([*error.problems, *problems, *findings.problems()]) from error
    domains = tuple(domain.name for domain in directory.domains)
    keys = read_keys(config, domains, findings)
    has_web = keys.account_page or keys.calendars or keys.webmail
    if has_web and keys.images and WEB_IMAGE not in keys.images:
        findings.add(
            "images",
            f"lacks {WEB_IMAGE}",
            "Give it too, or leave webmail, account-page and calendars off.",
        )
    shared = read_shared(keys, directory, findings)
    mail_host = keys.mail_host or f"mail.{domains[0]}"
    try:
        clients = client_setups(
            domains,
            mail_host=mail_host,
            shared=keys.client_hosts == "shared",
            calendars=keys.calendars,
            webmail_names=keys.webmail_names,
        )
    except ClientSetupError as error:
        findings.add("client-hosts", str(error), "Choose shared.")
        clients = ()
    _check_webmail_names(keys, clients, findings)
    _check_hosts(keys, mail_host, clients, findings)
    _check_size(keys, directory, findings)
    if keys.doctor != "none" and not keys.alarm_address:
        findings.add("doctor", "there is nobody to mail to", "Give an alarm-address, too.")
    problems += findings.problems()
    if problems:
        raise StackError(problems)
    fields = dict(keys) | {
        "mail_host": mail_host,
        "directory": directory,
        "clients": clients,
        "shared": shared,
    }
    # All parts were checked above.
    return Settings.model_construct(None, stack=stack or "", region=str(region), **fields)


def _check_webmail_names(keys: Keys, clients: tuple[ClientSetup, ...], findings: Findings) -> None:
    """Note names for webmail that lead nowhere, or that something else has."""
    if keys.webmail_names and not keys.webmail:
        findings.add("webmail-names", "is on, but webmail is off", "Turn webmail on too.")
    domains = {client.domain for client in clients}
    for name in dict.fromkeys(client.webmail for client in clients):
        if name in domains:
            what = f"would give {name} to webmail, which is a domain of this stack"
            findings.add("webmail-names", what, "Turn it off.")
        elif name and not is_domain(name):
            findings.add("webmail-names", f"makes {name}, which is too long", "Turn it off.")


def _check_hosts(
    keys: Keys, mail_host: str, clients: tuple[ClientSetup, ...], findings: Findings
) -> None:
    """Note what does not work with several hosts."""
    if keys.hosts == 1:
        return
    for key, is_on in (
        ("account-page", keys.account_page),
        ("calendars", keys.calendars),
        ("webmail", keys.webmail),
    ):
        if is_on:
            what = f"is on, and serves only one host; there are {keys.hosts}"
            findings.add(key, what, "Turn it off, or give 1 for hosts.")
    taken = {*(each.domain for each in clients), *(each.host for each in clients)}
    for name in host_names(mail_host, keys.hosts)[1:]:
        if not is_domain(name):
            findings.add("mail-host", "is too long for several hosts", "Name a shorter one.")
            return
        if name in taken:
            what = (
                f"is {mail_host!r}, so host {name} would have the name of a domain or its clients"
            )
            findings.add("mail-host", what, "Name another host, such as mx.example.org.")
        if len(certificate_names(clients, mail_host=name)) > MAX_CERTIFICATE_NAMES:
            what = f"needs more than {MAX_CERTIFICATE_NAMES} names in the certificate of {name}"
            findings.add("client-hosts", what, "Choose shared.")
            return


def _check_size(keys: Keys, directory: Directory, findings: Findings) -> None:
    """Note a directory that `deliver` refuses, or cannot have in memory on this instance type."""
    # The private addresses of hosts are not known here, and take little.
    octets = len(directory.on_one_host().to_json())
    number = f"{len(directory.mailboxes):,} mailboxes"
    if octets > SIZE_LIMIT:
        what = (
            f"{number} make a directory of {octets / 2**20:.1f} MB; {SIZE_LIMIT >> 20} MB are read"
        )
        findings.add("mailboxes", what, "Move some domains to another stack.")
        return
    needed = deliver_memory(octets, keys.hosts)
    has = memory_of(keys.instance_type).deliver
    if needed > has:
        what = (
            f"is {keys.instance_type}, where deliver has {has} MB of memory; the directory of "
            f"{number} needs {needed}"
        )
        wanted = least_type(needed)
        remedy = f"Choose {wanted}." if wanted else "Move some domains to another stack."
        findings.add("instance-type", what, remedy)


def _of_stack(stack: str | None) -> list[Problem]:
    if stack is None or _STACK_NAME.fullmatch(stack):
        return []
    remedy = "Call it something of up to 20 small letters and digits, with single hyphens between."
    return [Problem(f"stack {stack!r}", "", "names of AWS resources are made of it", remedy)]


def _of_region(region: object) -> list[Problem]:
    fault = regions.fault_of(str(region)) if region else "is missing"
    remedy = f"Choose one of {', '.join(regions.usable())}."
    return [Problem("aws:region", str(region or ""), fault, remedy)] if fault else []
