/* Split text into words for the search index, including scripts that are written without spaces.
 *
 * Dovecot's tokenizer takes everything between two spaces or punctuation marks as one word and indexes its first 30
 * octets. In Chinese, Japanese or Thai that is the beginning of a sentence. Here
 * - search_words_tokenizer wraps Dovecot's: it removes invisible characters within words and line breaks within
 *   runs of such scripts, and returns a long run in pieces of about 512 octets, marking each but the first with \1;
 * - search_words_filter is Dovecot's normalizer-icu, which makes characters comparable, but skips it for ASCII;
 * - words_split splits such tokens into words and overlapping groups of characters.
 *
 * All input may be hostile. RUN_MAX limits memory.
 *
 * Tests: tests/service/test_search_words.py
 */
#include "search-words.h"
#include "buffer.h"
#include "str.h"
#include "unichar.h"
#include "lang-filter-private.h"
#include "lang-tokenizer-private.h"
#include "lang-tokenizer-generic-private.h"

#include <ctype.h>

#define RUN_MAX 512
#define TOKEN_MAX 1024 /* never reached */
#define WORD_MAX 30 /* octets, as Dovecot's default */
#define CONTINUES '\1'

enum kind {
	BREAK,
	/* words are separated by spaces */
	LETTER,
	/* indexed in groups of two; a line break may stand within a word */
	PAIR,
	/* as PAIR, but with spaces between words */
	HANGUL,
	/* an alphabet of few characters, so indexed in groups of three */
	TRIPLE
};

/* Characters outside these ranges are LETTERs; kind_of() handles ASCII. From the blocks of Unicode 16. */
static const struct {
	unichar_t first, last;
	enum kind kind;
} kinds[] = {
	{ 0x0e00, 0x0fff, TRIPLE }, /* Thai, Lao, Tibetan */
	{ 0x1000, 0x109f, TRIPLE }, /* Myanmar */
	{ 0x1100, 0x11ff, HANGUL },
	{ 0x1780, 0x17ff, TRIPLE }, /* Khmer */
	{ 0x1950, 0x19df, TRIPLE }, /* Tai Le, New Tai Lue */
	{ 0x1a20, 0x1aaf, TRIPLE }, /* Tai Tham */
	{ 0x1b00, 0x1b7f, TRIPLE }, /* Balinese */
	{ 0x2e80, 0x2fff, PAIR }, /* radicals */
	{ 0x3000, 0x3004, BREAK },
	{ 0x3005, 0x3007, PAIR },
	{ 0x3008, 0x3020, BREAK },
	{ 0x3021, 0x302f, PAIR },
	{ 0x3030, 0x3030, BREAK },
	{ 0x3031, 0x30fa, PAIR }, /* Hiragana, Katakana */
	{ 0x30fb, 0x30fb, BREAK },
	{ 0x30fc, 0x312f, PAIR }, /* ..., Bopomofo */
	{ 0x3130, 0x318f, HANGUL },
	{ 0x3190, 0x4dbf, PAIR },
	{ 0x4e00, 0xa4cf, PAIR }, /* Han, Yi */
	{ 0xa960, 0xa97f, HANGUL },
	{ 0xa980, 0xa9ff, TRIPLE }, /* Javanese, Myanmar */
	{ 0xaa60, 0xaadf, TRIPLE }, /* Myanmar, Tai Viet */
	{ 0xac00, 0xd7ff, HANGUL },
	{ 0xf900, 0xfaff, PAIR }, /* Han */
	{ 0xff65, 0xff9f, PAIR }, /* Katakana, before the filters */
	{ 0xffa0, 0xffdf, HANGUL },
	{ 0x11700, 0x1174f, TRIPLE }, /* Ahom */
	{ 0x16fe0, 0x18dff, PAIR }, /* Tangut, Khitan, Nüshu */
	{ 0x1aff0, 0x1b2ff, PAIR },
	{ 0x20000, 0x3ffff, PAIR } /* Han */
};

static enum kind kind_of(unichar_t chr)
{
	if (chr < 0x80)
		return i_isalnum(chr) || chr == '\'' || chr == '_' ? LETTER : BREAK;
	for (unsigned int i = 0; i < N_ELEMENTS(kinds) && chr >= kinds[i].first; i++) {
		if (chr <= kinds[i].last)
			return kinds[i].kind;
	}
	return LETTER;
}

/* Splitting -------------------------------------------------------------------------------------- */

/* Return the size in octets of the first `count` characters of one kind, or of as many as there are. */
static size_t group_size(const char *text, enum kind kind, unsigned int count)
{
	size_t size = 0;
	unichar_t chr;
	int len;

	for (; count > 0 && (len = uni_utf8_get_char(text + size, &chr)) > 0 && text[size] != '\0' &&
	       kind_of(chr) == kind; count--)
		size += len;
	return size;
}

