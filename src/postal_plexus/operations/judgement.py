"""Judge AWS's answers: pure functions from an answer to findings.

Answers are boto3's dictionaries. Each limit has its source beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from postal_plexus.operations.findings import Finding, critical, ok, unknown, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Answer = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """A line in a log."""

    at: datetime
    text: str


# https://docs.aws.amazon.com/ses/latest/dg/reputationdashboardmessages.html: SES reviews an account
# at these rates, and may pause it at twice the bounces or five times the complaints.
BOUNCES, BOUNCES_PAUSE = 0.05, 0.10
COMPLAINTS, COMPLAINTS_PAUSE = 0.001, 0.005
# A message is delivered within seconds; the service retries for as long as the queue keeps it.
QUEUE_LATE, QUEUE_STUCK = timedelta(minutes=5), timedelta(hours=1)
# Patches are weekly, plus a margin; AWS Backup runs daily.
IMAGE_OLD, BACKUP_OLD = timedelta(days=15), timedelta(hours=50)
# It is renewed with a third of its lifetime left, 30 of 90 days, and tried again each hour.
CERTIFICATE_LATE, CERTIFICATE_ENDS = timedelta(days=20), timedelta(days=3)
# Growth relative to a month ago; a small store is no problem, however fast it grows.
GROWN_SHARE, GROWN_LEAST = 0.5, 5e9
DIRECTORY_LATE = timedelta(minutes=2)
# AWS refuses signed requests at 15 minutes; one-time passwords fail much earlier.
CLOCK_OFF = timedelta(seconds=30)


def sending(account: Answer) -> Iterator[Finding]:
    """Judge SES's account: sesv2 GetAccount."""
    status = account.get("EnforcementStatus", "")
    if not account.get("SendingEnabled", True):
        yield critical(
            "sending",
            "SES has paused sending for this account",
            "read SES's mail to the account's owner and answer in the support case; mail waits "
            "in Postfix's queue for five days",
        )
    elif status not in {"HEALTHY", ""}:
        yield warning(
            "sending",
            f"the account's standing with SES is {status}",
            "find who causes bounces or complaints: SES console, Account dashboard",
        )
    else:
        yield ok("sending", "enabled, in good standing")
    if account.get("ProductionAccessEnabled"):
        yield ok("sandbox", "left: SES sends to any address")
    else:
        yield critical(
            "sandbox",
            "the account is in SES's sandbox: mail to unverified addresses is refused",
            "ask for production access: SES console, Account dashboard",
        )
    quota = account.get("SendQuota", {})
    most, sent = float(quota.get("Max24HourSend", -1)), float(quota.get("SentLast24Hours", 0))
    if most > 0 and sent > 0.8 * most:
        yield warning(
            "sending quota",
            f"{sent:.0f} of {most:.0f} recipients in 24 hours are used",
            "raise it (Service Quotas, SES sending quota), or look for a stolen password",
        )
    elif most > 0:
        yield ok("sending quota", f"{sent:.0f} of {most:.0f} recipients in 24 hours")


def price_plan(account: Answer) -> Finding:
    """Judge SES's price plan: sesv2 GetAccount, PricingAttributes.

    https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_PricingAttributes.html
    """
    plans = account.get("PricingAttributes", {})
    now, following = plans.get("CurrentPlan"), plans.get("NextPlan")
    if not now:
        return unknown("price plan", "SES does not say")
    told = f"{now}, and {following} from next month" if following else str(now)
    stays = following or now
    none = "aws sesv2 put-account-pricing-attributes --plan NONE"
    if stays == "NONE":
        return ok("price plan", f"{told}: sent mail costs least")
    if stays == "ESSENTIALS":
        return ok("price plan", f"{told}: each 1,000 sent cost six cents more than with: {none}")
    return warning("price plan", f"{told}: it costs extra, and nothing here uses it", none)


