"""The containers' images in ECR: one repository each, to which built images are pushed by digest.

`pulumi up` builds and pushes an image whose content has changed (tools/push), and the task
definition names the digest from ECR: what runs is what was built, whatever happens to tags.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi_aws as aws
import pulumi_command as command

import pulumi
from deployment.stack import Stack

NAMES = ("dovecot", "postfix", "deliver", "certbot")
WEB = "web"

ROOT = Path(__file__).parents[2]

# Docker's name for AWS's architecture.
_ARCHITECTURES = {"arm64": "arm64", "x86_64": "amd64"}

_LIFECYCLE = {
    "rules": [
        {
            "rulePriority": 1,
            "description": "A few to go back to",
            "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 5},
            "action": {"type": "expire"},
        }
    ]
}


def built_images(architecture: str, names: Sequence[str] = NAMES) -> Mapping[str, str]:
    """Return the local names of the images as they would be built now, without building them.

    Raises:
        pulumi.RunError: the builder cannot tell.
    """
    listed = subprocess.run(  # noqa: S603  our own script
        [sys.executable, str(ROOT / "tools" / "images"), "--refresh", "--tags", *names],
        env={**os.environ, "ARCH": _ARCHITECTURES[architecture]},
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        raise pulumi.RunError(f"tools/images --tags: {listed.stderr.strip()}")
    if warning := listed.stderr.strip():
        # Debian's archive does not answer: an image that may lack a fix must not pass for a new
        # one.
        pulumi.warn(warning)
    return json.loads(listed.stdout)


@dataclass(frozen=True)
class ImagesArgs:
    """`given`: images to run instead of our own from ECR, by name: all or none.

    `web`: whether the stack has a web container.
    """

    stack: Stack
    architecture: str
    given: Mapping[str, str]
    web: bool = False

    @property
    def name(self) -> str:
        """The name of the parts here, or its prefix."""
        return self.stack.named("image")


class Images(pulumi.ComponentResource):
    """`references` are for the task definitions, `repositories` for `make push`."""

    def __init__(
        self, name: str, args: ImagesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("postal-plexus:index:Images", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.references: dict[str, pulumi.Input[str]] = {}
        self.repositories: dict[str, pulumi.Output[str]] = {}
        self.repository_arns: dict[str, pulumi.Output[str]] = {}
        # A stack with its own images and none for certificates also provides those.
        wanted = (*NAMES, WEB) if args.web else NAMES
        names = [image for image in wanted if not args.given or image in args.given]
        built = {} if args.given else built_images(args.architecture, names)
        for image in names:
            repository = aws.ecr.Repository(
                f"{args.name}-{image}",
                image_tag_mutability="IMMUTABLE",
                image_scanning_configuration={"scan_on_push": True},
                # Images can be built again. They contain no mail.
                force_delete=True,
                opts=child,
            )
            aws.ecr.LifecyclePolicy(
                f"{args.name}-{image}",
                repository=repository.name,
                policy=json.dumps(_LIFECYCLE),
                opts=child,
            )
            self.repositories[image] = repository.repository_url
            self.repository_arns[image] = repository.arn
            self.references[image] = (
                args.given[image]
                if image in args.given
                else self._push(image, built[image], repository, args)
            )
        self.register_outputs({"repositories": self.repositories})

    def _push(
        self, image: str, local: str, repository: aws.ecr.Repository, args: ImagesArgs
    ) -> pulumi.Output[str]:
        environment: dict[str, pulumi.Input[str]] = {
            "PLEXUS_IMAGE": local,
            "PLEXUS_REPOSITORY": repository.repository_url,
            "AWS_REGION": args.stack.region,
            "ARCH": _ARCHITECTURES[args.architecture],
        }
        if args.stack.profile:
            environment["AWS_PROFILE"] = args.stack.profile
        pushed = command.local.Command(
            f"{args.name}-{image}",
            # The interpreter that runs this program has what tools/push needs.
            create=f"{sys.executable} {ROOT / 'tools' / 'push'}",
            environment=environment,
            triggers=[local, repository.repository_url],
            # The interpreter's path differs between machines, which is no reason to push again. The
            # environment names the image: it must never be an old one.
            opts=pulumi.ResourceOptions(
                parent=self, ignore_changes=["create"], delete_before_replace=True
            ),
        )
        return pulumi.Output.concat(
            repository.repository_url, "@", pushed.stdout.apply(lambda text: text.strip())
        )
