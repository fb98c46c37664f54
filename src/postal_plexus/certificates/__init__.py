"""The mail host's certificate: requested, renewed and installed for Dovecot and Postfix.

It runs as a short task on the mail host, once an hour. It checks the existing certificate, and
usually there is nothing to do. If something is due, certbot gets a certificate by DNS-01 through
Route 53, and the new certificate and key replace the old ones at once.

`policy` (pure: what is due), `certificate` (reading one), `delegation` (whether a domain is
delegated to us), `certbot`, `tls_directory` (the shared directory), `task` (the run).

On failure the old certificate stays in use, one log line gives the reason, and the exit status is
1. Each run ends with the days that are left, which the alarm watches.
"""
