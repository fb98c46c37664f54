"""What a stack is said to cost: under the promised sum, each line of its own, prices with a date."""

import datetime
import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from postal_plexus.cli import estimate
from postal_plexus.cli.estimate import Stack, Traffic, UnknownPriceError
from postal_plexus.cli.exits import Exit
from postal_plexus.cli.main import main
from postal_plexus.config.settings import Settings

PRICES: dict[str, Any] = json.loads(
    resources.files("postal_plexus.cli").joinpath("prices.json").read_text("utf-8")
)
FIVE = Stack(domains=1, mailboxes=5, addresses=5)
TEMPLATE = Path(__file__).parents[2] / "pulumi" / "Pulumi.prod.yaml"


def cost(stack: Stack, traffic: Traffic | None = None) -> dict[str, float]:
    """The lines' dollars by what they are for."""
    lines = estimate.estimate(stack, traffic or estimate.traffic_of(stack.mailboxes), PRICES)
    return {line.what: round(line.usd, 4) for line in lines}


def test_five_mailboxes_with_five_gb_stay_far_below_ten_dollars() -> None:
    """The promise, with the defaults of a stack and of the traffic."""
    assert 9.5 > estimate.total(estimate.estimate(FIVE, estimate.traffic_of(5), PRICES))


def test_webmail_costs_the_storage_of_its_image_and_an_alarm() -> None:
    """Five versions of 0.13 GB in ECR, at 0.10 a GB; one metric more, at 0.10; and nothing else."""
    without, with_it = cost(FIVE), cost(Stack(1, 5, 5, web=True))
    assert 0.065 == round(with_it.pop("images") - without.pop("images"), 4)
    assert 0.1 == round(with_it.pop("alarms") - without.pop("alarms"), 4)
    assert without == with_it


def test_the_sum_is_that_of_the_lines() -> None:
    """Nothing is hidden between the lines and the total."""
    lines = estimate.estimate(FIVE, estimate.traffic_of(5), PRICES)
    assert round(sum(line.usd for line in lines), 2) == estimate.total(lines)


def test_storage_costs_what_it_holds() -> None:
    """10 GB of mail that never goes to cheaper storage: EFS at 0.30, its backup at 0.05."""
    stack = Stack(1, 5, 5, mailboxes_infrequent_days=0)
    lines = cost(stack, Traffic(gb=10, mails_in=0, mails_out=0, mail_kb=1))
    assert (3.0, 0.5) == (lines["mailboxes"], lines["backup"])


def test_unopened_mail_costs_what_small_files_cost_there_at_most() -> None:
    """8 of 10 GB of 64-KB messages, billed as 192 KB each: 24 GB at 0.025, and 2 GB at 0.30."""
    lines = cost(FIVE, Traffic(gb=10, mails_in=0, mails_out=0, mail_kb=64))
    assert (0.6, 0.6) == (lines["mailboxes"], lines["mailboxes, unopened"])


@pytest.mark.parametrize("sizes", [[1, 149], [75, 75], [127, 129, 4], [4096, 1, 1]])
def test_the_most_that_it_can_cost_is_not_less_than_what_it_costs(sizes: list[int]) -> None:
    """Whatever the sizes of the messages, 128 KB for each small one stays within what is counted."""
    billed = sum(max(size, PRICES["efs_ia_least_kb"]) for size in sizes)
    mean = sum(sizes) / len(sizes)
    assert billed <= len(sizes) * (mean + PRICES["efs_ia_least_kb"])


def test_cheaper_storage_pays_for_mails_of_more_than_11_7_kb() -> None:
    """Where the docs say that it begins to pay."""
    for kb, pays in ((11, False), (12, True)):
        traffic = Traffic(gb=10, mails_in=0, mails_out=0, mail_kb=kb)
        moved = cost(FIVE, traffic)
        kept = cost(Stack(1, 5, 5, mailboxes_infrequent_days=0), traffic)
        assert pays == (moved["mailboxes"] + moved["mailboxes, unopened"] < kept["mailboxes"])


def test_only_whole_chunks_of_received_mail_are_billed() -> None:
    """SES bills 1,000 messages of 255 KB as messages alone, of 512 KB as two chunks each besides."""
    small = cost(FIVE, Traffic(gb=0, mails_in=1000, mails_out=0, mail_kb=255))
    large = cost(FIVE, Traffic(gb=0, mails_in=1000, mails_out=0, mail_kb=512))
    assert (0.10, 0.28) == (small["mail received"], large["mail received"])


def test_what_is_free_for_ever_is_not_billed() -> None:
    """A small stack stays within the free million of queue requests and the free logs."""
    lines = cost(FIVE)
    assert (0.0, 0.0) == (lines["queue"], lines["logs"])


