# A user has moved or copied a mail to Junk: its sender is unwanted from now on.
require ["imapsieve", "variables", "vnd.dovecot.execute"];

if address :matches "from" "*" {
    execute "learn-sender" ["unwanted", "${1}"];
}
