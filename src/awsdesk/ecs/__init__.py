"""The ECS agent stand-in: starts the containers that the registered services ask for.

`definition` (pure: a task definition as what an engine is told), `engine` (docker or podman),
`credentials` (the task credentials endpoint), `container_instance` (this machine: where and how a
container runs on it), `ownership` (directories with the containers' owners), `runner` (one
container: start, watch, health, restart), `reconciler` (the loop that makes what runs equal to what
is wanted).
"""