/* Keep the end of a text for the next piece, which may continue it. */
static void keep_tail(struct words_splitter *splitter, const char *text, const char *end)
{
	const char *begin = end;

	for (unsigned int count = splitter->kind == TRIPLE ? 2 : 1; count > 0 && begin > text; count--)
		do begin--; while (begin > text && !UTF8_IS_START_SEQ((unsigned char)*begin));
	if (splitter->form == WORDS_ONE_BY_ONE || splitter->kind <= LETTER ||
	    (size_t)(end - begin) >= sizeof(splitter->tail))
		begin = end;
	memcpy(splitter->tail, begin, end - begin);
	splitter->tail[end - begin] = '\0';
}

static int split(struct words_splitter *splitter, const char *text, bool is_first)
{
	const char *at = text, *run = text;
	bool in_word = !is_first && splitter->kind == LETTER;
	enum kind last = splitter->kind;

	while (*at != '\0') {
		unichar_t chr;
		int len = uni_utf8_get_char(at, &chr);
		enum kind kind = len <= 0 ? BREAK : kind_of(chr);
		size_t size;

		if (kind != last || kind == BREAK)
			run = at;
		if (kind != LETTER)
			in_word = FALSE;
		last = kind;
		if (kind == BREAK) {
			is_first = TRUE;
			at += len <= 0 ? 1 : len;
			continue;
		}
		if (kind == LETTER) {
			size = group_size(at, kind, UINT_MAX);
			len = size;
			if (size > WORD_MAX)
				size = uni_utf8_data_truncate((const unsigned char *)at, size, WORD_MAX);
			/* Ignore the rest of a long word. */
			if (in_word)
				size = 0;
			in_word = FALSE;
		} else if (splitter->form == WORDS_ONE_BY_ONE) {
			size = len;
		} else {
			unsigned int whole = kind == TRIPLE ? 3 : 2;

			size = group_size(at, kind, whole);
			if (splitter->form == WORDS_OF_QUERY && at > run && group_size(at, kind, whole - 1) == size)
				size = 0;
		}
		if (size > 0) {
			int ret = splitter->piece(splitter->context, (const unsigned char *)at, size, is_first);

			if (ret < 0)
				return ret;
			is_first = FALSE;
		}
		at += len;
	}
	splitter->kind = last;
	keep_tail(splitter, run, at);
	return 0;
}

int words_split(struct words_splitter *splitter, const char *token)
{
	bool is_first = *token != CONTINUES;
	int ret;

	if (is_first) {
		splitter->kind = BREAK;
		splitter->tail[0] = '\0';
	} else
		token++;
	T_BEGIN {
		if (splitter->tail[0] != '\0')
			token = t_strconcat(splitter->tail, token, NULL);
		ret = split(splitter, token, is_first);
	} T_END;
	return ret;
}

/* The filter ------------------------------------------------------------------------------------- */

bool words_are_ascii(const char *text)
{
	while (*text != '\0' && (unsigned char)*text < 0x80)
		text++;
	return *text == '\0';
}

static int words_filter(struct lang_filter *filter, const char **token, const char **error_r)
{
	if (!words_are_ascii(*token))
		return lang_filter_normalizer_icu->v.filter(filter, token, error_r);
	*token = t_str_lcase(*token);
	return 1;
}

static int
words_filter_create(const struct lang_settings *set, struct event *event, struct lang_filter **filter_r,
		    const char **error_r)
{
	if (lang_filter_normalizer_icu->v.create(set, event, filter_r, error_r) < 0)
		return -1;
	(*filter_r)->v.filter = words_filter;
	return 0;
}

const struct lang_filter search_words_filter = {
	.class_name = "words",
	.v = { words_filter_create, words_filter, NULL }
};

/* The tokenizer ---------------------------------------------------------------------------------- */

struct words_tokenizer {
	struct lang_tokenizer tokenizer;
	struct generic_lang_tokenizer *generic;
	/* The last character is of a script that allows line breaks within words. */
	bool may_join:1;
	/* A line break after it, \r or \n, is held back. */
	bool held_cr:1, held_lf:1;
	/* A piece was returned and it is not known whether it continues; or the next piece continues it. */
	bool was_cut:1, continues:1;
};

static int
words_create(const struct lang_settings *set, struct event *event, enum lang_tokenizer_flags flags,
	     struct lang_tokenizer **tokenizer_r, const char **error_r)
{
	struct words_tokenizer *tok;
	struct lang_tokenizer *generic;

	if (lang_tokenizer_generic->v->create(set, event, flags, &generic, error_r) < 0)
		return -1;
	tok = i_new(struct words_tokenizer, 1);
	tok->tokenizer = search_words_tokenizer;
	tok->generic = container_of(generic, struct generic_lang_tokenizer, tokenizer);
	tok->generic->max_length = TOKEN_MAX;
	*tokenizer_r = &tok->tokenizer;
	return 0;
}

