/*
 * search_dsl.h - the printer of a search in the query language of Elasticsearch and OpenSearch.
 *
 * Why      The same tree as filter_query.c prints, so that both answer the same.
 * Owns     Nothing.
 * Threads  Any.
 */
#pragma once

#include <jansson.h>

#include "collector/filter_tree.h"

/* The body of a _search for one page and one row more; new reference, NULL: no memory. */
json_t *search_dsl(const struct filter *f);
