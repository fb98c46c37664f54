"""The programs of operators' one-off tasks on the mail host, beside Dovecot or Postfix.

The entry point is `containers/shared/maintain` in the images of Dovecot and Postfix. The task
definitions are in `pulumi/deployment/maintenance.py`, and `postal_plexus.operations.task` starts
and follows a task.

Reasons for tasks: the host has no open shell, agent or port, so only IAM decides who may do this,
and CloudTrail records who did. What can be done is the image's table of verbs (`calls`): a task
accepts one verb with arguments that match its patterns, and rejects everything else. No shell is
involved. Whoever starts a task can choose its command and environment, but not its entry point;
therefore the programs that run here get an environment set by this code.

A task prints its results as lines of JSON on its standard output (`output`). They are numbered, and
the last one marks the end, because CloudWatch Logs may deliver lines late, and the reader must
notice missing ones. Secrets (another server's password) are never part of this; `hand_over` passes
them.

A task's processes share files with the running services, but not their memory limit: 24 MB of the
host are reserved for one such task at a time. kill -9 leaves queue files and indexes in the state
before or after a change, because `postsuper` and `doveadm` rename or log what they change.
"""
