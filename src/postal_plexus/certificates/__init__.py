"""The mail host's certificate: asked for, renewed and put where Dovecot and Postfix read it.

Runs as a short task on the mail host, once an hour: looks at the certificate that is there, and
mostly finds nothing to do. When something is due, certbot gets a certificate by DNS-01 through
Route 53, and the new pair of certificate and key takes the old one's place at once.

`policy` (pure: what is due), `certificate` (reading one), `delegation` (is a domain ours on the
internet yet?), `certbot`, `tls_directory` (the shared directory), `task` (the run).

Fails by leaving the old certificate where it is, one log line that says why, and exit status 1;
each run ends with the days that are left, which is what the alarm watches.
"""
