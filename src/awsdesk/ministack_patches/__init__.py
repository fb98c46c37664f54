"""The emulated AWS: ministack in this process, with what it lacks added.

`environment` (its settings), `runtime` (start, snapshots, stop), `application` (the ASGI layer in
front: root must sign, no management pages), `service_principal` (acting as an AWS service, so that
bucket and topic policies are asked), `roles` and `parameters` (what the agent asks of IAM, SSM).

ministack is untyped; its modules are reached by `environment.module`, and what it does not offer to
others through the table in `private`, nowhere else.
"""
