"""What the logs of the services say of one mail: lines become steps, steps become journeys. Pure.

    step        what one line says: when, where, of which mail, what became of it for whom
    deliver_log, dovecot_log, postfix_log
                a line of that service's log as steps
    services    which of them reads a service's lines
    journey     the steps of one mail, joined by the ids that the services give each other
    report      a journey in words

Nothing in a line is trusted but its form: Message-IDs, addresses and subjects are what strangers
wrote. A Message-ID finds a mail but never joins two; what joins are ids that SES, Postfix and
Dovecot have given. What is no line of a mail gives no step, whatever it holds.
"""
