# What becomes of a mail that the user's filter leaves nowhere, by `discard` or by a rejection.
#
# A rejection goes to its sender, and a `discard` is what the user wants. But a machine gets no answer: Dovecot
# drops the mail all the same, and tells nobody. So what is automatic lies in Trash, for thirty days. What may not
# be answered for another reason, the way out refuses, and then Dovecot keeps it.
require ["envelope", "fileinto"];

if anyof (envelope :is "from" "", exists "Auto-Submitted") {
    fileinto "Trash";
}
