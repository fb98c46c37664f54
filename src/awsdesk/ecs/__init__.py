"""The ECS agent stand-in: starts the containers that the registered services ask for.

`definition` (pure: a task definition as what an engine is told), `engine` (docker or podman),
`credentials` (the task credentials endpoint), `placing` (where and how a container runs here),
`ownership` (directories with the containers' owners), `runner` (one container: start, watch,
health, restart), `keeper` (the loop that makes what runs equal to what is wanted).
"""
