"""What runs in a one-off task on the mail host, beside Dovecot or Postfix, for an operator."""
