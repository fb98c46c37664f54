/* A Dovecot plugin (search_bounds): limits the memory that one message takes in the search index.
 *
 * When flatcurve indexes a message, and again when the message is expunged, it keeps each distinct word in memory, at
 * about 400 octets. A body of 1 MB can have 110,000 words, and a header of 3 MB as many addresses. So
 * - at most SEARCH_WORDS_MAX distinct words of a message are indexed, of SEARCH_OCTETS_MAX in total; the rest of the
 *   message is not searched;
 * - a message whose header is longer than SEARCH_HEADER_MAX is not searched at all;
 * - changes are written to disk as soon as they take SEARCH_MEMORY_MAX of memory, whatever the number of
 *   messages (fts_flatcurve_commit_limit counts messages);
 * - a message at which the indexer crashed (out of memory, or a bug of Dovecot) is not tried again: a note of its
 *   position exists below mail_volatile_path while it is indexed, and a process that finds a note left there gives
 *   the message an empty entry in the index.
 * The first, second and fourth are logged once for each message. Such messages are delivered, read and expunged as
 * others are.
 *
 * Tests: tests/service/test_search_bounds.py
 */
#include "lib.h"
#include "array.h"
#include "istream.h"
#include "message-size.h"
#include "mkdir-parents.h"
#include "write-full.h"
#include "module-context.h"
#include "mail-storage-private.h"
#include "mail-storage-hooks.h"
#include "mailbox-list-private.h"
#include "fts-api-private.h"
#include "fts-storage.h"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#define SEARCH_WORDS_MAX 20000
#define SEARCH_OCTETS_MAX (512 * 1024)
#define SEARCH_HEADER_MAX (256 * 1024)
#define SEARCH_MEMORY_MAX (4 * 1024 * 1024)

void search_bounds_plugin_init(struct module *module);
void search_bounds_plugin_deinit(void);

const char *search_bounds_plugin_version = DOVECOT_ABI_VERSION;
const char *search_bounds_plugin_dependencies[] = { "fts_flatcurve", NULL };

/* From lib21_fts_flatcurve_plugin.so: each mailbox's backend is a copy of it. */
extern struct fts_backend fts_backend_flatcurve;
static struct fts_backend_vfuncs flatcurve;

/* The words of the message that is being indexed: a hash table with open addressing, at most 5/8 full. */
static struct {
	const struct fts_backend_update_context *context;
	uint32_t uid;
	uint64_t header;
	unsigned int words;
	size_t octets;
	bool full;
	uint64_t seen[32768];
} mail_now;

/* Memory in use when changes were last written; 0: not measured yet. */
static size_t memory_written;
/* Path of the note about the message that is being indexed, or NULL. */
static char *note_path;

/* Words ------------------------------------------------------------------------------------------ */

static uint64_t hashed(uint64_t hash, const void *data, size_t size)
{
	/* FNV-1a, 64 bits */
	for (const unsigned char *octet = data; size > 0; octet++, size--)
		hash = (hash ^ *octet) * 1099511628211ULL;
	return hash;
}

/* Return whether the message has had this word in this place; add it if not. */
static bool is_known_word(const unsigned char *data, size_t size)
{
	uint64_t hash = hashed(mail_now.header, data, size) | 1; /* 0 is: free */
	unsigned int place = (hash >> 20) % N_ELEMENTS(mail_now.seen);

	while (mail_now.seen[place] != 0) {
		if (mail_now.seen[place] == hash)
			return TRUE;
		place = (place + 1) % N_ELEMENTS(mail_now.seen);
	}
	mail_now.words++;
	mail_now.octets += size;
	mail_now.full = mail_now.words > SEARCH_WORDS_MAX || mail_now.octets > SEARCH_OCTETS_MAX;
	if (!mail_now.full)
		mail_now.seen[place] = hash;
	return FALSE;
}

/* Write the changes to disk once they take much memory. Called only between messages. */
static void write_when_large(struct fts_backend *backend)
{
	struct mallinfo2 memory = mallinfo2();
	size_t used = memory.uordblks + memory.hblkhd;

	if (memory_written == 0 || used < memory_written)
		memory_written = used;
	if (used - memory_written < SEARCH_MEMORY_MAX)
		return;
	(void)backend->v.refresh(backend);
	memory = mallinfo2();
	memory_written = memory.uordblks + memory.hblkhd;
}

static bool
bounded_set_build_key(struct fts_backend_update_context *ctx,
		      const struct fts_backend_build_key *key)
{
	if (ctx != mail_now.context || key->uid != mail_now.uid) {
		write_when_large(ctx->backend);
		i_zero(&mail_now);
		mail_now.context = ctx;
		mail_now.uid = key->uid;
	}
	if (mail_now.full)
		return FALSE;
	mail_now.header = hashed(14695981039346656037ULL + key->type, key->hdr_name,
				 key->hdr_name == NULL ? 0 : strlen(key->hdr_name));
	return flatcurve.update_set_build_key(ctx, key);
}

static int
bounded_build_more(struct fts_backend_update_context *ctx, const unsigned char *data, size_t size)
{
	if (mail_now.full || is_known_word(data, size))
		return 0;
	if (mail_now.full) {
		e_info(ctx->cur_box->event, "UID %u: more than %u different words, or %u KB of them: "
		       "those that come after are not searched",
		       mail_now.uid, SEARCH_WORDS_MAX, SEARCH_OCTETS_MAX / 1024);
		return 0;
	}
	return flatcurve.update_build_more(ctx, data, size);
}

