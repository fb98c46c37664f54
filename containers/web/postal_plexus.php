<?php

/**
 * What Roundcube lacks for this house: Dovecot hears whose browser it is, uploads have a bound, a sender's images are
 * loaded once for each click, Roundcube itself loads nothing, and telephones may enlarge its pages.
 *
 * Dovecot counts wrong passwords by address. It believes what this container's socket says in ID (RFC 2971), before
 * the login: https://doc.dovecot.org/2.4.1/core/summaries/settings.html#login_trusted_networks
 */
class postal_plexus extends rcube_plugin
{
    // Of all users together, on the volume that Postfix's queue and the indexes lie on.
    public const MOST_UPLOADED = 200 * 1024 * 1024;

    public function init()
    {
        $this->add_hook('storage_connect', [$this, 'name_the_client']);
        $this->add_hook('attachment_upload', [$this, 'bound_uploads']);
        $this->add_hook('attachment_save', [$this, 'bound_uploads']);
        $this->add_hook('send_page', [$this, 'let_enlarge']);
        $this->add_hook('startup', [$this, 'fetch_nothing']);
        // Roundcube remembers for a session whose images were asked for, and then shows no button again; nginx lets
        // them in only where this request asks for them (nginx.conf), so they would be missing without a word.
        if (empty($_GET['_safe'])) {
            unset($_SESSION['safe_messages']);
        }
    }

    public function name_the_client($options)
    {
        $options['preauth_ident'] = ['x-originating-ip' => $_SERVER['REMOTE_ADDR']];
        return $options;
    }

    // Roundcube fetches a message's style sheets itself, from addresses in the message. Six ways to reach addresses
    // inside the network were reported in 2026 (CVE-2026-35540, CVE-2026-48843 ...). Style sheets are not loaded.
    public function fetch_nothing($asked)
    {
        if ($asked['action'] === 'modcss') {
            http_response_code(404);
            exit;
        }
        return $asked;
    }

    // WCAG 2.2, 1.4.4: the skin forbids to enlarge its pages on a telephone.
    public function let_enlarge($page)
    {
        $page['content'] = str_replace(', maximum-scale=1.0">', '">', $page['content']);
        return $page;
    }

    public function bound_uploads($attachment)
    {
        $held = 0;
        foreach (new FilesystemIterator(rcube::get_instance()->config->get('temp_dir')) as $file) {
            // Another process may have taken it away meanwhile.
            $held += (int) @filesize($file->getPathname());
        }
        if ($held > self::MOST_UPLOADED) {
            $attachment['abort'] = true;
            $attachment['error'] = 'Too many attachments wait here to be sent. Try again in some hours.';
        }
        return $attachment;
    }
}
