/* A Dovecot plugin (expunge_once): a mail that is expunged is kept once, and whole.
 *
 * lazy_expunge copies a mail to .Expunged and expunges it then. Where several sessions do that with the same
 * mail at once, each makes a copy, and one whose source vanishes meanwhile spoils all of its transaction:
 * sdbox (2.4.1, sdbox-save.c) removes the files of copies that the index lists already. The first two
 * sessions may also both create .Expunged, and one fails. Here a user's sessions expunge one after the
 * other: who has the lock looks first whether the mail is still there.
 *
 * With lazy_expunge_only_last_instance a move makes no second copy. That setting would also trust the
 * number of hard links, which LMTP makes between users too: so that number is hidden here.
 *
 * Its number is below that of lazy_expunge, so that it is asked first. The lock is a file below
 * mail_volatile_path; who cannot have it within LOCK_SECONDS goes on without it, with a line in the log.
 *
 * tests/service/test_expunged.py
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

/* Let the index know what other sessions have asked to expunge. Not by a sync of this session's own view,
   which would change what its client knows. */
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
