// The C interface of src/lib.rs. No function keeps a pointer that it was given
// or lets a panic through. A tokenizer is safe for several threads.
#include <stddef.h>
#include <stdint.h>

typedef struct ct_tokenizer ct_tokenizer;

// The version of Cargo.toml, ended by a zero.
const char *ct_version(void);

// ct_new makes a tokenizer of a tokenizer.json, to be given to ct_free. On
// failure it returns NULL, and says why in message: UTF-8, cut to message_cap
// bytes, *message_len of them written.
ct_tokenizer *ct_new(const char *json, size_t len, char *message, size_t message_cap, size_t *message_len);
void ct_free(ct_tokenizer *);

// One more than the highest id.
int64_t ct_size(const ct_tokenizer *);

// The id of a token by its name, or -1.
int64_t ct_id(const ct_tokenizer *, const char *token, size_t len);

// ct_encode tokenizes a text in UTF-8 and returns how many ids it has, special
// tokens included, or -1 if it failed. Those ids that are left when the text
// between the special tokens is cut, so that they are at most max (0: uncut),
// go to ids, but only if there is room for all of them.
int64_t ct_encode(const ct_tokenizer *, const char *text, size_t len, size_t max, int64_t *ids, size_t cap);
