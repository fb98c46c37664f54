"""The ECS agent stand-in: start the containers of the registered services and tasks.

`definition` (pure: a task definition as values for an engine), `engine` (docker or podman),
`credentials` (the task credentials endpoint), `container_instance` (this machine: where and how a
container runs on it), `ownership` (directories with the containers' owners), `runner` (one
container: start, watch, health, restart), `reconciler` (the loop that makes the running containers
equal to the desired ones).
"""
