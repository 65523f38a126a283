#include "common/time.h"

#include <errno.h>
#include <stdbool.h>
#include <time.h>

#include "common/digits.h"

#define DAY_S UINT64_C(86400)

/* Days are counted from 1 March of year 0: leap days then come last (Howard Hinnant's method). */
#define DAYS_TO_1970 719468U
#define DAYS_PER_ERA 146097U /* 400 years */

static char *put_date(char *to, uint32_t days)
{
    const uint32_t z = days + DAYS_TO_1970;
    const uint32_t era = z / DAYS_PER_ERA;
    const uint32_t doe = z - era * DAYS_PER_ERA;
    const uint32_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const uint32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const uint32_t mp = (5 * doy + 2) / 153;
    const uint32_t day = doy - (153 * mp + 2) / 5 + 1;
    const uint32_t month = mp < 10 ? mp + 3 : mp - 9;
    const uint32_t year = yoe + era * 400 + (month <= 2);

    to = digits_2(to, year / 100);
    to = digits_2(to, year % 100);
    *to++ = '-';
    to = digits_2(to, month);
    *to++ = '-';
    return digits_2(to, day);
}

/* "2026-01-02T03:04:05.678901" */
static char *put_time(char *to, uint64_t ns)
{
    const uint64_t s = ns / WIND_NS_PER_S;
    const uint32_t us = (uint32_t)(ns % WIND_NS_PER_S / WIND_NS_PER_US);
    const uint32_t second = (uint32_t)(s % DAY_S);

    to = put_date(to, (uint32_t)(s / DAY_S));
    *to++ = 'T';
    to = digits_2(to, second / 3600);
    *to++ = ':';
    to = digits_2(to, second / 60 % 60);
    *to++ = ':';
    to = digits_2(to, second % 60);
    *to++ = '.';
    to = digits_2(to, us / 10000);
    to = digits_2(to, us / 100 % 100);
    return digits_2(to, us % 100);
}

size_t time_eve(uint64_t ns, char ret_text[TIME_TEXT])
{
    char *end = put_time(ret_text, ns);

    memcpy(end, "+0000", 6);
    return (size_t)(end - ret_text) + 5;
}

size_t time_rfc3339(uint64_t ns, char ret_text[TIME_TEXT])
{
    char *end = put_time(ret_text, ns);

    memcpy(end, "Z", 2);
    return (size_t)(end - ret_text) + 1;
}

/* Exactly n digits; NULL (and stays NULL) if there are not. */
static const char *take_digits(const char *s, int n, uint32_t *ret_v)
{
    uint32_t v = 0;

    for (int i = 0; s != NULL && i < n; i++) {
        if (*s < '0' || *s > '9')
            return NULL;
        v = v * 10 + (uint32_t)(*s++ - '0');
    }
    *ret_v = v;
    return s;
}

static const char *take_char(const char *s, const char *one_of)
{
    return s != NULL && *s != '\0' && strchr(one_of, *s) != NULL ? s + 1 : NULL;
}

static const char *take_fraction(const char *s, uint32_t *ret_ns)
{
    uint32_t ns = 0, unit = 100000000;

    if (*s < '0' || *s > '9')
        return NULL;
    for (; *s >= '0' && *s <= '9'; s++, unit /= 10)
        ns += (uint32_t)(*s - '0') * unit;
    *ret_ns = ns;
    return s;
}

/* "Z", "+01:00" or "+0100", in seconds east */
static const char *take_offset(const char *s, int64_t *ret_s)
{
    uint32_t hours, minutes;
    const bool west = *s == '-';

    if (*s == 'Z' || *s == 'z') {
        *ret_s = 0;
        return s + 1;
    }
    s = take_char(s, "+-");
    s = take_digits(s, 2, &hours);
    if (s != NULL && *s == ':')
        s++;
    s = take_digits(s, 2, &minutes);
    if (s == NULL || hours > 23 || minutes > 59)
        return NULL;
    *ret_s = (int64_t)(hours * 3600 + minutes * 60) * (west ? -1 : 1);
    return s;
}

static uint32_t days_in_month(uint32_t year, uint32_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && leap ? 29 : days[month - 1];
}

static int64_t days_since_1970(uint32_t year, uint32_t month, uint32_t day)
{
    const uint32_t y = year - (month <= 2);
    const uint32_t era = y / 400, yoe = y % 400;
    const uint32_t doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    const uint32_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

    return (int64_t)era * DAYS_PER_ERA + doe - DAYS_TO_1970;
}

int time_parse_rfc3339(const char *s, uint64_t *ret_ns)
{
    uint32_t year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, fraction = 0;
    int64_t offset = 0;

    s = take_char(take_digits(s, 4, &year), "-");
    s = take_char(take_digits(s, 2, &month), "-");
    s = take_char(take_digits(s, 2, &day), "Tt ");
    s = take_char(take_digits(s, 2, &hour), ":");
    s = take_char(take_digits(s, 2, &minute), ":");
    s = take_digits(s, 2, &second);
    if (s != NULL && *s == '.')
        s = take_fraction(s + 1, &fraction);
    if (s != NULL)
        s = take_offset(s, &offset);
    if (s == NULL || *s != '\0')
        return -EINVAL;
    if (year < 1969 || year > 2554 || month < 1 || month > 12 || day < 1 ||
        day > days_in_month(year, month) || hour > 23 || minute > 59 || second > 60)
        return -EINVAL; /* 60: a leap second */

    const int64_t t = days_since_1970(year, month, day) * (int64_t)DAY_S +
                      (int64_t)(hour * 3600 + minute * 60 + second) - offset;
    if (t < 0 || (uint64_t)t > UINT64_MAX / WIND_NS_PER_S - 1)
        return -EINVAL;
    *ret_ns = (uint64_t)t * WIND_NS_PER_S + fraction;
    return 0;
}

static uint64_t clock_ns(clockid_t which)
{
    struct timespec t;

    WIND_CHECK(clock_gettime(which, &t) == 0);
    return (uint64_t)t.tv_sec * WIND_NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t time_wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

uint64_t time_mono_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}
