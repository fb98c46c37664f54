/* A Dovecot plugin (search_phrases): searches for phrases, and for words of scripts without spaces.
 *
 * Dovecot 2.4.1 splits a query into words and searches for each of them anywhere in a message ("quick brown" finds
 * "brown fox quick"; Dovecot 2.4.5 reads the messages, but without their line breaks and HTML). This plugin splits
 * the query instead. A condition on text becomes
 *
 *   word AND word AND ... AND phrase
 *
 * Flatcurve answers the words. For a phrase of several words, the messages that contain all of them are read and
 * compared. A message is read by the function that indexes it (fts_build_mail), so both see the same words; Subject
 * and addresses come from Dovecot's cache. A message that is not indexed yet is read too. Dovecot itself compares
 * header fields that have no index of their own.
 *
 * Words of messages pass through this plugin before they are indexed (search-words.c), and before search_bounds
 * counts them.
 *
 * Tests: tests/service/test_search_words.py
 */
#include "search-words.h"
#include "array.h"
#include "str.h"
#include "module-context.h"
#include "mail-search.h"
#include "index-mail.h"
#include "index-search-private.h"
#include "lang-filter.h"
#include "lang-tokenizer-private.h"
#include "lang-user.h"
#include "mail-storage-hooks.h"
#include "mailbox-list-private.h"
#include "fts-api-private.h"
#include "fts-storage.h"

/* The number of a phrase's words, the longest, that are looked up in the index; messages are compared with all. */
#define PHRASE_WORDS_MAX 16

/* The type of our conditions: unknown to Dovecot, so that it does not evaluate them. While Dovecot simplifies
   conditions it must be able to compare them, so they have a known type then, and each has different flags. */
#define SEARCH_PHRASE ((enum mail_search_arg_type)(SEARCH_MIMEPART + 1))
#define SEARCH_PHRASE_FOR_NOW SEARCH_GUID
#define OUR_PHRASE 0x20000000
/* The condition on a word, which the index answers. */
#define OUR_WORD 0x40000000

void search_phrases_plugin_init(struct module *module);
void search_phrases_plugin_deinit(void);

const char *search_phrases_plugin_version = DOVECOT_ABI_VERSION;
const char *search_phrases_plugin_dependencies[] = { "search_bounds", NULL };

/* The query -------------------------------------------------------------------------------------- */

struct words {
	pool_t pool;
	ARRAY_TYPE(const_string) all;
};

static int add_word(void *context, const unsigned char *data, size_t size, bool is_first ATTR_UNUSED)
{
	struct words *words = context;
	const char *word = p_strndup(words->pool, data, size);

	array_push_back(&words->all, &word);
	return 0;
}

static int longer_first(const char *const *a, const char *const *b)
{
	size_t size_a = strlen(*a), size_b = strlen(*b);

	return size_a != size_b ? (size_a < size_b ? 1 : -1) : strcmp(*a, *b);
}

static unsigned int *borders(pool_t pool, const unsigned char *data, size_t size)
{
	unsigned int *borders = p_new(pool, unsigned int, size);

	for (size_t i = 1, border = 0; i < size; i++) {
		while (border > 0 && data[i] != data[border])
			border = borders[border - 1];
		if (data[i] == data[border])
			border++;
		borders[i] = border;
	}
	return borders;
}

static struct mail_search_arg *
new_arg(pool_t pool, enum mail_search_arg_type type, struct mail_search_arg **list)
{
	struct mail_search_arg *arg = p_new(pool, struct mail_search_arg, 1);

	arg->type = type;
	arg->next = *list;
	arg->result = -1;
	*list = arg;
	return arg;
}

static void
new_phrase(struct fts_backend *backend, pool_t pool, const struct mail_search_arg *orig, bool is_one_word,
	   struct mail_search_arg **list)
{
	static unsigned int number = 0;
	struct mail_search_arg *arg = new_arg(pool, SEARCH_PHRASE_FOR_NOW, list);
	struct phrase *phrase = p_new(pool, struct phrase, 1);
	buffer_t *words = buffer_create_dynamic(pool, 64);
	struct words_splitter splitter = { .form = WORDS_ONE_BY_ONE, .piece = phrase_word, .context = words };

	phrase->type = orig->type;
	phrase->field = p_strdup(pool, orig->hdr_field_name);
	phrase->is_one_word = is_one_word;
	phrase->words = words;
	words_split_text(backend, search_language(backend)->index_tokenizer, &splitter, orig->value.str);
	if (words->used > 0) {
		buffer_delete(words, 0, 1);
		phrase->borders = borders(pool, words->data, words->used);
	}
	arg->value.str = "";
	arg->value.mime_part = (void *)phrase;
	arg->value.search_flags = (enum mail_search_arg_flag)(OUR_PHRASE | (++number % OUR_PHRASE));
}

