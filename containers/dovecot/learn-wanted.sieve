# A user has moved or copied a mail out of Junk: its sender is wanted, unless it went to the Trash.
require ["environment", "imapsieve", "variables", "vnd.dovecot.execute"];

if environment :is "imap.mailbox" "Trash" {
    stop;
}
if address :matches "from" "*" {
    execute "learn-sender" ["wanted", "${1}"];
}
