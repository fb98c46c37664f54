/* Split messages and queries into the words of the search index (search-words.c). */
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
	/* Each word and, in scripts without spaces, the 2 characters (3 in some scripts) from each position on, or as
	   many as are left. */
	WORDS_OF_MAIL,
	/* The same without the shorter groups at the end of a run, whose continuation in a message is unknown. */
	WORDS_OF_QUERY,
	/* Each word, and each character of scripts without spaces. */
	WORDS_ONE_BY_ONE
};

/* `is_first`: whether it is the first piece of its token. */
typedef int words_piece_t(void *context, const unsigned char *data, size_t size, bool is_first);

struct words_splitter {
	enum words_form form;
	words_piece_t *piece;
	void *context;

	/* The kind of the last token's end, and the last characters of its last run. */
	int kind;
	char tail[16];
};

/* Split a filtered token of search_words_tokenizer. Stops when `piece` returns less than 0, and returns that. */
int words_split(struct words_splitter *splitter, const char *token);

bool words_are_ascii(const char *text);

/* Split the text of a query or of one header field (search-mails.c). */
void words_split_text(struct fts_backend *backend, struct lang_tokenizer *tokenizer, struct words_splitter *splitter,
		      const char *text);
/* The language whose filters make words comparable. */
struct language_user *search_language(struct fts_backend *backend);

struct phrase {
	enum mail_search_arg_type type;
	const char *field; /* of SEARCH_HEADER* */
	/* Its words as in phrase_word(), the first without \1, and the failure table of Knuth, Morris and Pratt: for
	   each octet the length of the longest border that ends before it. */
	buffer_t *words;
	unsigned int *borders;
	/* The index alone decides; messages need not be read. */
	bool is_one_word;
};

/* A words_piece_t that appends to a buffer_t: \1 before the first word of a token, a space before each word. */
words_piece_t phrase_word;
/* Read a message, or one of its header fields, and return whether it contains the phrase. If it cannot be read, the
   search fails; an expunged message does not match. */
bool phrase_is_in_mail(const struct phrase *phrase, struct mail_search_context *ctx, struct mail *mail);

/* Replace the indexing functions of flatcurve. */
void search_mails_init(void);
void search_mails_deinit(void);

#endif
