# File unwanted messages into Junk, before the user's own script runs.
#
# `deliver` sets X-Plexus-Verdicts from SES's verdicts alone, and renames a field of that name that a sender wrote.
# `learned` is a script in the user's mailbox that lists wanted and unwanted senders; moving messages to and
# from Junk writes it (see learn-sender). It overrides SES's verdicts on spam and DMARC, but not on
# viruses, nor on a forged From of our own domains.
#
# If a filter has crashed Dovecot with a message (out of memory), `deliver` marks the message after some attempts.
# Then it is filed here, without the user's scripts.
require ["fileinto", "include", "mailbox", "variables"];

if header :contains "X-Plexus-Policy" "filters=none" {
    if anyof (
        header :contains "X-Plexus-Verdicts" ["spam=FAIL", "virus=FAIL"],
        header :contains "X-Plexus-Policy" "dmarc=junk"
    ) {
        fileinto :create "Junk";
    } else {
        fileinto "INBOX";
    }
    stop;
}

global "learned";
set "learned" "";
include :personal :optional "learned";

if anyof (
    header :contains "X-Plexus-Verdicts" "virus=FAIL",
    header :contains "X-Plexus-Policy" "dmarc=junk-always",
    string :is "${learned}" "unwanted",
    allof (
        anyof (
            header :contains "X-Plexus-Verdicts" "spam=FAIL",
            header :contains "X-Plexus-Policy" "dmarc=junk"
        ),
        not string :is "${learned}" "wanted"
    )
) {
    fileinto :create "Junk";
    stop;
}
