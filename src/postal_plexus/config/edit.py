"""Edit who has mail in a stack file's text. Everything else, including comments, stays. Pure.

Each function returns the edited text. It does not validate the result: the caller validates it as a
whole, as `plexus check` does, before writing it.

Raises StackError if there is no such mailbox, alias or domain, if an app password already exists,
if the file is not YAML, or if it has to be edited by hand (`yaml_text`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from postal_plexus.config.problems import NAMESPACE, Problem, StackError, did_you_mean, quoted
from postal_plexus.config.yaml_text import Path, UneditableError, YamlText
from postal_plexus.directory.address import AddressError, without_subaddress
from postal_plexus.directory.idn import kept_address, kept_domain

_DOMAINS, _MAILBOXES, _ALIASES = (
    f"{NAMESPACE}:{name}" for name in ("domains", "mailboxes", "aliases")
)
# What names an entry.
_NAMES = {_DOMAINS: "name", _MAILBOXES: "address", _ALIASES: "address"}
_APPS = "app-passwords"


def with_mailbox(text: str, address: str, password_hash: str, quota_gb: float | None = None) -> str:
    """Return the text with an additional mailbox, below the others."""

    def edit(file: YamlText) -> None:
        fields: dict[str, object] = {"address": address, "password-hash": password_hash}
        if quota_gb is not None:
            fields["quota-gb"] = quota_gb
        if any(_is(entry.get("stored-as"), address) for entry in _entries(file, _MAILBOXES)):
            # The mail of a renamed mailbox is stored there.
            fields["stored-as"] = _unused(file, address)
        file.append(("config", _MAILBOXES), fields, after=_DOMAINS)

    return _edited(text, _MAILBOXES, address, edit)


def without_mailbox(text: str, address: str, *, everywhere: bool = False) -> str:
    """Return the text without a mailbox.

    With `everywhere`, also remove the references to it: destinations, and aliases that have no
    other; catch-alls; and send-as entries of others.
    """

    def edit(file: YamlText) -> None:
        file.remove(_place(file, _MAILBOXES, address))
        if everywhere:
            _remove_mentions(file, address)

    return _edited(text, _MAILBOXES, address, edit)


def with_another_address(text: str, old: str, new: str, *, alias: bool = True) -> str:
    """Return the text in which a mailbox has another address, including references by others.

    Its mail stays where it is stored. With `alias`, the old address becomes an alias. An existing
    alias of the new address is removed if it leads only to this mailbox.
    """

    def edit(file: YamlText) -> None:
        place = _place(file, _MAILBOXES, old)
        entry = file.value(place)
        stored_as = entry.get("stored-as")
        file.replace((*place, "address"), new)
        if stored_as is None:
            file.put((*place, "stored-as"), _bare(old), after="address")
        elif _is(stored_as, new):
            file.remove((*place, "stored-as"))
        for at, each in enumerate(_entries(file, _ALIASES)):
            destinations = each.get("destinations")
            if _is(each.get("address"), new) and _all_are(destinations, old):
                file.remove(("config", _ALIASES, at))
                break
        for mention in reversed(list(_mentions(file, old))):
            moved = _moved(str(file.value(mention)), new)
            siblings: object = file.value(mention[:-1])
            if isinstance(siblings, list) and moved in map(_kept, cast("list[str]", siblings)):
                file.remove(mention)
            else:
                file.replace(mention, moved)
        if alias:
            fields = {"address": old, "destinations": [new]}
            file.append(("config", _ALIASES), fields, after=_MAILBOXES)

    return _edited(text, _MAILBOXES, old, edit)


def with_host(text: str, what: str, host: int) -> str:
    """Return the text in which a mailbox (an address) or a domain has a host, by its number."""
    key = _MAILBOXES if "@" in what else _DOMAINS

    def edit(file: YamlText) -> None:
        place = _place(file, key, what)
        entry = file.value(place)
        if isinstance(entry, str):
            file.replace(place, {"name": entry, "host": host})
        elif "host" in entry:
            file.replace((*place, "host"), host)
        else:
            file.put((*place, "host"), host, after=_NAMES[key])

    return _edited(text, key, what, edit)


def with_alias(text: str, address: str, destinations: Sequence[str]) -> str:
    """Return the text with a new alias, or with more destinations of an existing one."""

    def edit(file: YamlText) -> None:
        for at, entry in enumerate(_entries(file, _ALIASES)):
            if _is(entry.get("address"), address):
                for destination in destinations:
                    file.append(("config", _ALIASES, at, "destinations"), destination)
                return
        fields = {"address": address, "destinations": list(destinations)}
        file.append(("config", _ALIASES), fields, after=_MAILBOXES)

    return _edited(text, _ALIASES, address, edit)


def without_alias(
    text: str, address: str, destinations: Sequence[str] = (), *, everywhere: bool = False
) -> str:
    """Return the text without an alias, or without some of its destinations.

    `everywhere` is as for `without_mailbox`.
    """

    def edit(file: YamlText) -> None:
        place = _place(file, _ALIASES, address)
        for destination in destinations:
            found: list[str] = [str(each) for each in file.value((*place, "destinations"))]
            at = next((at for at, each in enumerate(found) if _same(each, destination)), None)
            if at is None:
                what = f"does not lead to {quoted(destination)}"
                leads = f"It leads to {', '.join(found)}."
                raise _problem(_ALIASES, address, what, did_you_mean(destination, found, leads))
            file.remove((*place, "destinations", at))
        if not destinations:
            file.remove(place)
            if everywhere:
                _remove_mentions(file, address)

    return _edited(text, _ALIASES, address, edit)


def with_app_password(text: str, address: str, name: str, password_hash: str) -> str:
    """Return the text with an additional app password in the mailbox entry of `address`."""

    def edit(file: YamlText) -> None:
        place = _place(file, _MAILBOXES, address)
        apps = file.value((*place, _APPS))
        if not apps:
            file.put((*place, _APPS), {name: password_hash}, after="address")
        elif name in apps:
            raise _problem(
                _MAILBOXES, address, f"already has an app password {name}", "Revoke it first."
            )
        else:
            file.put((*place, _APPS, name), password_hash)

    return _edited(text, _MAILBOXES, address, edit)


def without_app_password(text: str, address: str, name: str) -> str:
    """Return the text without the app password. The heading goes with the last one."""

    def edit(file: YamlText) -> None:
        place = _place(file, _MAILBOXES, address)
        names = [str(each) for each in file.value((*place, _APPS)) or ()]
        if name not in names:
            has = f"It has {', '.join(names)}." if names else "It has none."
            what = f"has no app password {quoted(name)}"
            raise _problem(_MAILBOXES, address, what, did_you_mean(name, names, has))
        file.remove((*place, _APPS) if len(names) == 1 else (*place, _APPS, name))

    return _edited(text, _MAILBOXES, address, edit)


def _edited(text: str, key: str, address: str, edit: Callable[[YamlText], None]) -> str:
    try:
        file = YamlText(text)
        edit(file)
        return file.finish()
    except (UneditableError, AttributeError, TypeError) as error:
        # In the last two cases the list contains something other than entries.
        what = "has a syntax that this command cannot edit"
        remedy = "Edit the file by hand, or write each entry on lines of its own, without anchors."
        raise _problem(key, address, what, remedy) from error


def _entries(file: YamlText, key: str) -> list[dict[str, Any]]:
    return file.value(("config", key)) or []


def _place(file: YamlText, key: str, name: str) -> Path:
    """Return the path of an entry: by its address, or a domain's by its name."""
    entries = cast("list[object]", file.value(("config", key)) or [])
    named = [
        entry
        if key == _DOMAINS and isinstance(entry, str)
        else cast("dict[str, Any]", entry).get(_NAMES[key])
        for entry in entries
    ]
    for at, each in enumerate(named):
        if _is(each, name):
            return "config", key, at
    kind = {_MAILBOXES: "mailbox", _ALIASES: "alias", _DOMAINS: "domain"}[key]
    remedy = did_you_mean(name, [str(each) for each in named], "See: plexus directory.")
    raise _problem(key, "", f"has no {kind} {quoted(name)}", remedy)


