/*
 * record.h - what travels through the rings: the layout that worker, analysis and uplink share.
 *
 * Why      A record is made once, in shared memory, and every stage works on it in place.
 * Owns     Nothing: plain data. The ring owns the bytes (common/ring.h).
 * Threads  A record belongs to the stage whose cursor stands on it, and to no other.
 * Bounds   Every text is a NUL-terminated array; a reader in another process checks `len`,
 *          `kind`, `version` and every count before it believes them, and copies the header first.
 *
 * Addresses are 16 bytes, big endian, IPv4 mapped (::ffff:a.b.c.d). Ports are host order.
 * Times are nanoseconds since 1970, packet time.
 */
#pragma once

#include <stdint.h>

#define RECORD_VERSION 5

enum record_kind {
    RECORD_PAD,         /* skips to the start of the ring; never handed to a stage */
    RECORD_FLOW_OPENED, /* once a flow: its opening was answered, refused, or silent for a second */
    RECORD_FLOW_UPDATE, /* so far: after the first packets, and at every active time-out */
    RECORD_FLOW_ENDED,  /* the one that becomes the flow's line in eve.json */
    RECORD_ALERT,       /* alert ring only */
    RECORD_ANOMALY,     /* of a packet: made in the flow ring, copied into the alert ring */
    RECORD_NAMED,       /* flow ring only: DNS has just told which addresses a name has */
    RECORD_KINDS
};

struct record_header {
    uint32_t len; /* whole record, a multiple of RING_ALIGN */
    uint16_t kind, version;
    uint64_t time_ns; /* packet-time clock when it was made */
    uint64_t order;   /* flow rings: the packet's place in the input; live the same as time_ns */
    /*
     * The order in which the analysis took the records of all flow rings: in a flow ring, how many
     * came before this one (the analysis writes it); in the alert ring, how many must be written
     * out before this one. So the merged order of all rings is the same in every run.
     */
    uint64_t after;
};

/* How the first packet of a flow fared. */
enum flow_opening { OPENING_PENDING, OPENING_ANSWERED, OPENING_REFUSED, OPENING_SILENT };

/* TCP: as far as handshake and end were seen. Others: new, then established on an answer. */
enum flow_state { FLOW_NEW, FLOW_ESTABLISHED, FLOW_CLOSED, FLOW_RESET, FLOW_STATES };

/* Why a flow ended: each ended flow is counted under exactly one of these. */
enum flow_end {
    FLOW_END_CLOSED,  /* FIN both ways, or RST */
    FLOW_END_IDLE,    /* silent for flow.idle */
    FLOW_END_EVICTED, /* the table was full */
    FLOW_END_FLUSHED, /* the input ended, or the sensor stopped */
    FLOW_ENDS
};

/*
 * How a connection stands, by the names that Zeek gave: S0 nobody answered, S1 established, SF
 * closed by both, REJ refused, S2 and S3 closed by the opener or the other side alone, RSTO and
 * RSTR reset by them, RSTOS0 opened and reset without an answer, RSTRH answered and reset without
 * an opening, SH and SHR opened and closed, or answered and closed, by one side that is all we see;
 * OTH the opening did not pass here. UDP: S0, SF (both have sent) or SHR.
 */
enum conn_state {
    CONN_OTH,
    CONN_S0,
    CONN_S1,
    CONN_SF,
    CONN_REJ,
    CONN_S2,
    CONN_S3,
    CONN_RSTO,
    CONN_RSTR,
    CONN_RSTOS0,
    CONN_RSTRH,
    CONN_SH,
    CONN_SHR,
    CONN_STATES
};

struct flow_key {
    uint8_t src[16], dst[16]; /* src sent the first packet, or the SYN */
    uint16_t sport, dport;    /* ICMP: type, code */
    uint16_t vlan;            /* outermost, 0 = none */
    uint8_t proto;            /* IP protocol number */
    uint8_t ip_version;       /* 4 or 6 */
};

#define FLOW_ID_SHIFT         48
#define RECORD_FEATURES_MAX   64 /* room in the mask */
#define RECORD_APP_MAX        32
#define RECORD_NAME_MAX       96
#define RECORD_INTERFACES_MAX 16
#define RECORD_HISTORY_MAX    16

