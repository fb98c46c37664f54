"""Reconstruct the path of a message from the services' logs: lines to steps to journeys. Pure.

    step        the content of one line: when, where, which message, which outcome for whom
    deliver_log, dovecot_log, postfix_log
                parse a line of that service's log into steps
    services    which of them parses a service's lines
    journey     the steps of one message, joined by the ids that the services give each other
    report      a journey in words

Only the form of a line is trusted: strangers wrote the Message-IDs, addresses and subjects. A
Message-ID finds a message but never joins two; ids from SES, Postfix and Dovecot do. A line that is
not about a message yields no step, whatever it contains.
"""