def _remove_mentions(file: YamlText, address: str) -> None:
    """Remove references to an address, and then those to aliases that were removed with it."""
    gone = [address]
    while gone:
        address = gone.pop()
        # In reverse order, so that the remaining paths stay valid.
        for mention in reversed(list(_mentions(file, address))):
            parent = mention[:-1]
            if mention[-1] == "catch-all" or len(file.value(parent)) > 1:
                file.remove(mention)
            elif parent[-1] == "destinations":
                gone.append(str(file.value((*parent[:-1], "address"))))
                file.remove(parent[:-1])
            else:
                file.remove(parent)


def _mentions(file: YamlText, address: str) -> Iterator[Path]:
    """Return the paths at which an address is named, except by its own entry."""
    for at, domain in enumerate(cast("list[object]", file.value(("config", _DOMAINS)) or [])):
        if isinstance(domain, dict) and _is(
            cast("dict[str, Any]", domain).get("catch-all"), address
        ):
            yield "config", _DOMAINS, at, "catch-all"
    for key, field in ((_MAILBOXES, "send-as"), (_ALIASES, "destinations")):
        for at, entry in enumerate(_entries(file, key)):
            for number, each in enumerate(cast("list[object]", entry.get(field) or [])):
                if _is(each, address):
                    yield "config", key, at, field, number


def _unused(file: YamlText, address: str) -> str:
    """Return an address similar to this one under which no mail is stored."""
    entries = _entries(file, _MAILBOXES)
    used = {_bare(str(entry.get(key))) for entry in entries for key in ("address", "stored-as")}
    name, _, domain = _bare(address).rpartition("@")
    number = 2
    while f"{name}.{number}@{domain}" in used:
        number += 1
    return f"{name}.{number}@{domain}"


def _all_are(destinations: object, address: str) -> bool:
    return isinstance(destinations, list) and all(
        _is(each, address) for each in cast("list[object]", destinations)
    )


def _moved(mention: str, new: str) -> str:
    """Return the new address, with the subaddress (if any) of the old reference."""
    _, plus, subaddress = mention.rpartition("@")[0].partition("+")
    name, _, domain = new.rpartition("@")
    return f"{name}{plus}{subaddress}@{domain}"


def _is(value: object, address: str) -> bool:
    """Return whether a value names an address or a domain, in any spelling.

    An address may have a subaddress.
    """
    return isinstance(value, str) and _bare(value) == _bare(address)


def _same(one: str, other: str) -> bool:
    return _kept(one) == _kept(other)


def _bare(address: str) -> str:
    return without_subaddress(_kept(address))


def _kept(text: str) -> str:
    kept = kept_address if "@" in text else kept_domain
    try:
        return str(kept(text.strip())).lower()
    except AddressError:
        return text


def _problem(key: str, address: str, what: str, remedy: str) -> StackError:
    return StackError([Problem(key, address, what, remedy)])
