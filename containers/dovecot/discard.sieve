# Runs when the user's filter has kept a message nowhere, after `discard` or a rejection.
#
# A rejection informs the sender, and `discard` is the user's wish. But Dovecot sends no rejection to an automatic
# message: it drops the message, and nobody learns of it. So automatic messages go to Trash, for thirty days. A
# rejection that must not be sent for another reason is refused by the submission guard, and then Dovecot keeps the message.
require ["envelope", "fileinto"];

if anyof (envelope :is "from" "", exists "Auto-Submitted") {
    fileinto "Trash";
}
