/* A Dovecot plugin (imap_told): a client hibernates only when it has been told of all changes.
 *
 * Dovecot tells a client in IDLE of a change half a second after it happens, and hands a client that
 * has been quiet for imap_hibernate_timeout over to imap-hibernate. It does that also when a change is
 * still to be told (2.4.1, cmd-idle.c): a mail that came in that half second is announced only with
 * the next change, and one that was expunged makes the connection end when the client is woken
 * ("Failed to import client state"). Here the hand-over is refused while something is to be told;
 * when it has been told, Dovecot tries again by itself.
 *
 * imap-hibernate's watch on the folder begins some milliseconds later, many when 24 processes hand over at once. What
 * changes in between is noticed here when the hand-over is done, and then the client is woken at once.
 *
 * tests/service/test_imap_extensions.py (test_news_just_before_sleep_is_told, test_news_while_falling_asleep_is_told)
 * fails without it.
 */
#define _GNU_SOURCE
#include "imap-common.h"
#include "mail-storage-private.h"
#include "mail-index-private.h"

#include <fcntl.h>
#include <unistd.h>

void imap_told_plugin_init(struct module *module);
void imap_told_plugin_deinit(void);

const char *imap_told_plugin_version = DOVECOT_ABI_VERSION;
const char imap_told_plugin_binary_dependency[] = "imap";

static imap_client_created_func_t *next_hook;
/* The same for all clients: what Dovecot gives a new one. */
static int (*state_export)(struct client *client, bool internal, buffer_t *dest,
			   const char **error_r);
static void (*destroy)(struct client *client, const char *reason);

/* Whether mails have come or gone of which the client does not know. */
static bool is_to_be_told(struct mailbox *box)
{
	const struct mail_index_header *told, *now;

	/* Dovecot has noticed, and waits for more. */
	if (box->to_notify_delay != NULL)
		return TRUE;
	/* It will notice in a moment. */
	if (mail_index_refresh(box->index) < 0)
		return TRUE;
	told = mail_index_get_header(box->view);
	now = &box->index->map->hdr;
	return told->messages_count != now->messages_count || told->next_uid != now->next_uid;
}

static int state_export_when_told(struct client *client, bool internal, buffer_t *dest,
				  const char **error_r)
{
	if (internal && client->mailbox != NULL && is_to_be_told(client->mailbox)) {
		*error_r = "Changes are still to be told";
		return 0;
	}
	return state_export(client, internal, dest, error_r);
}

/* Let everybody who watches the folder look at it. This changes nothing of the file but that. */
static void wake_watchers(struct mailbox *box)
{
	const char *path = t_strconcat(box->index->filepath, ".log", NULL);
	int fd = open(path, O_WRONLY);

	if (fd == -1 || fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1) < 0)
		e_error(box->event, "fallocate(%s) failed: %m", path);
	i_close_fd(&fd);
}

static void destroy_told(struct client *client, const char *reason)
{
	if (client->hibernated && client->mailbox != NULL && is_to_be_told(client->mailbox))
		wake_watchers(client->mailbox);
	destroy(client, reason);
}

static void client_created(struct client **client)
{
	destroy = (*client)->v.destroy;
	(*client)->v.destroy = destroy_told;
	state_export = (*client)->v.state_export;
	(*client)->v.state_export = state_export_when_told;
	if (next_hook != NULL)
		next_hook(client);
}

void imap_told_plugin_init(struct module *module ATTR_UNUSED)
{
	next_hook = imap_client_created_hook_set(client_created);
}

void imap_told_plugin_deinit(void)
{
	imap_client_created_hook_set(next_hook);
}