struct flow_record {
    struct record_header header;
    struct flow_key key;
    uint64_t flow_id; /* below 2^53: worker << FLOW_ID_SHIFT | sequence, from 1 */
    uint64_t start_ns, end_ns;
    uint64_t pkts[2], bytes[2]; /* [0] to server (from src), [1] to client; bytes = IP length */
    uint8_t tcp_flags[2];       /* all flags seen, per direction */
    uint8_t state;              /* enum flow_state */
    uint8_t opening;            /* enum flow_opening */
    uint8_t end;                /* enum flow_end, RECORD_FLOW_ENDED only */
    uint8_t alerted;            /* evidence of an alert that was open when it ended */
    uint16_t n_features;        /* entries of feature[] */
    uint64_t missing;           /* bit i: feature i could not be known */
    uint64_t dpi_risk;          /* nDPI risk bits */
    float score;                /* 0..1, highest of its scorings */
    float p_value;              /* of that scoring; 1 if never scored */
    uint8_t analysis_level;     /* enum analysis_level */
    uint8_t dpi_guessed;        /* application guessed from the port, not seen */
    uint8_t interface;          /* live: which one of several it was seen on first */
    uint8_t conn_state;         /* enum conn_state */
    uint8_t dpi_confidence;     /* dpi_confidence_name; 0 = nDPI has not looked, or doesn't know */
    uint8_t names;              /* FLOW_NAME_*: which of the two names below are set */
    uint16_t facts_len;         /* bytes of facts behind the features; RECORD_FLOW_ENDED only */
    uint32_t missed[2];         /* TCP: bytes of each side that were acknowledged unseen */
    uint32_t again[2];          /* TCP: packets with bytes that had passed before */
    char history[RECORD_HISTORY_MAX];  /* flow_tcp.c; without a NUL when it is full */
    char app[RECORD_APP_MAX];          /* nDPI name in lower case, "" = unknown */
    char category[RECORD_APP_MAX];     /* nDPI category */
    char server_name[RECORD_NAME_MAX]; /* SNI, HTTP host or DNS question, "" = none */
    char dst_name[RECORD_NAME_MAX];    /* what DNS said before whom the addresses belong to */
    char src_name[RECORD_NAME_MAX];
    float feature[]; /* n_features, order of features.def; behind them facts_len bytes of facts */
};

enum { FLOW_NAME_DST = 1, FLOW_NAME_SRC = 2 };

/*
 * What was said on a flow: struct record_fact and `len` bytes, one behind the other, not aligned.
 * Numbers are of this machine. Texts have no NUL, and may hold any byte.
 */
struct record_fact {
    uint16_t type, len; /* enum record_fact_type */
};

#define RECORD_FACTS_MAX 4096

enum record_fact_type {
    FACT_NONE,              /* withdrawn */
    FACT_CUT,               /* nothing: there was more than there was room for */
    FACT_NAME,              /* text: the server's name as nDPI found it */
    FACT_TLS_NAME,          /* text: SNI */
    FACT_TLS_JA4,           /* text */
    FACT_TLS_ALPN,          /* length, name, length, name, ...: what the client offers */
    FACT_TLS_VERSIONS,      /* uint16_t each: likewise */
    FACT_TLS_CHOICE,        /* uint16_t version, cipher: the server's */
    FACT_TLS_CHOSEN_ALPN,   /* length, name */
    FACT_TLS_JA3,           /* text */
    FACT_TLS_JA3S,          /* text */
    FACT_TLS_ISSUER,        /* text */
    FACT_TLS_SUBJECT,       /* text */
    FACT_TLS_VALIDITY,      /* uint32_t from, to: seconds since 1970 */
    FACT_TLS_FINGERPRINT,   /* 20 bytes: SHA-1 of the certificate */
    FACT_HTTP_METHOD,       /* text */
    FACT_HTTP_URL,          /* text */
    FACT_HTTP_USER_AGENT,   /* text */
    FACT_HTTP_CONTENT_TYPE, /* text: of the answer */
    FACT_HTTP_STATUS,       /* uint16_t */
    FACT_DNS,               /* struct fact_dns and its items */
    FACT_TYPES
};

