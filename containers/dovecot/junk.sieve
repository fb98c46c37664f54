# Filing that every mail passes before the user's own script: Junk.
#
# X-Plexus-Verdicts is set by `deliver` from SES's word alone; whatever a sender wrote there has been
# renamed. `learned` is a script of the user's that moving mails to and from Junk writes (see
# learn-sender); it names senders, and its word counts more than SES's about spam and about a From that
# its domain disowns (DMARC), not about viruses, nor about a From of our own domains that is forged.
#
# A mail at which Dovecot ended before (out of memory, by what a filter makes of it) is filed at once, past all
# that users write: `deliver` marks it so after some tries.
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
