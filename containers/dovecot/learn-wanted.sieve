# Runs when a user moves or copies a message out of Junk: remember its sender as wanted, unless the message was
# deleted (lazy_expunge copies expunged messages to .Expunged).
require ["environment", "imapsieve", "variables", "vnd.dovecot.execute"];

if environment :is "imap.mailbox" ["Trash", ".Expunged", "Junk"] {
    stop;
}
if address :matches "from" "*" {
    execute "learn-sender" ["wanted", "${1}"];
}
