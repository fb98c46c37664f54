"""Dovecot's image on real NFS 4.1 in a virtual machine: operations counted, a mailbox contested."""
