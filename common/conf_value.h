/*
 * conf_value.h - one setting's value: from text, and to YAML. Inside of conf.c and conf_yaml.c.
 *
 * Threads  Any: there is no state.
 */
#pragma once

#include "common/conf.h"

/* Set the key's field. Fails as conf_set does, with a sentence that names the key. */
WIND_MUST_USE int conf_value_set(const struct conf_key *k, void *out, const char *value,
                                 struct err *e);

/* Add one item to a list that is being built. */
WIND_MUST_USE int conf_list_add(const struct conf_key *k, struct conf_list *list, const char *item,
                                size_t len, struct err *e);

/* The value as YAML. */
void conf_value_print(const struct conf_key *k, const void *conf, FILE *to);

/* " (1024..100000000)", " (yes or no)", or nothing. */
void conf_range_print(const struct conf_key *k, FILE *to);

/* The key of that name, or NULL. */
const struct conf_key *conf_find(const struct conf_key *keys, const char *name);

/* Like err_set, returns the code: -ENOENT with "unknown setting 'flow.maxx', did you mean
 * 'flow.max'?" */
int conf_unknown(const struct conf_key *keys, const char *name, struct err *e);