def test_another_host_costs_what_the_docs_say() -> None:
    """Its alarms and metric, its copies of a million messages, and polling its queues."""
    docs = Path(__file__).parents[2] / "docs"
    shards, scale = ((docs / f"{name}.md").read_text("utf-8") for name in ("shards", "scale"))
    quiet = Traffic(gb=1, mails_in=0, mails_out=0, mail_kb=1)
    busy = Traffic(gb=1, mails_in=1_000_000, mails_out=0, mail_kb=1)
    # Beyond what is free.
    (less, more), (least, most) = (
        [cost(Stack(1, 5, 5, hosts=hosts), traffic) for hosts in (8, 9)]
        for traffic in (quiet, busy)
    )
    watched = sum(more[name] - less[name] for name in ("alarms", "metrics"))
    polling = more["queue"] - less["queue"]
    copies = most["queue"] - least["queue"] - polling
    assert (1.5, 0.1, 1.2) == (round(watched, 2), round(polling, 2), round(copies, 2))
    assert f"${watched:.2f} a month" in shards
    assert f"${polling:.2f} for polling" in shards
    assert f"${copies:.2f} per million messages and host" in shards
    assert f"${copies:.2f} for a million of them on each host" in scale


def test_notifications_are_published_once_for_all_hosts() -> None:
    """SNS bills each publication beyond the first million, and not the copies."""
    traffic = Traffic(gb=1, mails_in=2_000_000, mails_out=1_000_000, mail_kb=1)
    for hosts in (1, 8):
        assert 1.0 == cost(Stack(1, 5, 5, hosts=hosts), traffic)["notifications"]


def test_choices_change_their_lines() -> None:
    """On demand, a bigger image, no backup: each shows."""
    dear = cost(Stack(1, 5, 5, spot=False, host_image="ecs-optimized", backup_days=0))
    assert (3.07, 2.4, False) == (dear["instance"], dear["root disk"], "backup" in dear)


def test_patches_cost_nothing_where_there_are_none() -> None:
    """And what CodeBuild gives for nothing is left for the doctor."""
    lines = cost(Stack(1, 5, 5, patches=False, doctor=True))
    assert {"weekly patches"} == cost(FIVE).keys() - lines.keys()
    assert 0.0 == lines["weekly doctor"]


def test_the_weekly_doctor_costs_cents() -> None:
    """Ten minutes of CodeBuild, since the patches use up what is free, and one more alarm."""
    lines, more = cost(FIVE), cost(Stack(1, 5, 5, doctor=True))
    assert {"weekly doctor"} == more.keys() - lines.keys()
    assert 0.034 == more["weekly doctor"]
    assert 0.1 == round(more["alarms"] - lines["alarms"], 4)


def test_an_instance_type_without_a_price_is_named() -> None:
    """An estimate without its largest part would be a lie."""
    with pytest.raises(UnknownPriceError, match="m7g.metal"):
        cost(Stack(1, 1, 1, instance_type="m7g.metal"))


def test_prices_have_a_date_and_sources() -> None:
    """Each price can be looked up again."""
    assert datetime.date(2026, 1, 1) <= datetime.date.fromisoformat(PRICES["date"])
    assert all(text for text in PRICES["sources"].values())


def test_the_defaults_are_those_of_the_program() -> None:
    """What a stack file does not say is taken as the program takes it."""
    for name in (
        "instance_type",
        "spot",
        "host_image",
        "archive_days",
        "backup_days",
        "mailboxes_infrequent_days",
    ):
        assert Settings.model_fields[name].default == getattr(Stack, name)


def test_json_has_the_total(capsys: pytest.CaptureFixture[str]) -> None:
    """For scripts: the same lines, their sum, and what others take."""
    assert 0 == main(["cost", "--json", "--stack-file", str(TEMPLATE)])
    shown = json.loads(capsys.readouterr().out)
    assert round(sum(line["usd"] for line in shown["lines"]), 2) == shown["total_usd"]
    assert {"WorkMail", "Google Workspace", "Microsoft 365", "Fastmail"} == set(shown["others_usd"])


def test_the_table_has_the_same_total(capsys: pytest.CaptureFixture[str]) -> None:
    """For people: one line each, the sum, and where the prices are from."""
    main(["cost", "--json", "--stack-file", str(TEMPLATE)])
    total = json.loads(capsys.readouterr().out)["total_usd"]
    main(["cost", "--stack-file", str(TEMPLATE)])
    text = capsys.readouterr().out
    assert f"{total:.2f} USD" in text
    assert PRICES["date"] in text


def test_ses_plans_have_their_prices() -> None:
    """1,000 messages: 0.16 on Essentials, which new accounts are on, 0.10 without a plan."""
    mails = {"gb": 1, "mails_in": 0, "mails_out": 1000, "mail_kb": 0}
    assert 0.16 == cost(FIVE, Traffic(**mails))["mail sent"]
    assert 0.10 == cost(FIVE, Traffic(**mails, ses_plan="none"))["mail sent"]


def test_ecr_keeps_five_versions() -> None:
    """As the repositories' lifecycle policy has it."""
    program = (TEMPLATE.parent / "deployment" / "images.py").read_text()
    assert f'"countNumber": {estimate.IMAGE_VERSIONS}' in program
    assert pytest.approx(0.1 * 0.4 * estimate.IMAGE_VERSIONS) == cost(FIVE)["images"]


