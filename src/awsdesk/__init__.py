"""AWS on one desk: what a Pulumi program of AWS and its containers need to run on one machine.

`ministack_patches` (the emulated AWS and what it lacks), `pulumi` (the engine that deploys a
program to it), `ses` (mail in and out, as SES does it), `ecs` (the agent that runs the containers),
`dns` (a server for the Route 53 zones), `cloudfront` (the edge, by HTTPS), `daemon` (all of it in
one process). It knows nothing of the system that runs on it; callers pass what it needs to know.
"""
