/* Part of the plugin search_phrases: splits messages into words, for indexing and for comparing phrases.
 *
 * To compare a phrase, a message is read by the function that indexes it (fts_build_mail), with other callbacks in
 * place of the backend's, so that both see the same words.
 */
#include "search-words.h"
#include "array.h"
#include "str.h"
#include "mail-search.h"
#include "mail-storage-private.h"
#include "mailbox-list-private.h"
#include "index-search-private.h"
#include "lang-filter.h"
#include "lang-tokenizer-private.h"
#include "lang-user.h"
#include "fts-api-private.h"
#include "fts-storage.h"

/* From lib20_fts_plugin.so and lib21_fts_flatcurve_plugin.so. */
int fts_build_mail(struct fts_backend_update_context *update_ctx, struct mail *mail);
extern struct fts_backend fts_backend_flatcurve;
static struct fts_backend_vfuncs bounded;

/* Return the language whose filters apply to all text: for most header fields Dovecot's own only change the case. */
struct language_user *search_language(struct fts_backend *backend)
{
	const ARRAY_TYPE(language_user) *languages = lang_user_get_all_languages(backend->ns->user);

	return array_idx_elem(languages, array_count(languages) - 1);
}

static int split(struct fts_backend *backend, struct words_splitter *splitter, bool is_filtered, const char *token)
{
	struct language_user *lang = search_language(backend);
	const char *error;

	if (!is_filtered && !words_are_ascii(token) && lang->filter != NULL && lang_filter(lang->filter, &token, &error) <= 0)
		return 0;
	/* The address tokenizer returns a whole address in addition to its words. */
	if (words_are_ascii(token) && strchr(token, '@') != NULL) {
		return splitter->form == WORDS_ONE_BY_ONE ? 0 :
			splitter->piece(splitter->context, (const unsigned char *)token, strlen(token), TRUE);
	}
	return words_split(splitter, token);
}

/* Indexing --------------------------------------------------------------------------------------- */

static bool in_body;

static int index_word(void *context, const unsigned char *data, size_t size, bool is_first ATTR_UNUSED)
{
	struct fts_backend_update_context *ctx = context;

	return bounded.update_build_more(ctx, data, size);
}

static bool index_set_build_key(struct fts_backend_update_context *ctx, const struct fts_backend_build_key *key)
{
	in_body = key->type == FTS_BACKEND_BUILD_KEY_BODY_PART;
	return bounded.update_set_build_key(ctx, key);
}

static int index_build_more(struct fts_backend_update_context *ctx, const unsigned char *data, size_t size)
{
	static struct words_splitter splitter = { .form = WORDS_OF_MAIL, .piece = index_word };

	splitter.context = ctx;
	return split(ctx->backend, &splitter, in_body, t_strndup(data, size));
}

/* Comparing a message ---------------------------------------------------------------------------- */

static struct {
	const struct phrase *phrase;
	unsigned int matched; /* octets of the phrase that the last octets read match */
	bool is_found;
	struct words_splitter splitter;
} reading;

/* \1 precedes a token, a space each of its words. */
int phrase_word(void *context, const unsigned char *data, size_t size, bool is_first)
{
	buffer_t *stream = context;

	if (is_first)
		buffer_append_c(stream, '\1');
	buffer_append_c(stream, ' ');
	buffer_append(stream, data, size);
	return 0;
}

static int read_word(void *context ATTR_UNUSED, const unsigned char *data, size_t size, bool is_first)
{
	const unsigned char *wanted = reading.phrase->words->data;
	buffer_t *word;

	/* "a＠b" becomes an address only through the filters, so it has not been split into words. */
	if (reading.is_found || reading.phrase->words->used == 0)
		return 0;
	word = t_buffer_create(size + 2);
	phrase_word(word, data, size, is_first);
	for (size_t i = 0; i < word->used; i++) {
		unsigned char octet = ((const unsigned char *)word->data)[i];

		while (reading.matched > 0 && wanted[reading.matched] != octet)
			reading.matched = reading.phrase->borders[reading.matched - 1];
		if (wanted[reading.matched] == octet && ++reading.matched == reading.phrase->words->used) {
			reading.is_found = TRUE;
			break;
		}
	}
	return 0;
}

