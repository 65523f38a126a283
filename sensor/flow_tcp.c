#include "sensor/flow_tcp.h"

#define BELIEVED (INT32_C(1) << 30)

/*
 * Upper case: of the opener. Each is said once a side:
 *     s SYN   h SYN-ACK   a ACK alone   d data   f FIN   r RST
 *     t bytes that passed before   g bytes that never did   w the window is shut
 *     i FIN and RST at once   q SYN with FIN or RST   ^ the opener was guessed
 */
enum letter {
    LETTER_S,
    LETTER_H,
    LETTER_A,
    LETTER_D,
    LETTER_F,
    LETTER_R,
    LETTER_T,
    LETTER_G,
    LETTER_W,
    LETTER_I,
    LETTER_Q
};

static void put(struct flow_tcp *t, char c)
{
    if (t->n_history < sizeof(t->history))
        t->history[t->n_history++] = c;
}

static inline void say(struct flow_tcp *t, enum letter which, unsigned dir)
{
    static const char name[2][12] = {"SHADFRTGWIQ", "shadfrtgwiq"};
    const uint16_t bit = (uint16_t)(1u << which);

    if (WIND_LIKELY((t->letters[dir] & bit) != 0))
        return;
    t->letters[dir] |= bit;
    put(t, name[dir][which]);
}

void flow_tcp_turned(struct flow_tcp *t)
{
    put(t, '^');
}

static void say_flags(struct flow_tcp *t, const struct packet_view *v, unsigned dir)
{
    const uint8_t flags = v->tcp_flags;
    const bool has_syn = flags & TCP_SYN, has_fin = flags & TCP_FIN, has_rst = flags & TCP_RST;

    if (has_syn + has_fin + has_rst > 1)
        say(t, has_syn ? LETTER_Q : LETTER_I, dir);
    else if (has_syn)
        say(t, flags & TCP_ACK ? LETTER_H : LETTER_S, dir);
    if (v->payload_wire_len > 0)
        say(t, LETTER_D, dir);
    else if ((flags & TCP_ACK) && has_syn + has_fin + has_rst == 0)
        say(t, LETTER_A, dir);
    if (has_syn + has_fin + has_rst == 1 && !has_syn)
        say(t, has_fin ? LETTER_F : LETTER_R, dir);
    if (has_rst && t->reset_by == 0)
        t->reset_by = (uint8_t)(1 + dir);
    if (v->tcp_window == 0 && !has_rst)
        say(t, LETTER_W, dir);
}

static inline void add(uint32_t *to, uint32_t n)
{
    *to = UINT32_MAX - *to < n ? UINT32_MAX : *to + n;
}

static void miss(struct flow_tcp *t, unsigned dir, uint32_t n)
{
    add(&t->missed[dir], n);
    say(t, LETTER_G, dir);
}

/* Late bytes that fill the hole, or a part of it. Returns whether they do. */
static bool fill_hole(struct flow_tcp *t, unsigned dir, uint32_t seq, uint32_t len)
{
    const int64_t from = (int32_t)(seq - t->hole[dir]), size = t->hole_len[dir];
    const int64_t end = from + len; /* the hole may be far behind */

    if (size == 0 || from >= size || end <= 0)
        return false;
    const int64_t filled = (end < size ? end : size) - (from > 0 ? from : 0);
    if (from <= 0)
        t->hole[dir] += (uint32_t)filled; /* in the middle: what is left counts, not where */
    t->hole_len[dir] -= (uint32_t)filled;
    return true;
}

/* `len` counts SYN and FIN, which take a number each. */
static void follow(struct flow_tcp *t, const struct packet_view *v, unsigned dir, uint32_t len)
{
    const uint32_t end = v->tcp_seq + len;
    const int32_t ahead = (int32_t)(v->tcp_seq - t->next[dir]);

    if (ahead == 0) {
        t->next[dir] = end;
    } else if (ahead > 0 && ahead < BELIEVED) {
        if (t->hole_len[dir] > 0)
            miss(t, dir, t->hole_len[dir]);
        t->hole[dir] = t->next[dir];
        t->hole_len[dir] = (uint32_t)ahead;
        t->next[dir] = end;
    } else if (ahead < 0 && ahead > -BELIEVED) {
        /* A keep-alive sends the last byte once more, to ask. */
        const bool is_probe = ahead == -1 && len == 1 && v->payload_wire_len == 1;

        if (!fill_hole(t, dir, v->tcp_seq, len) && !is_probe) {
            add(&t->again[dir], 1);
            say(t, LETTER_T, dir);
        }
        if ((int32_t)(end - t->next[dir]) > 0)
            t->next[dir] = end;
    }
}

/* What `dir` acknowledges has come to it, whether it passed here or not. */
static void acknowledge(struct flow_tcp *t, const struct packet_view *v, unsigned dir)
{
    const unsigned other = !dir;
    const int32_t ahead = (int32_t)(v->tcp_ack - t->next[other]);

    if (ahead > 0 && ahead < BELIEVED) {
        miss(t, other, (uint32_t)ahead);
        t->next[other] = v->tcp_ack;
    }
    if (WIND_UNLIKELY(t->hole_len[other] > 0) &&
        (int32_t)(v->tcp_ack - t->hole[other] - t->hole_len[other]) >= 0) {
        miss(t, other, t->hole_len[other]);
        t->hole_len[other] = 0;
    }
}

void flow_tcp_packet(struct flow_tcp *t, const struct packet_view *v, unsigned dir)
{
    const uint8_t flags = v->tcp_flags;
    const uint32_t len = v->payload_wire_len + ((flags & TCP_SYN) != 0) + ((flags & TCP_FIN) != 0);

    say_flags(t, v, dir);
    if (flags & TCP_RST) /* its numbers mean little */
        return;
    if ((t->seen >> dir & 1) == 0) {
        t->seen |= (uint8_t)(1u << dir);
        t->next[dir] = v->tcp_seq + len;
    } else if (len > 0) {
        follow(t, v, dir, len);
    }
    if ((flags & TCP_ACK) && (t->seen >> !dir & 1))
        acknowledge(t, v, dir);
}

enum conn_state flow_tcp_state(const struct flow_tcp *t, const uint8_t flags[2], bool has_answer)
{
    const bool opened = t->letters[0] >> LETTER_S & 1, answered = t->letters[1] >> LETTER_H & 1;
    const bool fin[2] = {flags[0] & TCP_FIN, flags[1] & TCP_FIN};

    if (!opened) {
        if (answered && t->reset_by == 2)
            return CONN_RSTRH;
        return answered && fin[1] && !fin[0] ? CONN_SHR : CONN_OTH;
    }
    if (!has_answer)
        return t->reset_by == 1 ? CONN_RSTOS0 : fin[0] ? CONN_SH : CONN_S0;
    if (!answered)
        return t->reset_by == 2 ? CONN_REJ : CONN_OTH;
    if (fin[0] && fin[1])
        return CONN_SF;
    if (t->reset_by != 0)
        return t->reset_by == 1 ? CONN_RSTO : CONN_RSTR;
    return fin[0] ? CONN_S2 : fin[1] ? CONN_S3 : CONN_S1;
}
