/*
 * board.h - the packets of one capture, put up where all workers see them.
 *
 * Why      Workers that share a capture each have to know of every packet, but one is enough to
 * read it, and to say whose it is (share.h). It works for what can be read once only, too. Owns
 * Batches of packets. Borrows the capture, which nobody else may use from the first board_take on.
 * A batch is borrowed by each worker from board_take to board_done. Threads  Each worker one;
 * whoever finds nothing new reads, if nobody else does. Bounds   BOARD_BATCHES of BOARD_PACKETS:
 * who is that far ahead of the slowest worker waits for it. Where a capture takes its bytes back
 * (pipes, compressed files), the packets of a batch are copied, CAPTURE_PACKET_MAX bytes of them at
 * most.
 *
 * Every worker gets every batch, in order.
 */
#pragma once

#include "common/time.h"
#include "sensor/capture.h"
#include "sensor/counter.h"
#include "sensor/share.h"

#define BOARD_PACKETS 256
#define BOARD_BATCHES 32

/* A packet, its place in the batch, and the latest time of all packets of the input up to it. */
struct board_packet {
    struct packet packet;
    uint64_t clock_ns;
    uint16_t at;
};

/*
 * Sorted by owner, so that a worker touches none of the others' packets: those of worker w are
 * from[w] up to from[w + 1]; those that have to be decoded to know, the last ones, are for all.
 */
struct board_batch {
    uint64_t first; /* place in the input of the first one */
    size_t n;
    enum capture_state fault; /* a file among several was damaged, and this is what is left of it */
    struct err what;
    uint32_t backwards; /* of them, older than the clock by more than BOARD_BACKWARDS_NS */
    uint16_t from[WORKERS_MAX + 2];
    struct board_packet packet[BOARD_PACKETS];
    uint64_t clock_ns[BOARD_PACKETS]; /* the same once more, as they came */
};

#define BOARD_BACKWARDS_NS WIND_NS_PER_S /* disorder below this is ordinary */

struct board;

struct board_conf {
    struct capture *capture;
    unsigned shares; /* among so many workers are packets shared out */
    unsigned places; /* so many of them look at this board: all, or one that has it for itself */
    uint64_t first;  /* place in the input of the first packet that the capture gives */
    size_t at_once;  /* most packets of a batch; 0 = BOARD_PACKETS */
};

WIND_MUST_USE int board_new(struct board **ret_board, const struct board_conf *conf, struct err *e);
struct board *board_free(struct board *b);
WIND_DEFINE_FREE(board)

/* The next batch for this place; or NULL: nothing came within wait_ms or so, or it has ended. */
const struct board_batch *board_take(struct board *b, unsigned place, int wait_ms);

/* Whose place it is has seen all of the batch that it took. */
void board_done(struct board *b, unsigned place);

/* No batch will come any more for this place. */
bool board_ended(const struct board *b, unsigned place);