static const struct phrase *phrase_of(const struct mail_search_arg *arg)
{
	return (const void *)arg->value.mime_part;
}

static void cut(struct fts_backend *backend, pool_t pool, struct mail_search_arg **argp)
{
	struct mail_search_arg *orig = *argp, *and = NULL, *list = NULL, *arg;
	bool is_header = orig->type != SEARCH_BODY && orig->type != SEARCH_TEXT;
	bool has_index = !is_header || fts_header_want_indexed(orig->hdr_field_name);
	struct words words = { .pool = pool };
	struct words_splitter splitter = { .form = WORDS_OF_QUERY, .piece = add_word, .context = &words };
	const char *word, *last = NULL;
	unsigned int count = 0;

	p_array_init(&words.all, pool, 16);
	words_split_text(backend, search_language(backend)->search_tokenizer, &splitter, orig->value.str);
	and = new_arg(pool, SEARCH_SUB, &and);
	and->match_not = orig->match_not;
	and->next = orig->next;
	*argp = and;
	if (array_is_empty(&words.all)) {
		/* Only punctuation: it matches no message, as in Dovecot. */
		and->type = SEARCH_ALL;
		and->match_not = !and->match_not;
		return;
	}
	if (has_index)
		new_phrase(backend, pool, orig, array_count(&words.all) == 1, &list);
	else {
		arg = new_arg(pool, orig->type, &list);
		arg->hdr_field_name = orig->hdr_field_name;
		arg->value.str = orig->value.str;
		arg->no_fts = TRUE;
	}
	array_sort(&words.all, longer_first);
	array_foreach_elem(&words.all, word) {
		/* Too many messages contain a word of one letter. */
		if (count == PHRASE_WORDS_MAX || (count > 0 && word[1] == '\0'))
			break;
		if (last != NULL && strcmp(word, last) == 0)
			continue;
		last = word;
		arg = new_arg(pool, has_index ? orig->type : SEARCH_TEXT, &list);
		arg->hdr_field_name = has_index ? orig->hdr_field_name : NULL;
		arg->value.str = word;
		arg->value.search_flags = (enum mail_search_arg_flag)OUR_WORD;
		arg->fuzzy = orig->fuzzy;
		count++;
	}
	and->value.subargs = list;
}

static void cut_all(struct fts_backend *backend, pool_t pool, struct mail_search_arg **argp)
{
	for (; *argp != NULL; argp = &(*argp)->next) {
		switch ((*argp)->type) {
		case SEARCH_OR:
		case SEARCH_SUB:
		case SEARCH_INTHREAD:
			cut_all(backend, pool, &(*argp)->value.subargs);
			break;
		case SEARCH_HEADER:
		case SEARCH_HEADER_ADDRESS:
		case SEARCH_HEADER_COMPRESS_LWSP:
		case SEARCH_BODY:
		case SEARCH_TEXT:
			/* A header field without text: the condition is that the field exists. */
			if ((*argp)->value.str[0] != '\0' && !(*argp)->no_fts) T_BEGIN {
				cut(backend, pool, argp);
			} T_END;
			break;
		default:
			break;
		}
	}
}

/* The search ------------------------------------------------------------------------------------- */

typedef void phrase_callback_t(struct mail_search_arg *arg, void *context);

static void for_each_of_ours(struct mail_search_arg *args, phrase_callback_t *callback, void *context)
{
	for (; args != NULL; args = args->next) {
		if (args->type == SEARCH_OR || args->type == SEARCH_SUB || args->type == SEARCH_INTHREAD)
			for_each_of_ours(args->value.subargs, callback, context);
		else if ((args->value.search_flags & (OUR_PHRASE | OUR_WORD)) != 0)
			callback(args, context);
	}
}

static void note_one(struct mail_search_arg *arg ATTR_UNUSED, void *context)
{
	bool *is_there = context;

	*is_there = TRUE;
}

static void make_phrase(struct mail_search_arg *arg, void *context ATTR_UNUSED)
{
	if (arg->type == SEARCH_PHRASE_FOR_NOW)
		arg->type = SEARCH_PHRASE;
}

static void note_answer(struct mail_search_arg *arg, void *context)
{
	bool *is_answered = context;

	if (arg->type != SEARCH_PHRASE && (arg->match_always || arg->nonmatch_always))
		*is_answered = TRUE;
}

