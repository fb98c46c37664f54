"""The policy pack: `pulumi up --policy-pack policies` refuses a stack that breaks a rule of it."""

from pulumi_policy import PolicyPack
from rules import POLICIES, STACK_POLICIES

PolicyPack(name="postal-plexus", policies=[*POLICIES, *STACK_POLICIES])
