<?php
// Roundcube for Postal Plexus: only what differs from its defaults (defaults.inc.php), each with its reason.

$config = [];

// Settings, contacts and sessions, on the host's state volume. Sessions hold passwords, encrypted with a key that
// lives in memory: the entrypoint makes a new one at each start, and ends the sessions of the old one.
$config['db_dsnw'] = 'sqlite:////var/lib/webmail/settings/webmail.db?mode=0600';
$config['des_key'] = (string) @file_get_contents('/run/webmail/key');
$config['cipher_method'] = 'AES-256-CBC';
$config['session_storage'] = 'db';
$config['session_lifetime'] = 60;
// No other site makes the browser send the session, not even by a link.
$config['session_samesite'] = 'Strict';
$config['use_https'] = true;

// nginx carries these to Dovecot's and Postfix's sockets for this container.
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
// Guessing is Dovecot's to bound, which spares the networks that a user is known from. By this, three wrong
// passwords a minute would keep anybody out.
$config['login_rate_limit'] = 0;
$config['enable_installer'] = false;
$config['product_name'] = 'Webmail';
$config['useragent'] = 'Postal Plexus webmail';
// Before a login nobody needs to know what this is.
$config['display_product_info'] = 0;

// As large as an upload may be (nginx.conf, php-fpm.conf): mails have 40 MB, and base64 makes four of three.
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

// Images of strangers tell them that, when and where a mail was read: only for the mail at hand, by a click.
$config['show_images'] = 0;
$config['dont_override'] = ['show_images', 'use_subscriptions'];
// Nor is anything sent because a mail was opened.
$config['mdn_requests'] = 2;
$config['prefer_html'] = true;
// It would need a service of a third party.
$config['enable_spellcheck'] = false;
// Nobody may write as whom they are not: Postfix holds that, and takes the addresses that the stack allows.
$config['identities_level'] = 0;

$config['plugins'] = ['archive', 'jqueryui', 'managesieve', 'markasjunk', 'postal_plexus'];

// Filters and vacation as forms, on Dovecot's own ManageSieve.
$config['managesieve_host'] = '127.0.0.1:4190';
$config['managesieve_auth_type'] = 'PLAIN';
$config['managesieve_default'] = '';
$config['managesieve_script_name'] = 'filters';
$config['managesieve_vacation'] = 1;
$config['managesieve_vacation_addresses_init'] = true;

// What is moved to Junk, or out of it, teaches Dovecot's own filter (junk.sieve).
$config['markasjunk_move_spam'] = true;
$config['markasjunk_move_ham'] = true;
$config['markasjunk_spam_mbox'] = 'Junk';
$config['markasjunk_ham_mbox'] = 'INBOX';

$config['skin'] = 'elastic';
