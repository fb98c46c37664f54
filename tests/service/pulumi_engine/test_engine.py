"""What the engine does with a program: make, leave, change, replace, remove, refuse."""

import json

import pytest

from awsdesk.pulumi import DeployError
from service.pulumi_engine.deployer import REGION, Deployer

ONE_QUEUE = """
queue = aws.sqs.Queue("mail", visibility_timeout_seconds=30)
pulumi.export("url", queue.url)
"""
# Nothing listens here.
NOWHERE = "http://127.0.0.1:9"


def test_makes_resources_and_gives_their_real_outputs(deployer: Deployer) -> None:
    """A program's resources are in AWS afterwards, and the stack's outputs name them."""
    made = deployer.deploy(ONE_QUEUE)
    attributes = deployer.queue_attributes(str(made.outputs["url"]))
    assert ("30", 1) == (attributes["VisibilityTimeout"], len(made.created))


def test_an_unchanged_program_makes_no_call(deployer: Deployer) -> None:
    """Deploying again touches nothing, so AWS need not even be there."""
    first = deployer.deploy(ONE_QUEUE)
    again = deployer.deploy(ONE_QUEUE, endpoint_url=NOWHERE)
    assert again.is_unchanged
    assert first.outputs == again.outputs


def test_a_change_is_made_in_place(deployer: Deployer) -> None:
    """What AWS can change stays the same resource."""
    before = deployer.deploy(ONE_QUEUE)
    after = deployer.deploy(ONE_QUEUE.replace("30", "60"))
    assert (before.outputs, 1) == (after.outputs, len(after.updated))
    url = str(after.outputs["url"])
    assert "60" == deployer.queue_attributes(url)["VisibilityTimeout"]


def test_what_aws_cannot_change_is_replaced_and_the_old_one_deleted(deployer: Deployer) -> None:
    """A new name is a new queue, and the old queue goes."""
    before = deployer.deploy(ONE_QUEUE)
    after = deployer.deploy(ONE_QUEUE.replace('"mail",', f'"mail", name="{deployer.stack}-n",'))
    old, new = str(before.outputs["url"]), str(after.outputs["url"])
    assert 1 == len(after.replaced)
    assert (False, True) == (deployer.has_queue(old), deployer.has_queue(new))


def test_delete_before_replace_frees_the_name_first(deployer: Deployer) -> None:
    """A replacement that keeps its name works when the program asks for this order."""
    program = """
    topic = aws.sns.Topic("alarms", name="{name}", opts=Options(
        delete_before_replace=True, replace_on_changes=["displayName"]))
    pulumi.export("arn", topic.arn)
    """.replace("{name}", f"{deployer.stack}-alarms")
    deployer.deploy(program)
    after = deployer.deploy(program.replace('-alarms",', '-alarms", display_name="Mail",'))
    shown = deployer.desk.client("sns").get_topic_attributes(TopicArn=after.outputs["arn"])
    assert ("Mail", 1) == (shown["Attributes"]["DisplayName"], len(after.replaced))


def test_what_the_program_no_longer_names_is_deleted(deployer: Deployer) -> None:
    """A resource taken out of the program goes from AWS and from the record."""
    before = deployer.deploy(ONE_QUEUE)
    after = deployer.deploy("")
    assert (1, False) == (len(after.deleted), deployer.has_queue(str(before.outputs["url"])))
    assert [] == [entry for entry in deployer.state() if entry["type"].startswith("aws:")]


def test_dependents_are_deleted_before_what_they_need(deployer: Deployer) -> None:
    """A role with a policy can be taken away in one go: IAM refuses the role while it has one."""
    deployer.deploy(
        """
        import json
        def allow(**more):
            return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **more}]})
        trust = allow(Action="sts:AssumeRole", Principal={"Service": "ec2.amazonaws.com"})
        role = aws.iam.Role("agent", assume_role_policy=trust)
        aws.iam.RolePolicy(
            "agent", role=role.name, policy=allow(Action="s3:GetObject", Resource="*"))
        """
    )
    assert 2 == len(deployer.deploy("").deleted)


RECORDED = """
vpc = aws.ec2.Vpc("net", cidr_block="10.9.0.0/16", tags={"of": "one"})
template = aws.ec2.LaunchTemplate("host", instance_type="t4g.nano")
pulumi.export("ids", [vpc.id, vpc.arn, template.id, template.latest_version])
"""


def test_what_is_only_recorded_lives_as_the_rest(deployer: Deployer) -> None:
    """No VPC is made; its changes, versions, replacement and removal are seen all the same."""
    vpc, arn, template, version = deployer.deploy(RECORDED).outputs["ids"]
    assert (f"arn:aws:ec2:{REGION}:111122223333:vpc/{vpc}", 1) == (arn, version)
    assert deployer.deploy(RECORDED).is_unchanged
    changed = deployer.deploy(RECORDED.replace("one", "two").replace("nano", "micro"))
    assert ([vpc, arn, template, 2], 2) == (changed.outputs["ids"], len(changed.updated))
    moved = deployer.deploy(RECORDED.replace("10.9", "10.8"))
    assert ({"vpc"}, True) == (
        {urn.rpartition("::")[0].rpartition("/")[2].partition(":")[0] for urn in moved.replaced},
        moved.outputs["ids"][0] != vpc,
    )
    assert 2 == len(deployer.deploy("").deleted)


