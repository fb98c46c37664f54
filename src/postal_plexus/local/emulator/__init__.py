"""The emulated AWS: ministack in this process, with what it lacks added here and nowhere else.

`environment` (its settings), `runtime` (start, snapshots, stop), `application` (the ASGI layer in
front: root must sign, no management pages), `ses_api` (SES v1 calls it lacks or takes too easily),
`ses_account` (what is stored about SES, typed), `service_principal` (acting as the SES service, so
that bucket and topic policies are asked), `callers` (SMTP users and their policies), `tasks`
(reporting what the agent runs).

ministack is untyped and its modules are reached by `environment.module`, so that what is private
to it is touched in this package only.
"""
