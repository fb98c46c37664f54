"""What runs in a one-off task on the mail host, beside Dovecot or Postfix, for an operator.

Entry is `containers/shared/maintain`, in the images of Dovecot and of Postfix; the task definitions
are in `pulumi/deployment/maintenance.py`, and `postal_plexus.operations.task` starts and follows
one.

Why so: no shell, agent or port of the host is open to anybody, so IAM alone decides who may do
this, CloudTrail says who did, and what can be done is the table of verbs of an image (`calls`): a
task takes one verb with arguments of its patterns, and rejects the rest. Nothing passes a shell.
ECS lets who starts a task choose its command and environment, never its entry point; so the
programs that are run here get an environment of our own.

What a task has to say is one line of JSON each on its standard output (`output`), numbered, the
last one with the end: CloudWatch Logs may bring lines late, and who reads knows what is missing. A
secret (another server's password) is in none of this: it comes by `hand_over`.

The processes of a task share files with the live ones, never a memory limit: 24 MB of the host are
reserved for one such task at a time. A kill -9 leaves what a kill of `postsuper` or `doveadm`
leaves: queue files and indexes in a state from before or after, since both rename or log what they
change.
"""