def test_an_unknown_property_of_a_recorded_type_is_refused(deployer: Deployer) -> None:
    """A row of the table lists all that the program may ask for."""
    with pytest.raises(DeployError, match="does not know aws:ec2/vpc:Vpc's instanceTenancy"):
        deployer.deploy('aws.ec2.Vpc("net", cidr_block="10.9.0.0/16", instance_tenancy="default")')


INTERFACE = """
interface = aws.ec2.NetworkInterface("host-2", subnet_id="subnet-1", ipv6_address_count=1)
rule = aws.ec2.Route("out", route_table_id="rtb-1", gateway_id="igw-1")
pulumi.export("interface", [interface.id, interface.private_ip, interface.mac_address])
"""


def test_outputs_that_an_earlier_version_did_not_record_are_filled_in(deployer: Deployer) -> None:
    """Once, and only those: the resource, its id and what was recorded stay."""
    before = deployer.deploy(INTERFACE).outputs["interface"]
    state = json.loads(deployer.state_file.read_text())
    (old,) = [r for r in state["resources"] if r["name"] == "host-2"]
    del old["outputs"]["privateIp"], old["outputs"]["ipv6Addresses"]
    deployer.state_file.write_text(json.dumps(state))
    again = deployer.deploy(INTERFACE)
    assert again.is_unchanged
    assert before == again.outputs["interface"]
    recorded = deployer.recorded(old["type"], "host-2")["outputs"]
    assert 1 == len(recorded["ipv6Addresses"])
    assert deployer.deploy(INTERFACE).is_unchanged
    assert recorded == deployer.recorded(old["type"], "host-2")["outputs"]


PROTECTED = """
queue = aws.sqs.Queue("mail", name={name}, opts=Options(protect=True))
pulumi.export("url", queue.url)
"""


def test_a_protected_resource_is_not_deleted(deployer: Deployer) -> None:
    """The error says which, and how to go about it; the resource stays, also on record."""
    url = str(deployer.deploy(PROTECTED.replace("{name}", "None")).outputs["url"])
    with pytest.raises(DeployError, match=r"'mail' is protected.*destroy on purpose"):
        deployer.deploy("")
    assert deployer.has_queue(url)
    assert deployer.recorded("aws:sqs/queue:Queue", "mail")["protect"]


def test_a_protected_resource_is_not_replaced(deployer: Deployer) -> None:
    """Replacing is deleting too."""
    url = str(deployer.deploy(PROTECTED.replace("{name}", "None")).outputs["url"])
    with pytest.raises(DeployError, match="'mail'.* protected"):
        deployer.deploy(PROTECTED.replace("{name}", f"'{deployer.stack}-x'"))
    assert deployer.has_queue(url)


def test_what_is_no_longer_protected_can_be_deleted(deployer: Deployer) -> None:
    """Taking the protection away is a deployment of its own, with no change in AWS."""
    url = str(deployer.deploy(PROTECTED.replace("{name}", "None")).outputs["url"])
    freed = deployer.deploy(ONE_QUEUE.replace(", visibility_timeout_seconds=30", ""))
    assert freed.is_unchanged
    deployer.deploy("")
    assert not deployer.has_queue(url)


def test_a_retained_resource_is_forgotten_and_left_alone(deployer: Deployer) -> None:
    """`retain_on_delete` leaves the resource in AWS."""
    program = ONE_QUEUE.replace("=30)", "=30, opts=Options(retain_on_delete=True))")
    url = str(deployer.deploy(program).outputs["url"])
    deployer.deploy("")
    assert deployer.has_queue(url)
    assert [] == [entry for entry in deployer.state() if entry["type"].startswith("aws:")]


def test_a_renamed_resource_with_an_alias_stays(deployer: Deployer) -> None:
    """As with Pulumi, an alias carries a resource over to its new name."""
    url = deployer.deploy(ONE_QUEUE).outputs["url"]
    renamed = """
    queue = aws.sqs.Queue("post", visibility_timeout_seconds=30,
                          opts=Options(aliases=[pulumi.Alias(name="mail")]))
    pulumi.export("url", queue.url)
    """
    after = deployer.deploy(renamed)
    assert (True, url) == (after.is_unchanged, after.outputs["url"])
    assert ["post"] == [e["name"] for e in deployer.state() if e["type"].startswith("aws:")]


def test_ignored_changes_are_ignored(deployer: Deployer) -> None:
    """`ignore_changes` keeps what was made."""
    program = ONE_QUEUE.replace(
        "=30)", '=30, opts=Options(ignore_changes=["visibilityTimeoutSeconds"]))'
    )
    deployer.deploy(program)
    assert deployer.deploy(program.replace("=30", "=60")).is_unchanged