/* Decide what can be decided without reading messages. */
static void decide(struct mail_search_arg *arg, void *context)
{
	const bool *is_answered = context;

	if (arg->result != -1)
		return;
	if (arg->type != SEARCH_PHRASE)
		ARG_SET_RESULT(arg, 1); /* not in the index: the phrase decides */
	else if (*is_answered && phrase_of(arg)->is_one_word)
		ARG_SET_RESULT(arg, 1);
}

struct mail_being_searched {
	struct mail_search_context *ctx;
	struct mail *mail;
};

static void decide_by_reading(struct mail_search_arg *arg, void *context)
{
	struct mail_being_searched *searched = context;

	if (arg->type == SEARCH_PHRASE && arg->result == -1) T_BEGIN {
		bool found = phrase_is_in_mail(phrase_of(arg), searched->ctx, searched->mail);

		ARG_SET_RESULT(arg, found ? 1 : 0);
	} T_END;
}

static MODULE_CONTEXT_DEFINE_INIT(phrases_module, &mail_storage_module_register);
#define PHRASES_CONTEXT(obj) MODULE_CONTEXT_REQUIRE(obj, phrases_module)

static struct mail_search_context *
phrases_search_init(struct mailbox_transaction_context *t, struct mail_search_args *args,
		    const enum mail_sort_type *sort_program, enum mail_fetch_field wanted_fields,
		    struct mailbox_header_lookup_ctx *wanted_headers)
{
	union mailbox_module_context *ours = PHRASES_CONTEXT(t->box);
	struct fts_backend *backend = fts_list_backend(t->box->list);
	struct mail_search_arg *orig = args->args;
	bool is_cut = args->fts_expanded;

	/* Conditions within INTHREAD are passed here again. */
	for_each_of_ours(orig, note_one, &is_cut);
	if (!is_cut && backend != NULL) {
		args->args = mail_search_arg_dup(args->pool, orig);
		cut_all(backend, args->pool, &args->args);
		mail_search_args_simplify(args);
		for_each_of_ours(args->args, make_phrase, NULL);
		mail_search_arg_init(args, args->args);
		mail_search_arg_deinit(orig);
	}
	/* So that Dovecot does not do it. */
	args->fts_expanded = TRUE;
	return ours->super.search_init(t, args, sort_program, wanted_fields, wanted_headers);
}

static int phrases_search_next_match_mail(struct mail_search_context *ctx, struct mail *mail)
{
	union mailbox_module_context *ours = PHRASES_CONTEXT(ctx->transaction->box);
	struct mail_being_searched searched = { ctx, mail };
	struct index_mail *imail = INDEX_MAIL(mail);
	bool is_answered = FALSE;
	int ret;

	for_each_of_ours(ctx->args->args, note_answer, &is_answered);
	for_each_of_ours(ctx->args->args, decide, &is_answered);
	ret = ours->super.search_next_match_mail(ctx, mail);
	if (ret <= 0 || imail->data.search_results == NULL)
		return ret;
	/* All other conditions match, so the message has to be read. */
	mail_search_args_result_deserialize(ctx->args, imail->data.search_results->data,
					    imail->data.search_results->used);
	buffer_free(&imail->data.search_results);
	for_each_of_ours(ctx->args->args, decide_by_reading, &searched);
	return ours->super.search_next_match_mail(ctx, mail);
}

static void mailbox_allocated(struct mailbox *box)
{
	struct mailbox_vfuncs *v = box->vlast;
	union mailbox_module_context *ours;

	if (fts_list_backend(box->list) == NULL)
		return;
	ours = p_new(box->pool, union mailbox_module_context, 1);
	ours->super = *v;
	box->vlast = &ours->super;
	v->search_init = phrases_search_init;
	v->search_next_match_mail = phrases_search_next_match_mail;
	MODULE_CONTEXT_SET_SELF(box, phrases_module, ours);
}

static struct mail_storage_hooks hooks = { .mailbox_allocated = mailbox_allocated };

void search_phrases_plugin_init(struct module *module)
{
	search_mails_init();
	lang_filter_register(&search_words_filter);
	lang_tokenizer_register(&search_words_tokenizer);
	mail_storage_hooks_add(module, &hooks);
}

void search_phrases_plugin_deinit(void)
{
	mail_storage_hooks_remove(&hooks);
	lang_tokenizer_unregister(&search_words_tokenizer);
	/* Filters cannot be unregistered one by one; their list ends with the plugin on which this one depends. */
	search_mails_deinit();
}
