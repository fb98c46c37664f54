"""The ECS agent stand-in: starts the containers that the registered services ask for.

`definition` (pure: a task definition as what an engine is told), `engine` (docker or podman),
`secrets` (SSM parameters by the execution role), `credentials` (the task credentials endpoint),
`health` (health checks), `keeper` (the loop that makes what runs equal to what is wanted).
"""
