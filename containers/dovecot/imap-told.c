/* A Dovecot plugin (imap_told): lets a client hibernate only after it has been notified of all changes.
 *
 * Dovecot notifies a client in IDLE half a second after a change, and moves a client that has been quiet for
 * imap_hibernate_timeout to imap-hibernate. It does so even while a notification is pending (2.4.1, cmd-idle.c). Then
 * a message that arrived in that half second is announced only with the next change, and an expunged one ends the
 * connection when the client is woken ("Failed to import client state"). This plugin refuses the move while a
 * notification is pending; Dovecot tries again after it.
 *
 * imap-hibernate begins to watch the folder some milliseconds later, and later still when 24 processes move clients at
 * once. The plugin looks for changes in between after the move, and wakes the client at once if there are any.
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
/* Dovecot's own functions, the same for all clients. */
static int (*state_export)(struct client *client, bool internal, buffer_t *dest,
			   const char **error_r);
static void (*destroy)(struct client *client, const char *reason);

/* Return whether messages have arrived or gone of which the client has not been notified. */
static bool is_to_be_told(struct mailbox *box)
{
	const struct mail_index_header *told, *now;

	/* Dovecot has noticed a change and delays the notification. */
	if (box->to_notify_delay != NULL)
		return TRUE;
	/* The index cannot be read now; assume a change. */
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

/* Make every process that watches the folder look for changes. The file's content stays the same. */
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
