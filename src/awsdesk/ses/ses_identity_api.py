"""SES v2 identity settings that ministack does not store, and the text to a new topic.

Whether DKIM and MAIL FROM are in use is looked up in the account's hosted zones.

The default configuration set (at creation and later), custom MAIL FROM, feedback forwarding, DKIM
signing attributes: https://docs.aws.amazon.com/ses/latest/APIReference-V2/. A topic that becomes an
event destination first gets a plain text from SES; one that does not allow SES to publish is
refused. It is installed in front of ministack's handler, like `ses_api`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from awsdesk.ministack_patches import environment, private
from awsdesk.ministack_patches.service_principal import ActionError, ServicePrincipal
from awsdesk.ses.ses_account import SesAccount

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from awsdesk.ses.ses_api import Answer

_EVENTS = re.compile(r"^/v2/email/configuration-sets/([^/]+)/event-destinations(?:/[^/]+)?$")
# Not JSON; public repositories that read SES's events handle exactly this text.
_TOPIC_VALIDATED = "Successfully validated SNS topic for Amazon SES event publishing."
_SUBJECT = "Amazon SES Email Event Notification"
_IDENTITY = re.compile(r"^/v2/email/identities/([^/]+)$")
_SETTING = re.compile(r"^/v2/email/identities/([^/]+)/([a-z/-]+)$")


@dataclass(frozen=True)
class SesIdentityApi:
    """The handler in front of ministack's SES v2 handler."""

    inner: Callable[..., Awaitable[Answer]]
    account_id: str
    region: str

    async def handle(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Answer:
        """Answer one call, by ministack's handler if nothing has to be added."""
        setting = _SETTING.match(path)
        if method == "PUT" and setting is not None:
            answer = _put(unquote(setting[1]), setting[2], _document(body))
            if answer is not None:
                return answer
        destination = _EVENTS.match(path)
        if method in {"POST", "PUT"} and destination is not None:
            answer = self._tell_topic(unquote(destination[1]), _document(body))
            if answer is not None:
                return answer
        answer = await self.inner(method, path, headers, body, query)
        if method == "POST" and path == "/v2/email/identities" and answer[0] == 200:
            given = _document(body)
            if given.get("ConfigurationSetName"):
                stored = _identity(str(given["EmailIdentity"]))
                if stored is not None:
                    stored["ConfigurationSetName"] = given["ConfigurationSetName"]
        one = _IDENTITY.match(path)
        if method == "GET" and one is not None and answer[0] == 200:
            return self._looked_up(unquote(one[1]), answer)
        return answer

    def _looked_up(self, name: str, answer: Answer) -> Answer:
        """Return whether the records of DKIM and of MAIL FROM are published, as SES does."""
        account = SesAccount(self.account_id, self.region)
        status, headers, body = answer
        found = cast("dict[str, Any]", json.loads(body))
        if account.signs(name):
            found["DkimAttributes"] |= {"Status": "SUCCESS", "SigningEnabled": True}
        if found.get("MailFromAttributes", {}).get("MailFromDomain"):
            published = account.mail_from_domain(name) is not None
            found["MailFromAttributes"]["MailFromDomainStatus"] = (
                "SUCCESS" if published else "PENDING"
            )
        return status, headers, json.dumps(found)

    def _tell_topic(self, configuration_set: str, given: dict[str, Any]) -> Answer | None:
        event = cast("dict[str, Any]", given.get("EventDestination") or {})
        topic = cast("dict[str, Any]", event.get("SnsDestination") or {}).get("TopicArn")
        if not topic:
            return None
        source = (
            f"arn:aws:ses:{self.region}:{self.account_id}:configuration-set/{configuration_set}"
        )
        principal = ServicePrincipal(self.account_id, self.region, source)
        try:
            principal.publish(str(topic), _TOPIC_VALIDATED, _SUBJECT)
        except ActionError as error:
            return private.SES_V2.json_err(
                "BadRequestException", f"Could not publish: {error}", 400
            )
        return None


def install(account_id: str, region: str) -> None:
    """Install the additions in front of ministack's SES v2 handler."""
    api = SesIdentityApi(private.SES_V2.handle_request, account_id, region)
    private.SES_V2.replace("handle_request", api.handle)


def _document(body: bytes) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(body)) if body else {}
    except ValueError:
        return {}


def _identity(name: str) -> dict[str, Any] | None:
    return private.SES_V2.identities.get(name)


def _put(name: str, setting: str, given: dict[str, Any]) -> Answer | None:
    stored = _identity(name)
    responses = environment.module("services.ses_v2")
    if stored is None:
        return private.SES_V2.json_err("NotFoundException", f"Identity {name} not found", 404)
    match setting:
        case "configuration-set":
            if given.get("ConfigurationSetName"):
                stored["ConfigurationSetName"] = given["ConfigurationSetName"]
            else:
                stored.pop("ConfigurationSetName", None)
        case "mail-from":
            stored["MailFromAttributes"] = {
                "MailFromDomain": given.get("MailFromDomain", ""),
                "MailFromDomainStatus": "SUCCESS" if given.get("MailFromDomain") else "PENDING",
                "BehaviorOnMxFailure": given.get("BehaviorOnMxFailure", "USE_DEFAULT_VALUE"),
            }
        case "feedback":
            stored["FeedbackForwardingStatus"] = bool(given.get("EmailForwardingEnabled"))
        case "dkim":
            stored["DkimAttributes"]["SigningEnabled"] = bool(given.get("SigningEnabled"))
        case "dkim/signing":
            length = given.get("SigningAttributes", {}).get("NextSigningKeyLength")
            if length:
                stored["DkimAttributes"]["NextSigningKeyLength"] = length
            attributes = stored["DkimAttributes"]
            return responses.json_response(
                {"DkimStatus": attributes["Status"], "DkimTokens": attributes["Tokens"]}
            )
        case _:
            return None
    return responses.json_response({})