def reputation(kind: str, rate: float | None) -> Finding:
    """Judge the newest `Reputation.BounceRate` or `Reputation.ComplaintRate`, a share of mail."""
    late, pause = {
        "bounces": (BOUNCES, BOUNCES_PAUSE),
        "complaints": (COMPLAINTS, COMPLAINTS_PAUSE),
    }[kind]
    if rate is None:
        return ok(kind, "no rate yet: too little was sent")
    told = f"{100 * rate:.2f} % of what was sent (SES pauses at {100 * pause:g} %)"
    if rate >= pause:
        return critical(kind, told, "stop the sender that causes them, before SES stops all")
    if rate >= late:
        return warning(kind, told, "find the sender that causes them: notices to the postmaster")
    return ok(kind, told)


def identity(domain: str, found: Answer) -> Iterator[Finding]:
    """Judge a domain's identity: sesv2 GetEmailIdentity."""
    if not found.get("VerifiedForSendingStatus"):
        yield critical(
            f"identity {domain}",
            "SES has not verified it: nothing is received or sent for it",
            "check its DKIM records and its delegation: plexus dns",
        )
        return
    dkim = found.get("DkimAttributes", {})
    if dkim.get("Status") != "SUCCESS" or not dkim.get("SigningEnabled"):
        yield warning(
            f"identity {domain}",
            f"mail is sent without its DKIM signature (SES: {dkim.get('Status', 'none')})",
            "check its DKIM records: plexus dns",
        )
    mail_from = found.get("MailFromAttributes", {}).get("MailFromDomainStatus", "")
    if mail_from not in {"SUCCESS", ""}:
        yield warning(
            f"identity {domain}",
            f"its MAIL FROM domain is {mail_from}: SPF proves Amazon's domain, not yours",
            "check the MX and TXT of its bounce subdomain: plexus dns",
        )
    if dkim.get("Status") == "SUCCESS" and mail_from in {"SUCCESS", ""}:
        yield ok(f"identity {domain}", "verified, signed, MAIL FROM in order")


def directory(
    changed: datetime, etag: str, taken: Sequence[Said], tables: Sequence[Said], now: datetime
) -> Finding:
    """Judge whether the containers have loaded the directory in S3.

    Args:
        changed: when the object was written.
        etag: its entity tag.
        taken: the lines of `deliver` about directories since then, the newest last.
        tables: the lines of Postfix about its tables. Dovecot reads `deliver`'s at each login.
        now: the time of the judgement.
    """
    thing = "directory"
    told = f"of {changed:%Y-%m-%d %H:%M} UTC"
    # An earlier one may have been refused in the seconds before this one was written.
    taken = [each for each in taken if etag in each.text]
    if taken and "directory refused" in taken[-1].text:
        why = f"{told} is refused by `deliver`: the previous one stays in use"
        return warning(
            thing, why, "its reason is in deliver's log; correct the directory, pulumi up"
        )
    accepted = [each for each in taken if "directory taken" in each.text]
    if not accepted:
        if now - changed < DIRECTORY_LATE:
            return ok(thing, f"{told}, just written; deliver reads it within a minute")
        return unknown(thing, f"no line says that `deliver` has loaded the one {told}")
    refused = bool(tables) and "refused" in tables[-1].text
    if refused and tables[-1].at >= accepted[-1].at:
        why = f"{told} is loaded by `deliver`, and refused by Postfix: {tables[-1].text[:200]}"
        return warning(thing, why, "see Postfix's log; mail to new addresses from users is refused")
    postfix = [each for each in tables if "refreshed" in each.text and each.at >= changed]
    by = f"deliver at {accepted[-1].at:%H:%M:%S}"
    by += f", Postfix at {postfix[-1].at:%H:%M:%S}" if postfix else ""
    return ok(thing, f"{told}, loaded by {by}; Dovecot reads deliver's tables")


def rule_set(wanted: str, active: Answer) -> Finding:
    """Judge the active receipt rule set: ses DescribeActiveReceiptRuleSet."""
    name = active.get("Metadata", {}).get("Name")
    rules = [each for each in active.get("Rules", ()) if each.get("Enabled")]
    if name != wanted:
        return critical(
            "receipt rules",
            f"the active rule set is {name or 'none'}, not {wanted}: no mail comes in",
            f"aws ses set-active-receipt-rule-set --rule-set-name {wanted}",
        )
    if not rules:
        return critical("receipt rules", "none is enabled: no mail comes in", "run `pulumi up`")
    recipients = sum(len(each.get("Recipients", ())) for each in rules)
    return ok("receipt rules", f"active, with {recipients} addresses and domains")