def test_an_unknown_type_is_refused(deployer: Deployer) -> None:
    """A resource that the desk cannot make is an error that says where to add it."""
    with pytest.raises(DeployError, match=r"aws:kms/key:Key: add it"):
        deployer.deploy('aws.kms.Key("k")')


def test_an_unknown_property_is_refused(deployer: Deployer) -> None:
    """What the program asks for is never dropped in silence."""
    with pytest.raises(DeployError, match="does not know aws:sqs/queue:Queue's fifoQueue"):
        deployer.deploy('aws.sqs.Queue("q", fifo_queue=True)')


def test_two_resources_of_one_name_are_refused(deployer: Deployer) -> None:
    """Pulumi refuses a URN that is there twice, and so does the desk."""
    with pytest.raises(DeployError, match="two resources are called"):
        deployer.deploy('aws.sqs.Queue("q")\naws.sqs.Queue("q")')


def test_a_failed_resource_leaves_the_others_on_record(deployer: Deployer) -> None:
    """The error names the resource and AWS's reason; what was made is not made twice."""
    good_and_bad = """
    aws.sqs.Queue("good")
    aws.sqs.Queue("bad", visibility_timeout_seconds=99999)
    """
    with pytest.raises(DeployError, match=r"making aws:sqs/queue:Queue 'bad': CreateQueue: Inv"):
        deployer.deploy(good_and_bad)
    good = deployer.recorded("aws:sqs/queue:Queue", "good")
    after = deployer.deploy(good_and_bad.replace("99999", "99"))
    assert (1, good["id"]) == (
        len(after.created),
        deployer.recorded("aws:sqs/queue:Queue", "good")["id"],
    )


def test_a_program_that_fails_deletes_nothing(deployer: Deployer) -> None:
    """A mistake in the program must not look like a wish to be rid of everything."""
    url = str(deployer.deploy(ONE_QUEUE).outputs["url"])
    with pytest.raises(DeployError, match="oh dear"):
        deployer.deploy('raise ValueError("oh dear")')
    assert deployer.has_queue(url)


def test_a_run_that_dies_is_told_and_the_next_one_lives(deployer: Deployer) -> None:
    """Its last words are the reason; what a run changed of its process is gone with it."""
    with pytest.raises(DeployError, match="died: out of memory"):
        deployer.deploy(
            "import os, sys; print('out of memory', file=sys.stderr, flush=True); os._exit(9)"
        )
    with pytest.raises(DeployError, match="died: exit status -9"):
        deployer.deploy(
            "import os; os.environ['AWS_REGION'] = 'x'; os.chdir('/'); os.kill(os.getpid(), 9)"
        )
    deployer.deploy("import os; assert 'AWS_REGION' not in os.environ and os.getcwd() != '/'")


def test_an_aws_that_is_not_there_is_named(deployer: Deployer) -> None:
    """The error says what to start."""
    with pytest.raises(DeployError, match=r"'mail'.*is the desk's AWS running"):
        deployer.deploy(ONE_QUEUE, endpoint_url=NOWHERE)


def test_default_tags_reach_the_resource(deployer: Deployer) -> None:
    """The provider's default tags are on what can be tagged, as with AWS's provider."""
    made = deployer.deploy(
        """
        provider = aws.Provider("aws", region="us-east-1", default_tags={"tags": {"stack": "x"}})
        queue = aws.sqs.Queue("q", tags={"own": "y"}, opts=Options(provider=provider))
        pulumi.export("url", queue.url)
        """
    )
    tags = deployer.desk.client("sqs").list_queue_tags(QueueUrl=made.outputs["url"])["Tags"]
    assert {"stack": "x", "own": "y"} == tags


def test_the_state_file_is_its_owners_alone(deployer: Deployer) -> None:
    """The state contains secrets in plain text, so only its owner may read it."""
    deployer.deploy(
        """
        aws.ssm.Parameter("p", type="SecureString", value=pulumi.Output.secret("hush"))
        """
    )
    assert 0o600 == deployer.state_file.stat().st_mode & 0o777
    assert "hush" in json.dumps(deployer.state())


def test_what_comes_of_a_secret_is_secret(deployer: Deployer) -> None:
    """A secret input and the outputs that AWS keeps secret stay marked inside the program."""
    made = deployer.deploy(
        """
        user = aws.iam.User("smtp")
        key = aws.iam.AccessKey("smtp", user=user.name)
        parameter = aws.ssm.Parameter("p", type="String", value=pulumi.Output.secret("hush"))

        async def secret(output):
            return await output.is_secret()
        pulumi.export("marks", [secret(key.ses_smtp_password_v4), secret(parameter.value),
                                secret(key.id)])
        """
    )
    assert [True, True, False] == made.outputs["marks"]


def test_a_state_file_of_another_kind_is_refused(deployer: Deployer) -> None:
    """A damaged record is not taken for an empty one, or all would be made twice."""
    deployer.state_file.write_text('{"version": 99}')
    with pytest.raises(DeployError, match="remove the desk"):
        deployer.deploy(ONE_QUEUE)
