"""What `plexus import` costs, with Dovecot's own one-step sync and mbsync beside it."""