def queue(name: str, attributes: Mapping[str, str], oldest: timedelta | None) -> Finding:
    """Judge a queue with a consumer: its attributes, and the age of its oldest message."""
    waiting = int(attributes.get("ApproximateNumberOfMessages", 0))
    taken = int(attributes.get("ApproximateNumberOfMessagesNotVisible", 0))
    told = f"{waiting} waiting, {taken} in delivery"
    if oldest is not None:
        told += f", the oldest for {_for(oldest)}"
    if oldest is not None and oldest >= QUEUE_STUCK:
        return critical(
            name, told, "see why `deliver` makes no progress: its log, and the services"
        )
    if oldest is not None and oldest >= QUEUE_LATE:
        return warning(name, told, "check again in some minutes; then see `deliver`'s log")
    return ok(name, told)


def dead_letters(attributes: Mapping[str, str]) -> Finding:
    """Judge the dead-letter queue."""
    # Reading dead letters hides them for a moment.
    kinds = ("", "NotVisible")
    count = sum(int(attributes.get(f"ApproximateNumberOfMessages{kind}", 0)) for kind in kinds)
    if count:
        return warning(
            "dead letters",
            f"{count} messages could not be delivered; each is deleted after 14 days",
            "plexus dead-letters list",
        )
    return ok("dead letters", "none")


def services(names: Mapping[str, str], found: Sequence[Answer]) -> Iterator[Finding]:
    """Judge the services: ecs DescribeServices. `names` maps our names to ECS's."""
    by_name = {each.get("serviceName"): each for each in found}
    for ours, theirs in names.items():
        service = by_name.get(theirs)
        if service is None or service.get("status") != "ACTIVE":
            yield critical(f"service {ours}", "ECS does not have it", "run `pulumi up`")
            continue
        wanted, running = int(service["desiredCount"]), int(service["runningCount"])
        if not wanted:
            yield critical(
                f"service {ours}",
                "it is stopped (desired count 0)",
                f"aws ecs update-service --service {theirs} --desired-count 1 --cluster ...",
            )
        elif running < wanted:
            said = next((each.get("message", "") for each in service.get("events", ())), "")
            yield critical(
                f"service {ours}", f"it does not run. ECS: {said or 'nothing'}", "see its log"
            )
        else:
            yield ok(f"service {ours}", "runs")


def memory(service: str, share: float | None) -> Finding:
    """Judge the newest maximum of a service's MemoryUtilization, a share of its limit."""
    thing = f"memory {service}"
    if share is None:
        return unknown(thing, "CloudWatch has no value yet")
    told = f"{100 * share:.0f} % of its limit, page cache included"
    if share >= 1.0:
        return warning(thing, told, "look for kills in its log; a larger instance has more room")
    return ok(thing, told)


def image(service: str, pushed: datetime, severities: Mapping[str, int], now: datetime) -> Finding:
    """Judge an image in ECR: when it was pushed, and its scan's findings by severity."""
    bad = severities.get("CRITICAL", 0) + severities.get("HIGH", 0)
    told = f"{_for(now - pushed)} old, {bad} serious findings in ECR's scan"
    if bad:
        return warning(f"image {service}", told, "make patch; the scan is of the day of the push")
    if now - pushed > IMAGE_OLD:
        return warning(f"image {service}", told, "see why the weekly patches did not run")
    return ok(f"image {service}", told)


def backup(points: Sequence[Answer], now: datetime) -> Finding:
    """Judge the mail store's recovery points: backup ListRecoveryPointsByResource."""
    done = [each["CreationDate"] for each in points if each.get("Status") == "COMPLETED"]
    if not done:
        return warning(
            "backup",
            "there is no backup of the mailboxes yet",
            "this is normal in the first two days; after that see AWS Backup, Jobs",
        )
    age = now - max(done)
    told = f"the newest is {_for(age)} old, {len(done)} are kept"
    if age > BACKUP_OLD:
        return warning("backup", told, "see AWS Backup, Jobs, for what failed")
    return ok("backup", told)