static void reading_begin(const struct phrase *phrase)
{
	i_zero(&reading);
	reading.phrase = phrase;
	reading.splitter.form = WORDS_ONE_BY_ONE;
	reading.splitter.piece = read_word;
}

static bool read_set_build_key(struct fts_backend_update_context *ctx, const struct fts_backend_build_key *key)
{
	in_body = key->type == FTS_BACKEND_BUILD_KEY_BODY_PART;
	reading.matched = 0;
	if (reading.is_found || (reading.phrase->type == SEARCH_BODY && !in_body))
		return FALSE;
	/* SEARCH TEXT "subject: invoice" */
	if (!in_body && *key->hdr_name != '\0')
		(void)split(ctx->backend, &reading.splitter, FALSE, t_str_lcase(key->hdr_name));
	return TRUE;
}

static int read_build_more(struct fts_backend_update_context *ctx, const unsigned char *data, size_t size)
{
	return reading.is_found ? 0 : split(ctx->backend, &reading.splitter, in_body, t_strndup(data, size));
}

static void read_nothing(struct fts_backend_update_context *ctx ATTR_UNUSED)
{
}

/* Return 1; 0 if the message is expunged, -1 if it cannot be read. */
static int read_mail(struct fts_backend *backend, struct mail *mail)
{
	struct fts_backend_update_context ctx = { .backend = backend, .cur_box = mail->box, .backend_box = mail->box };
	struct fts_backend_vfuncs indexing = backend->v;
	int ret;

	backend->v.update_set_build_key = read_set_build_key;
	backend->v.update_build_more = read_build_more;
	backend->v.update_unset_build_key = read_nothing;
	ret = fts_build_mail(&ctx, mail);
	backend->v = indexing;
	return ret;
}

/* Pass each token of a text to the splitter. */
void words_split_text(struct fts_backend *backend, struct lang_tokenizer *tokenizer, struct words_splitter *splitter,
	   const char *text)
{
	struct lang_filter *filter = search_language(backend)->filter;
	const unsigned char *data = (const unsigned char *)text;
	size_t size = strlen(text);
	const char *token, *error;
	int ret;

	lang_tokenizer_reset(tokenizer);
	do T_BEGIN {
		ret = lang_tokenizer_next(tokenizer, data, size, &token, &error);
		if (ret > 0 && (filter == NULL || lang_filter(filter, &token, &error) > 0))
			(void)split(backend, splitter, TRUE, token);
		if (ret == 0 && size > 0) {
			data = NULL;
			size = 0;
			ret = 1;
		}
	} T_END; while (ret > 0);
	lang_tokenizer_reset(tokenizer);
}

static int read_field(struct fts_backend *backend, struct mail *mail)
{
	const char *const *values;

	if (mail_get_headers_utf8(mail, reading.phrase->field, &values) < 0)
		return mail->expunged ? 0 : -1;
	for (; *values != NULL && !reading.is_found; values++) {
		reading.matched = 0;
		words_split_text(backend, search_language(backend)->index_tokenizer, &reading.splitter, *values);
	}
	return 1;
}

bool phrase_is_in_mail(const struct phrase *phrase, struct mail_search_context *ctx, struct mail *mail)
{
	struct index_search_context *index_ctx = container_of(ctx, struct index_search_context, mail_ctx);
	struct fts_backend *backend = fts_list_backend(mail->box->list);
	int ret;

	reading_begin(phrase);
	ret = phrase->field != NULL ? read_field(backend, mail) : read_mail(backend, mail);
	if (ret == 0)
		ctx->seen_lost_data = TRUE;
	else if (ret < 0 && !index_ctx->failed) {
		mail_storage_last_error_push(mail->box->storage);
		index_ctx->failed = TRUE;
	}
	return reading.is_found;
}

/* ------------------------------------------------------------------------------------------------ */

void search_mails_init(void)
{
	bounded = fts_backend_flatcurve.v;
	fts_backend_flatcurve.v.update_set_build_key = index_set_build_key;
	fts_backend_flatcurve.v.update_build_more = index_build_more;
}

void search_mails_deinit(void)
{
	fts_backend_flatcurve.v = bounded;
}
