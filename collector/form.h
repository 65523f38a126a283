/*
 * form.h - an application/x-www-form-urlencoded body as an object of texts.
 *
 * Why      OAuth2 logs in with a form; it then passes the same schema check as JSON does.
 * Owns     Nothing; the object is the caller's.
 * Threads  Any.
 * Bounds   FORM_FIELDS_MAX fields; a field twice, a NUL or bad UTF-8 is refused.
 */
#pragma once

#include <jansson.h>

#include "common/err.h"

#define FORM_FIELDS_MAX 16

/* -EINVAL with a sentence, or -ENOMEM. *ret_object is a new reference. */
WIND_MUST_USE int form_parse(const char *p, size_t n, json_t **ret_object, struct err *e);
