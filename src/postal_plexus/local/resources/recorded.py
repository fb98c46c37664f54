"""What the emulator has no place for, at this one place: kept in the state file and sent nowhere.

Such a resource behaves towards the program as the real one does (it has an id, its changes are
seen, replacements happen where Terraform's provider would make them), and nothing on the desk
acts on it.  Each entry says what is lacking.
"""

from collections.abc import Callable

from postal_plexus.local.resources.resource_type import (
    Aws,
    Existing,
    Inputs,
    Made,
    Outputs,
    ResourceType,
)


def _recorded(
    token: str,
    identify: Callable[[Inputs], str],
    properties: frozenset[str],
    replaces: frozenset[str],
) -> ResourceType:
    def create(_aws: Aws, _name: str, inputs: Inputs) -> Made:
        return Made(identify(inputs))

    def update(_aws: Aws, existing: Existing, _inputs: Inputs) -> Outputs:
        return dict(existing.outputs)

    return ResourceType(token, create, update=update, recorded=properties, replaces=replaces)


TYPES = (
    # ministack 1.5 does not know PutEmailIdentityMailFromAttributes.  Without it the desk's
    # outgoing mail has the envelope sender that Postfix gives, as SES's own MAIL FROM would not
    # show in a mailbox anyway.
    _recorded(
        "aws:sesv2/emailIdentityMailFromAttributes:EmailIdentityMailFromAttributes",
        lambda inputs: inputs["emailIdentity"],
        frozenset({"behaviorOnMxFailure", "mailFromDomain"}),
        frozenset({"emailIdentity"}),
    ),
)
