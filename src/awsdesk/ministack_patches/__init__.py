"""The emulated AWS: ministack in this process, with what it lacks added.

`environment` (its settings), `runtime` (start, snapshots, stop), `application` (the ASGI layer in
front: root must sign, no management pages), `service_principal` (acting as an AWS service, so that
bucket and topic policies apply), `roles` and `parameters` (what the agent needs from IAM and SSM).

ministack is untyped. Its modules are reached only by `environment.module`, and its private names
only through the table in `private`.
"""