/* A DNS message; n_items times struct fact_dns_item, name and data follow. */
struct fact_dns {
    uint16_t id, flags, rcode;
    uint8_t n_items;
    uint8_t is_cut; /* it had more */
};

struct fact_dns_item {
    uint32_t ttl;
    uint16_t type, data_len; /* of A and AAAA the address, 16 bytes; of others a text */
    uint8_t section;         /* enum dns_section */
    uint8_t name_len;        /* 0: that of the first item */
    uint8_t reserved[2];
};

/* The addresses that a name has just been said to have. */
struct named_record {
    struct record_header header;
    uint8_t client[16]; /* who asked; all zero: nobody in particular (mDNS) */
    uint32_t n_addresses;
    char name[RECORD_NAME_MAX]; /* lower case */
    struct named_address {
        uint8_t address[16];
        uint32_t ttl; /* seconds */
    } address[];
};

#define NAMED_ADDRESSES_MAX 32

enum analysis_level { ANALYSIS_COUNTERS, ANALYSIS_DETECTORS, ANALYSIS_FULL };

enum severity { SEVERITY_LOW = 1, SEVERITY_MEDIUM, SEVERITY_HIGH, SEVERITY_CRITICAL };

/* One reason of an alert, in words and numbers. */
struct alert_reason {
    char name[32];  /* feature or measure, e.g. "distinct_ports" */
    char unit[16];  /* "count", "ms", "bytes", "ratio", ... */
    char text[160]; /* the sentence people read */
    float value;
    float normal, normal_sd; /* this host's own history; meaningless when normal_n is 0 */
    uint32_t normal_n;       /* how many flows or windows that history has */
    float contribution;      /* share of the score, 0..1 */
};

struct alert_entity {
    char kind[8];  /* "host", "domain", "user" */
    char role[12]; /* "attacker", "victim", "related" */
    char value[RECORD_NAME_MAX];
};

#define ALERT_REASONS_MAX  8
#define ALERT_ENTITIES_MAX 8
#define ALERT_EVIDENCE_MAX 8

/* The same uid with a higher rev replaces the earlier one. */
struct alert_record {
    struct record_header header;
    uint8_t uid[16]; /* UUIDv7 */
    uint32_t rev;    /* 1, 2, ... */
    uint32_t signature_id;
    uint64_t flow_id; /* the flow that tipped it; key is its key */
    struct flow_key key;
    uint64_t first_ns, last_ns; /* of the evidence */
    uint64_t count;             /* pieces of evidence so far */
    float score, p_value;       /* p_value < 0: the detector has none */
    uint8_t severity, analysis_level;
    uint8_t n_reasons, n_entities, n_evidence;
    uint8_t interface; /* of its flow */
    uint8_t names;     /* FLOW_NAME_*, as in its flow */
    uint8_t reserved;
    char detector[32];   /* port_scan, brute_force, beacon, anomaly */
    char signature[192]; /* one sentence: who did what to whom */
    char category[48];
    char technique_id[12], technique[48], tactic[32]; /* ATT&CK: T1046 and its names */
    char model[48];  /* "name version", "" = a detector without a model */
    char schema[32]; /* feature schema of that model */
    char app[RECORD_APP_MAX], server_name[RECORD_NAME_MAX];    /* of its flow */
    char dst_name[RECORD_NAME_MAX], src_name[RECORD_NAME_MAX]; /* likewise */
    struct alert_entity entity[ALERT_ENTITIES_MAX];            /* entity[0] is whom it is about */
    struct alert_reason reason[ALERT_REASONS_MAX];             /* the weightiest first */
    struct flow_key evidence[ALERT_EVIDENCE_MAX];              /* flows behind it, the newest */
};

/* Something odd in the input itself: a truncated file, time running backwards, ... */
struct anomaly_record {
    struct record_header header;
    char type[16];  /* "capture", "decode" */
    char event[32]; /* "file_truncated", "time_backwards", ... */
    char text[160];
    struct flow_key key; /* ip_version 0: no packet */
    uint8_t interface;   /* of the packet */
    uint8_t reserved[7];
};