static void bounded_expunge(struct fts_backend_update_context *ctx, uint32_t uid)
{
	flatcurve.update_expunge(ctx, uid);
	write_when_large(ctx->backend);
}

/* Notes ------------------------------------------------------------------------------------------ */

static void forget_note(void)
{
	if (note_path != NULL)
		i_unlink_if_exists(note_path);
	i_free(note_path);
}

static int bounded_deinit(struct fts_backend_update_context *ctx)
{
	int ret = flatcurve.update_deinit(ctx);

	mail_now.context = NULL;
	forget_note();
	return ret;
}

/* Note that this message is being indexed. Return whether there was a note already: an earlier attempt crashed. */
static bool is_noted(struct mail *mail)
{
	const char *folder = mail->box->list->mail_set->mail_volatile_path;
	const char *note = t_strdup_printf("%s\t%s\t%u\n", mail->box->list->ns->user->username,
					   mail->box->vname, mail->uid);
	char before[4096];
	ssize_t size = 0;
	int fd;

	if (*folder == '\0')
		return FALSE;
	if (note_path == NULL)
		note_path = i_strconcat(folder, "/mail-being-indexed", NULL);
	if ((fd = open(note_path, O_RDWR | O_CREAT, 0600)) == -1 && errno == ENOENT &&
	    mkdir_parents(folder, 0700) == 0)
		fd = open(note_path, O_RDWR | O_CREAT, 0600);
	if (fd == -1) {
		e_error(mail->box->event, "open(%s) failed: %m", note_path);
		return FALSE;
	}
	if ((size = read(fd, before, sizeof(before))) < 0)
		size = 0;
	if ((size_t)size == strlen(note) && memcmp(before, note, size) == 0) {
		i_close_fd(&fd);
		return TRUE;
	}
	if (ftruncate(fd, 0) < 0 || pwrite_full(fd, note, strlen(note), 0) < 0)
		e_error(mail->box->event, "write(%s) failed: %m", note_path);
	i_close_fd(&fd);
	return FALSE;
}

/* Reading messages ------------------------------------------------------------------------------- */

struct bounded_mail {
	union mail_module_context module_ctx;
	struct istream *nothing;
};

static MODULE_CONTEXT_DEFINE_INIT(bounds_module, &mail_module_register);
#define BOUNDS_CONTEXT(obj) MODULE_CONTEXT_REQUIRE(obj, bounds_module)

static int
bounded_get_stream(struct mail *mail, bool get_body, struct message_size *hdr_size_r,
		   struct message_size *body_size_r, struct istream **stream_r)
{
	struct bounded_mail *bounded = BOUNDS_CONTEXT((struct mail_private *)mail);
	const char *reason = ((struct mail_private *)mail)->get_stream_reason;
	struct fts_backend *backend = fts_list_backend(mail->box->list);
	struct message_size header;
	const char *why = NULL;
	int ret;

	if (reason == NULL || strcmp(reason, "fts indexing") != 0)
		return bounded->module_ctx.super.get_stream(mail, get_body, hdr_size_r,
							    body_size_r, stream_r);
	/* A search reads messages with the indexing functions too (search-phrases.c). */
	if (backend != NULL && backend->updating && is_noted(mail))
		why = "indexing it did not come to an end";
	else {
		ret = bounded->module_ctx.super.get_stream(mail, get_body, &header,
							   body_size_r, stream_r);
		if (ret < 0)
			return ret;
		if (hdr_size_r != NULL)
			*hdr_size_r = header;
		if (header.physical_size <= SEARCH_HEADER_MAX)
			return ret;
		why = "its header is too long";
	}
	if (backend != NULL && backend->updating)
		e_info(mail->box->event, "UID %u: %s: it is not searched", mail->uid, why);
	i_stream_unref(&bounded->nothing);
	bounded->nothing = i_stream_create_from_data("Subject: \r\n\r\n", 13);
	*stream_r = bounded->nothing;
	return 0;
}

static void bounded_close(struct mail *mail)
{
	struct bounded_mail *bounded = BOUNDS_CONTEXT((struct mail_private *)mail);

	i_stream_unref(&bounded->nothing);
	bounded->module_ctx.super.close(mail);
}

static void mail_allocated(struct mail *_mail)
{
	struct mail_private *mail = (struct mail_private *)_mail;
	struct mail_vfuncs *v = mail->vlast;
	struct bounded_mail *bounded = p_new(mail->pool, struct bounded_mail, 1);

	bounded->module_ctx.super = *v;
	mail->vlast = &bounded->module_ctx.super;
	v->get_stream = bounded_get_stream;
	v->close = bounded_close;
	MODULE_CONTEXT_SET(mail, bounds_module, bounded);
}

static struct mail_storage_hooks hooks = { .mail_allocated = mail_allocated };

void search_bounds_plugin_init(struct module *module)
{
	flatcurve = fts_backend_flatcurve.v;
	fts_backend_flatcurve.v.update_set_build_key = bounded_set_build_key;
	fts_backend_flatcurve.v.update_build_more = bounded_build_more;
	fts_backend_flatcurve.v.update_expunge = bounded_expunge;
	fts_backend_flatcurve.v.update_deinit = bounded_deinit;
	mail_storage_hooks_add(module, &hooks);
}

void search_bounds_plugin_deinit(void)
{
	mail_storage_hooks_remove(&hooks);
	fts_backend_flatcurve.v = flatcurve;
	forget_note();
}
