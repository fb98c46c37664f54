/* A Dovecot plugin (expunge_once): keeps one complete copy of an expunged message.
 *
 * lazy_expunge copies a message to .Expunged and then expunges it. If several sessions do so with the same message at
 * once, each makes a copy. If a message disappears during the copy, its whole transaction is damaged: sdbox
 * (2.4.1, sdbox-save.c) removes the files of copies that the index already lists. Two sessions may also both try to
 * create .Expunged, and one fails. This plugin serializes a user's expunges with a lock, and checks under the lock
 * that the message still exists.
 *
 * With lazy_expunge_only_last_instance a move makes no second copy. But that setting also counts hard links, and
 * LMTP makes hard links between users, so the plugin hides the link count.
 *
 * Its number is below that of lazy_expunge, so Dovecot calls it first. The lock is a file below mail_volatile_path. A
 * session that does not get it within LOCK_SECONDS logs that and expunges without it.
 *
 * Tests: tests/service/test_expunged.py
 */
#include "lib.h"
#include "file-lock.h"
#include "mkdir-parents.h"
#include "module-context.h"
#include "mail-index.h"
#include "mail-storage-private.h"
#include "mail-storage-hooks.h"
#include "mailbox-list-private.h"

#include <fcntl.h>

#define LOCK_SECONDS 10

void expunge_once_plugin_init(struct module *module);
void expunge_once_plugin_deinit(void);

const char *expunge_once_plugin_version = DOVECOT_ABI_VERSION;

/* The transaction that holds the lock. */
static struct mailbox_transaction_context *holder;
static struct file_lock *lock;
static int lock_fd = -1;

static MODULE_CONTEXT_DEFINE_INIT(once_mail_module, &mail_module_register);
static MODULE_CONTEXT_DEFINE_INIT(once_storage_module, &mail_storage_module_register);
#define MAIL_CONTEXT(obj) MODULE_CONTEXT_REQUIRE(obj, once_mail_module)
#define BOX_CONTEXT(obj) MODULE_CONTEXT_REQUIRE(obj, once_storage_module)

struct once_mailbox {
	union mailbox_module_context module_ctx;
};

/* Apply the expunges that other sessions have requested to the index. Uses another view, because a sync of this
   session's view would change the state that its client knows. */
static void carry_out_expunges(struct mailbox *box)
{
	struct mailbox *same = mailbox_alloc(box->list, box->vname, MAILBOX_FLAG_IGNORE_ACLS);

	if (mailbox_sync(same, 0) < 0)
		e_error(box->event, "Syncing before an expunge failed: %s",
			mailbox_get_last_internal_error(same, NULL));
	mailbox_free(&same);
	(void)mail_index_refresh(box->index);
}

static void lock_user(struct mailbox_transaction_context *t)
{
	const struct file_lock_settings set = { .lock_method = FILE_LOCK_METHOD_FLOCK };
	const char *folder = t->box->list->mail_set->mail_volatile_path;
	const char *path = t_strconcat(folder, "/expunge.lock", NULL);
	const char *error;

	if (holder != NULL || *folder == '\0')
		return;
	lock_fd = open(path, O_RDWR | O_CREAT, 0600);
	if (lock_fd == -1 && errno == ENOENT && mkdir_parents(folder, 0700) == 0)
		lock_fd = open(path, O_RDWR | O_CREAT, 0600);
	if (lock_fd == -1)
		e_error(t->box->event, "open(%s) failed: %m", path);
	else if (file_wait_lock(lock_fd, path, F_WRLCK, &set, LOCK_SECONDS, &lock, &error) <= 0) {
		e_error(t->box->event, "Expunging without a lock: %s", error);
		i_close_fd(&lock_fd);
	}
	holder = t;
	carry_out_expunges(t->box);
}

static void unlock_user(struct mailbox_transaction_context *t)
{
	if (holder != t)
		return;
	holder = NULL;
	if (lock != NULL)
		file_unlock(&lock);
	i_close_fd(&lock_fd);
}

static void once_expunge(struct mail *mail)
{
	union mail_module_context *context = MAIL_CONTEXT((struct mail_private *)mail);

	lock_user(mail->transaction);
	if (!mail->saving && mail_index_is_expunged(mail->transaction->view, mail->seq)) {
		mail_set_expunged(mail);
		return;
	}
	context->super.expunge(mail);
}

static int
once_get_special(struct mail *mail, enum mail_fetch_field field, const char **value_r)
{
	union mail_module_context *context = MAIL_CONTEXT((struct mail_private *)mail);

	if (field == MAIL_FETCH_REFCOUNT) {
		*value_r = "";
		return 0;
	}
	return context->super.get_special(mail, field, value_r);
}

static void mail_allocated(struct mail *_mail)
{
	struct mail_private *mail = (struct mail_private *)_mail;
	struct mail_vfuncs *v = mail->vlast;
	union mail_module_context *context = p_new(mail->pool, union mail_module_context, 1);

	context->super = *v;
	mail->vlast = &context->super;
	v->expunge = once_expunge;
	v->get_special = once_get_special;
	MODULE_CONTEXT_SET_SELF(mail, once_mail_module, context);
}

static int
once_commit(struct mailbox_transaction_context *t, struct mail_transaction_commit_changes *changes_r)
{
	struct once_mailbox *once = BOX_CONTEXT(t->box);
	int ret = once->module_ctx.super.transaction_commit(t, changes_r);

	unlock_user(t);
	return ret;
}

static void once_rollback(struct mailbox_transaction_context *t)
{
	struct once_mailbox *once = BOX_CONTEXT(t->box);

	once->module_ctx.super.transaction_rollback(t);
	unlock_user(t);
}

static void mailbox_allocated(struct mailbox *box)
{
	struct mailbox_vfuncs *v = box->vlast;
	struct once_mailbox *once = p_new(box->pool, struct once_mailbox, 1);

	once->module_ctx.super = *v;
	box->vlast = &once->module_ctx.super;
	v->transaction_commit = once_commit;
	v->transaction_rollback = once_rollback;
	MODULE_CONTEXT_SET(box, once_storage_module, once);
}

static struct mail_storage_hooks hooks = {
	.mail_allocated = mail_allocated,
	.mailbox_allocated = mailbox_allocated,
};

void expunge_once_plugin_init(struct module *module)
{
	mail_storage_hooks_add(module, &hooks);
}

void expunge_once_plugin_deinit(void)
{
	mail_storage_hooks_remove(&hooks);
}
