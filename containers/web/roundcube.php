<?php
// Roundcube for Postal Plexus: only what differs from its defaults (defaults.inc.php), each with its reason.

$config = [];

// Settings, contacts and sessions, on the host's state volume. Sessions contain passwords, encrypted with a key that
// is in memory only: the entrypoint makes a new key at each start, and deletes the sessions of the old one.
$config['db_dsnw'] = 'sqlite:////var/lib/webmail/settings/webmail.db?mode=0600';
$config['des_key'] = (string) @file_get_contents('/run/webmail/key');
$config['cipher_method'] = 'AES-256-CBC';
$config['session_storage'] = 'db';
$config['session_lifetime'] = 60;
// The browser sends the session cookie with no request that another site caused, not even a link.
$config['session_samesite'] = 'Strict';
$config['use_https'] = true;

// nginx forwards these ports to Dovecot's and Postfix's sockets for this container.
$config['imap_host'] = '127.0.0.1:143';
$config['imap_auth_type'] = 'PLAIN';
$config['imap_timeout'] = 30;
$config['smtp_host'] = '127.0.0.1:587';
$config['smtp_user'] = '%u';
$config['smtp_pass'] = '%p';
$config['smtp_auth_type'] = 'PLAIN';
$config['smtp_timeout'] = 60;
$config['smtp_helo_host'] = 'webmail.localhost';

$config['log_driver'] = 'stdout';
$config['log_dir'] = '/var/lib/webmail/temp/';
// Dovecot limits guessing, and exempts networks from which a user has logged in before. Roundcube's own limit would let
// three wrong passwords a minute lock a user out.
$config['login_rate_limit'] = 0;
$config['enable_installer'] = false;
$config['product_name'] = 'Webmail';
$config['useragent'] = 'Postal Plexus webmail';
// Do not show the software's name before a login.
$config['display_product_info'] = 0;

// Fits the largest upload, 25 MB (webmail.conf, php-fpm.conf), which base64 makes a third larger. SES accepts 40 MB.
$config['max_message_size'] = '38M';
$config['temp_dir'] = '/var/lib/webmail/temp/';
$config['temp_dir_ttl'] = '12h';

// Dovecot's folders, as dovecot.conf has them.
$config['drafts_mbox'] = 'Drafts';
$config['junk_mbox'] = 'Junk';
$config['sent_mbox'] = 'Sent';
$config['trash_mbox'] = 'Trash';
$config['archive_mbox'] = 'Archive';
$config['lock_special_folders'] = true;

// Remote images tell a sender that, when and where a message was read. They load only after a click, for one message.
$config['show_images'] = 0;
$config['dont_override'] = ['show_images', 'use_subscriptions'];
// Send no receipt when a message is opened.
$config['mdn_requests'] = 2;
$config['prefer_html'] = true;
// Spell checking would need a third party's service.
$config['enable_spellcheck'] = false;
// Users may edit their identities; Postfix accepts only the addresses that the stack allows them.
$config['identities_level'] = 0;

$config['plugins'] = ['archive', 'jqueryui', 'managesieve', 'markasjunk', 'postal_plexus'];

// Filters and vacation as forms, on Dovecot's own ManageSieve.
$config['managesieve_host'] = '127.0.0.1:4190';
$config['managesieve_auth_type'] = 'PLAIN';
$config['managesieve_default'] = '';
$config['managesieve_script_name'] = 'filters';
$config['managesieve_vacation'] = 1;
$config['managesieve_vacation_addresses_init'] = true;

// Moving a message to Junk or out of it trains Dovecot's filter (junk.sieve).
$config['markasjunk_move_spam'] = true;
$config['markasjunk_move_ham'] = true;
$config['markasjunk_spam_mbox'] = 'Junk';
$config['markasjunk_ham_mbox'] = 'INBOX';

$config['skin'] = 'elastic';