def test_spot_may_take_bigger_sizes() -> None:
    """What the next two sizes cost more; nothing on demand, nothing for sizes without a price."""
    assert {"t4g.micro": 1.30, "t4g.small": 3.90} == estimate.bigger_sizes(FIVE, PRICES)
    assert {} == estimate.bigger_sizes(Stack(1, 5, 5, spot=False), PRICES)
    medium = Stack(1, 5, 5, instance_type="t4g.medium")
    assert {} == estimate.bigger_sizes(medium, PRICES)


def test_wrong_numbers_are_told_all_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Negative ones, those that are none, and those beyond any stack; nothing is printed for them."""
    wrong = ["--gb=nan", "--mails-in=-5", "--mails-out=1.5", "--mail-kb=99999999"]
    assert Exit.USAGE == main(["cost", "--stack-file", str(TEMPLATE), *wrong])
    out, told = capsys.readouterr()
    assert "" == out
    assert ["--gb", "--mails-in", "--mails-out", "--mail-kb"] == [
        line.split()[1] for line in told.splitlines()
    ]


@pytest.mark.parametrize("gb", ["-1", "inf", "-inf", "1e300", "", "many"])
def test_wrong_sizes(gb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is refused with the range."""
    assert Exit.USAGE == main(["cost", "--stack-file", str(TEMPLATE), f"--gb={gb}"])
    assert "from 0 to 1000000" in capsys.readouterr().err


def test_hosts_multiply_what_each_has() -> None:
    """Instance, address, disks, alarms and queue requests; never what the stack shares."""
    one, three = cost(FIVE), cost(Stack(1, 5, 5, hosts=3))
    for alone, several in (
        ("instance", "instances"),
        ("public IPv4 address", "public IPv4 addresses"),
        ("root disk", "root disk"),
        ("state disk", "state disk"),
    ):
        assert round(3 * one.pop(alone), 4) == three.pop(several)
    # Each other host has twelve alarms, and one metric of its own: its certificate's days.
    assert 2.4 == round(three.pop("alarms") - one.pop("alarms"), 4)
    assert 0.6 == round(three.pop("metrics") - one.pop("metrics"), 4)
    assert one == three
    busy = Traffic(gb=1, mails_in=1_000_000, mails_out=0, mail_kb=1)
    requests = 3 * 1_000_000 + 259_200
    prices = [PRICES["sqs_million_requests"], PRICES["sqs_free_requests"]]
    assert [round((hosts * requests - prices[1]) / 1e6 * prices[0], 4) for hosts in (1, 3)] == [
        cost(Stack(1, 5, 5, hosts=hosts), busy)["queue"] for hosts in (1, 3)
    ]


def test_only_what_clients_fetch_beyond_100_gb_is_billed() -> None:
    """A GB that arrives is fetched one and a half times, at 0.09 a GB."""
    some, much = (
        cost(FIVE, Traffic(gb=0, mails_in=mails, mails_out=0, mail_kb=1024))["data to clients"]
        for mails in (60_000, 102_400)
    )
    assert (0.0, 4.5) == (some, much)


def test_too_little_space_for_indexes_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of the stack as it is: a disk that fills up costs the users their flags."""
    boxes = "".join(
        f'    - {{address: u{n}@example.org, password-hash: "{{ARGON2ID}}$argon2id$v=19$m=19456,'
        f't=2,p=1$c2l4dGVlbiBvY3RldHMh$aGFsZiBhIGRvemVuIG9jdGV0cw"}}\n'
        for n in range(40)
    )
    stack = tmp_path / "Pulumi.main.yaml"
    stack.write_text(
        "config:\n  aws:region: us-east-1\n  postal-plexus:domains: [example.org]\n"
        f"  postal-plexus:mailboxes:\n{boxes}"
    )
    assert Exit.OK == main(["cost", "--stack-file", str(stack)])
    assert "indexes-gb is 1; this mail needs about 4" in capsys.readouterr().out
    main(["cost", "--stack-file", str(TEMPLATE)])
    assert "indexes-gb" not in capsys.readouterr().out


def test_another_size_can_be_asked_about(capsys: pytest.CaptureFixture[str]) -> None:
    """A stack of one host, as if it had 1,000 mailboxes on two hosts of another type."""
    asked = ["--mailboxes", "1000", "--hosts", "2", "--instance-type", "t4g.small", "--json"]
    assert Exit.OK == main(["cost", "--stack-file", str(TEMPLATE), *asked])
    lines = {each["what"]: each["why"] for each in json.loads(capsys.readouterr().out)["lines"]}
    assert "2 x t4g.small, spot" == lines["instances"]
    assert lines["mail received"].startswith("600000 messages")
    # 14 million messages, of which 150,000 have their indexes in a GB.
    assert "2 x 49 GB gp3" == lines["state disk"]
    assert Exit.USAGE == main(["cost", "--stack-file", str(TEMPLATE), "--hosts", "17"])
    assert "--hosts is '17': give a whole number from 1 to 16" in capsys.readouterr().err
