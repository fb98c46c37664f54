# A user has moved or copied a mail out of Junk: its sender is wanted, unless it was thrown away.
# (.Expunged: what is expunged here is copied there by lazy_expunge.)
require ["environment", "imapsieve", "variables", "vnd.dovecot.execute"];

if environment :is "imap.mailbox" ["Trash", ".Expunged", "Junk"] {
    stop;
}
if address :matches "from" "*" {
    execute "learn-sender" ["wanted", "${1}"];
}