def alarms(found: Sequence[Answer]) -> Iterator[Finding]:
    """Judge the stack's active alarms: cloudwatch DescribeAlarms."""
    for each in found:
        yield warning(
            f"alarm {each['AlarmName']}",
            str(each.get("StateReason", "")),
            str(each.get("AlarmDescription") or "see CloudWatch"),
        )
    if not found:
        yield ok("alarms", "none rings")


def alarm_address(subscriptions: Sequence[Answer]) -> Finding:
    """Judge whether somebody gets the alarms: sns ListSubscriptionsByTopic."""
    mails = [each for each in subscriptions if each.get("Protocol") == "email"]
    if not mails:
        return warning("alarm address", "nobody gets the alarms", "set alarm-address, pulumi up")
    waiting = [
        each["Endpoint"] for each in mails if each["SubscriptionArn"] == "PendingConfirmation"
    ]
    if waiting:
        return warning(
            "alarm address",
            f"{waiting[0]} has not confirmed: alarms go nowhere",
            "follow the link in AWS's mail to it, or run `pulumi up` for another",
        )
    return ok("alarm address", f"{mails[0]['Endpoint']} is confirmed")


def storage(file_system: Answer, sizes: Sequence[Answer]) -> Finding:
    """Judge the mail store: efs DescribeFileSystems, and its daily sizes (AWS/EFS StorageBytes)."""
    state = file_system.get("LifeCycleState")
    size = int(file_system.get("SizeInBytes", {}).get("Value", 0))
    if state != "available":
        return critical("mail store", f"EFS says {state}", "see EFS in the console")
    told = f"available, {size / 1e9:.2f} GB"
    days = sorted(sizes, key=lambda each: each["Timestamp"])
    span = days[-1]["Timestamp"] - days[0]["Timestamp"] if days else timedelta()
    if span < timedelta(days=1):
        return ok("mail store", told)
    grown = float(days[-1]["Average"]) - float(days[0]["Average"])
    told += f", {grown / 1e9:+.2f} GB in {span.days} days"
    if grown > GROWN_LEAST and grown > GROWN_SHARE * float(days[0]["Average"]):
        return warning("mail store", told, "see whose mailbox grows: plexus mailbox list")
    return ok("mail store", told)


def budget(found: Sequence[Answer]) -> Finding:
    """Judge the account's budgets with the stack's name: budgets DescribeBudgets."""
    for each in found:
        limit = float(each.get("BudgetLimit", {}).get("Amount", 0))
        spend = each.get("CalculatedSpend", {})
        actual = float(spend.get("ActualSpend", {}).get("Amount", 0))
        forecast = float(spend.get("ForecastedSpend", {}).get("Amount", 0))
        told = f"${actual:.2f} this month, ${forecast:.2f} forecast, of ${limit:.2f}"
        if max(actual, forecast) > limit:
            return warning("budget", told, "see Cost Explorer by service, and plexus cost")
        return ok("budget", told)
    return warning("budget", "there is none", "set budget-usd in the stack file, pulumi up")


def certificate(host: str, ends: datetime, now: datetime) -> Finding:
    """Judge the expiry of the certificate that clients see."""
    thing = f"certificate {host}"
    told = f"trusted, valid until {ends:%Y-%m-%d}"
    if ends - now < CERTIFICATE_ENDS:
        return critical(thing, told, "see the log of the certbot task: renewal fails")
    if ends - now < CERTIFICATE_LATE:
        return warning(thing, told, "see the log of the certbot task: renewal is late")
    return ok(thing, told)


def clock(difference: timedelta) -> Finding:
    """Judge this machine's clock by AWS's."""
    off = abs(difference)
    told = f"{off.total_seconds():.0f} s from AWS's"
    if off > CLOCK_OFF:
        return warning("clock of this machine", told, "set it: the ages shown here are wrong")
    return ok("clock of this machine", told)


def _for(span: timedelta) -> str:
    """Format a duration in its largest unit."""
    seconds = max(0, int(span.total_seconds()))
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"