static void words_destroy(struct lang_tokenizer *_tok)
{
	struct words_tokenizer *tok = container_of(_tok, struct words_tokenizer, tokenizer);

	tok->generic->tokenizer.v->destroy(&tok->generic->tokenizer);
	i_free(tok);
}

static void words_reset(struct lang_tokenizer *_tok)
{
	struct words_tokenizer *tok = container_of(_tok, struct words_tokenizer, tokenizer);

	tok->generic->tokenizer.v->reset(&tok->generic->tokenizer);
	tok->may_join = tok->held_cr = tok->held_lf = tok->was_cut = tok->continues = FALSE;
}

/* Pass a part of the text to Dovecot's tokenizer; size 0 ends the text. */
static int
feed(struct words_tokenizer *tok, const unsigned char *data, size_t size, size_t *used_r, const char **token_r,
     const char **error_r)
{
	int ret = tok->generic->tokenizer.v->next(&tok->generic->tokenizer, data, size, used_r, token_r, error_r);

	if (ret > 0 && tok->continues) {
		const char mark[] = { CONTINUES, '\0' };

		*token_r = t_strconcat(mark, *token_r, NULL);
		tok->continues = FALSE;
	}
	return ret;
}

/* Return whether a character is removed: soft hyphen, zero width space and joiner, word joiner, byte order mark. */
static bool is_invisible(unichar_t chr)
{
	return chr == 0xad || chr == 0x200b || chr == 0x200d || chr == 0x2060 || chr == 0xfeff;
}

/* Return the octets to pass to Dovecot's tokenizer next; 0 if one character of *skip_r octets was handled here. */
static size_t next_part(struct words_tokenizer *tok, const unsigned char *data, size_t size, size_t *skip_r)
{
	size_t at = 0, run = tok->generic->token->used;

	while (at < size && run < RUN_MAX) {
		unichar_t chr;
		int len = uni_utf8_get_char_n(data + at, size - at, &chr);
		enum kind kind;

		*skip_r = len <= 0 ? 1 : len;
		if (len <= 0 || is_invisible(chr))
			return at;
		if (tok->may_join && !tok->held_lf && (chr == '\n' || (chr == '\r' && !tok->held_cr))) {
			if (at == 0) {
				tok->held_cr = TRUE;
				tok->held_lf = chr == '\n';
			}
			return at;
		}
		kind = kind_of(chr);
		tok->may_join = kind == PAIR || kind == TRIPLE;
		run = kind == BREAK ? 0 : run + len;
		at += len;
		if (tok->was_cut)
			break;
	}
	return at;
}

static int
words_next(struct lang_tokenizer *_tok, const unsigned char *data, size_t size, size_t *skip_r,
	   const char **token_r, const char **error_r)
{
	struct words_tokenizer *tok = container_of(_tok, struct words_tokenizer, tokenizer);
	size_t at = 0, used, part;
	int ret = 0;

	if (size == 0) {
		tok->may_join = tok->held_cr = tok->held_lf = tok->was_cut = FALSE;
		ret = feed(tok, NULL, 0, skip_r, token_r, error_r);
		tok->continues = FALSE;
		return ret;
	}
	while (at < size && ret == 0) {
		if (tok->held_cr) {
			unichar_t chr;
			int len = uni_utf8_get_char_n(data + at, size - at, &chr);
			enum kind kind = len <= 0 ? BREAK : kind_of(chr);

			if (tok->held_lf ? kind != PAIR && kind != TRIPLE : chr != '\n') {
				/* The line break ends the word. */
				tok->may_join = tok->held_cr = tok->held_lf = tok->was_cut = FALSE;
				ret = feed(tok, (const unsigned char *)" ", 1, &used, token_r, error_r);
				continue;
			}
			if (tok->held_lf)
				tok->held_cr = tok->held_lf = FALSE;
		}
		part = next_part(tok, data + at, size - at, &used);
		if (part == 0) {
			at += used;
			continue;
		}
		ret = feed(tok, data + at, part, &used, token_r, error_r);
		at += used;
		if (used < part)
			tok->may_join = FALSE;
		if (tok->was_cut) {
			/* One character was passed: find out whether it continues the word. */
			tok->continues = tok->generic->token->used > 0;
			tok->was_cut = FALSE;
		}
		if (ret == 0 && tok->generic->token->used >= RUN_MAX) {
			ret = feed(tok, NULL, 0, &used, token_r, error_r);
			tok->was_cut = TRUE;
		}
	}
	*skip_r = at;
	return ret;
}

static const struct lang_tokenizer_vfuncs words_vfuncs = {
	words_create,
	words_destroy,
	words_reset,
	words_next
};

const struct lang_tokenizer search_words_tokenizer = {
	.name = "words",
	.v = &words_vfuncs
};
