/* The words of mails and of queries, as the search index has them (search-words.c). */
#ifndef SEARCH_WORDS_H
#define SEARCH_WORDS_H

#include "lib.h"
#include "mail-search.h"

struct fts_backend;
struct lang_filter;
struct lang_tokenizer;
struct mail;
struct mail_search_context;

/* In dovecot.conf: language_tokenizers = words email-address, language_filters = words */
extern const struct lang_tokenizer search_words_tokenizer;
extern const struct lang_filter search_words_filter;

enum words_form {
	/* Each word, and for scripts without blanks the characters from each place on: 2, of some scripts 3, or as
	   many as are left. */
	WORDS_OF_MAIL,
	/* The same without what is shorter only because it stands near the end: each is the beginning of one of
	   a mail's that contains the query. */
	WORDS_OF_QUERY,
	/* Each word, and each character of scripts without blanks. */
	WORDS_ONE_BY_ONE
};

/* `is_first`: the first one of its token. */
typedef int words_piece_t(void *context, const unsigned char *data, size_t size, bool is_first);

struct words_splitter {
	enum words_form form;
	words_piece_t *piece;
	void *context;

	/* What the last token ended with, and the last characters of its last run. */
	int kind;
	char tail[16];
};

/* Split a token of search_words_tokenizer that has been through the filters. Returns what `piece` returns, as soon
   as that is below 0. */
int words_split(struct words_splitter *splitter, const char *token);

bool words_are_ascii(const char *text);

/* Split a text of a query, or of one header field (search-mails.c). */
void words_split_text(struct fts_backend *backend, struct lang_tokenizer *tokenizer, struct words_splitter *splitter,
		      const char *text);
/* The language whose filters make words comparable. */
struct language_user *search_language(struct fts_backend *backend);

struct phrase {
	enum mail_search_arg_type type;
	const char *field; /* of SEARCH_HEADER* */
	/* Its words as in phrase_word(), the first without \1, and for each octet how many octets before it are also
	   the first ones (Knuth, Morris and Pratt). */
	buffer_t *words;
	unsigned int *borders;
	/* What the index finds needs no second look. */
	bool is_one_word;
};

/* A words_piece_t that appends to a buffer_t: before the first word of a token \1, before each a blank. */
words_piece_t phrase_word;
/* Read a mail, or one of its header fields. When it cannot be read, the search fails, or lacks an expunged mail. */
bool phrase_is_in_mail(const struct phrase *phrase, struct mail_search_context *ctx, struct mail *mail);

/* Take part in indexing, from here on. */
void search_mails_init(void);
void search_mails_deinit(void);

#endif
