# Runs when a user moves or copies a message to Junk: remember its sender as unwanted.
require ["imapsieve", "variables", "vnd.dovecot.execute"];

if address :matches "from" "*" {
    execute "learn-sender" ["unwanted", "${1}"];
}
