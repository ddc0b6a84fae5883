/* Reports a program's requests and metrics to musterd: docs/ledger.md as one C11 header, no library but libm.
 *
 * One thread at a time may use an agent: a program with threads holds a lock of its own around the
 * calls. Counting is a few stores to memory, no system call but the clock's (vDSO) and nothing that
 * fails. What the daemon needs is done by musterd_poll, which a program calls now and then (once a
 * second); it waits for an answer at most MUSTERD_WAIT_MS, and until the daemon is there, the counts
 * wait in memory of the program's own. A forked child must call musterd_init on an agent of its own.
 * It uses one ledger: series that find no room there are counted as refused. Little-endian Linux.
 */
#ifndef MUSTERD_H
#define MUSTERD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* for seals; so this header comes first */
#endif

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the words of a ledger are little-endian"
#endif

#ifndef MUSTERD_WAIT_MS
#define MUSTERD_WAIT_MS 1000
#endif

enum { MUSTERD_COUNTER = 1, MUSTERD_GAUGE = 2, MUSTERD_HISTOGRAM = 3, MUSTERD_FRACTIONS = 4 };

/* Offsets of the header's words, and what there is room for. */
enum {
    MUSTERD_RETIRED = 64,
    MUSTERD_RECORDS_END = 128,
    MUSTERD_HEARTBEAT = 136,
    MUSTERD_CLOSED = 144,
    MUSTERD_UNSLOTTED_BEGUN = 152,
    MUSTERD_UNSLOTTED_ENDED = 160,
    MUSTERD_RECORDS_REFUSED = 168,
    MUSTERD_JOURNAL_COUNT = 496,
    MUSTERD_SLOTS = 512,
    MUSTERD_SLOT_COUNT = 128,
    MUSTERD_RECORDS = 1536,
    MUSTERD_PRIVATE_SIZE = 256 << 10,
};

/* A label of a series. */
struct musterd_label { const char *name, *value; };

/* The buckets of a histogram: exponential ones of a Prometheus schema, and classic upper bounds. */
struct musterd_shape {
    int32_t schema, first;
    uint32_t native_count, classic_count;
    double zero_threshold;
    const double *bounds; /* must outlive the series */
};

/* What all series of one name have in common. `help` and `unit` may be NULL; `shape` is for histograms. */
struct musterd_metric {
    int kind;
    const char *name, *help, *unit;
    const struct musterd_shape *shape;
};

/* Where a series has its values; `values` is 0 for one that found no room, and counts nowhere. */
struct musterd_series { uint32_t values; const struct musterd_shape *shape; };

/* A request in flight. `slot` is its offset, or 0 for one that found none. */
struct musterd_request { uint64_t begun, ledger; uint32_t slot; };

/* An agent. Its fields are for the functions below. */
struct musterd {
    unsigned char *memory;
    size_t size;
    int connection, file; /* -1: not there */
    uint64_t ledger;      /* how many have been closed by the daemon */
    char hello[512];
    struct sockaddr_un socket;
};

static const double musterd_duration_bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                                 2.5,   5,    10,    30,   60,  120,  300};
/* The usual shape of `agent_request_duration_seconds`. */
static const struct musterd_shape musterd_durations = {3, -159, 272, 15, 0x1p-20, musterd_duration_bounds};

static inline uint64_t *musterd_word(const struct musterd *m, uint32_t offset) {
    return (uint64_t *)(m->memory + offset);
}

static inline void musterd_store(struct musterd *m, uint32_t offset, uint64_t value) {
    __atomic_store_n(musterd_word(m, offset), value, __ATOMIC_RELEASE);
}

static inline uint64_t musterd_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* An update: what is added to it counts wholly or not at all, once it is committed. */
struct musterd_update { int count; uint32_t offset[16]; uint64_t value[16]; };

static inline void musterd_set(struct musterd_update *u, uint32_t offset, uint64_t value) {
    if (u->count < 16) {
        u->offset[u->count] = offset;
        u->value[u->count++] = value;
    }
}

static inline void musterd_commit(struct musterd *m, const struct musterd_update *u) {
    for (int i = 0; i < u->count; i++) {
        musterd_store(m, 496 - 16 * (i + 1), u->offset[i]);
        musterd_store(m, 496 - 16 * (i + 1) + 8, u->value[i]);
    }
    musterd_store(m, MUSTERD_JOURNAL_COUNT, (uint64_t)u->count);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (int i = 0; i < u->count; i++) musterd_store(m, u->offset[i], u->value[i]);
    musterd_store(m, MUSTERD_JOURNAL_COUNT, 0);
}

/* Adds to a counter, as part of an update. A series may stand in an update once. */
static inline void musterd_add(struct musterd *m, struct musterd_series s, uint64_t count, struct musterd_update *u) {
    if (s.values) musterd_set(u, s.values, *musterd_word(m, s.values) + count);
}

/* Sets a gauge: one store. */
static inline void musterd_gauge(struct musterd *m, struct musterd_series s, double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    if (s.values) musterd_store(m, s.values, bits);
}

/* Adds an observation to a histogram, as part of an update. What is below 0, infinite or not a number counts
 * nowhere. */
static inline void musterd_observe(struct musterd *m, struct musterd_series s, double value, struct musterd_update *u) {
    if (!s.values || !isfinite(value) || value < 0) return;
    uint32_t native = 1, classic = 0;
    if (value > s.shape->zero_threshold && s.shape->native_count) {
        double index = ceil(log2(value) * exp2(s.shape->schema)) - s.shape->first;
        if (index >= s.shape->native_count) index = s.shape->native_count - 1;
        if (index >= 0) native = 2 + (uint32_t)index;
    }
    while (classic < s.shape->classic_count && value > s.shape->bounds[classic]) classic++;
    double sum;
    memcpy(&sum, musterd_word(m, s.values), 8);
    sum += value;
    uint64_t bits;
    memcpy(&bits, &sum, 8);
    musterd_set(u, s.values, bits);
    const uint32_t offsets[] = {s.values + 8 * native, s.values + 8 * (2 + s.shape->native_count + classic)};
    for (int i = 0; i < 2; i++) musterd_set(u, offsets[i], *musterd_word(m, offsets[i]) + 1);
}

/* Makes a series: once for each name and labels, then to be kept. Its `values` is 0 when something is
 * too long or the ledger is full. */
static inline struct musterd_series musterd_series(struct musterd *m, const struct musterd_metric *metric,
                                                   const struct musterd_label *labels, int label_count) {
    const struct musterd_shape *shape = metric->shape;
    const char *name = metric->name, *help = metric->help ? metric->help : "", *unit = metric->unit ? metric->unit : "";
    size_t name_length = strlen(name), help_length = strlen(help), unit_length = strlen(unit), words = 1, bounds = 0;
    if (shape) {
        bounds = shape->classic_count;
        words = 2 + shape->native_count + bounds + 1;
    }
    size_t at = 40 + 8 * bounds, strings = name_length + help_length + unit_length;
    int fits = name_length >= 1 && name_length <= 128 && help_length <= 256 && unit_length <= 32 && label_count <= 8 &&
               bounds <= 64 && words <= 2 + 4096 + 65;
    for (int i = 0; i < label_count; i++) {
        size_t key = strlen(labels[i].name), value = strlen(labels[i].value);
        fits = fits && key <= 64 && value <= 256;
        strings += 4 + key + value;
    }
    size_t values = (at + strings + 7) & ~(size_t)7, size = values + 8 * words;
    uint64_t start = *musterd_word(m, MUSTERD_RECORDS_END);
    if (!fits || size > m->size - start) {
        musterd_store(m, MUSTERD_RECORDS_REFUSED, *musterd_word(m, MUSTERD_RECORDS_REFUSED) + 1);
        return (struct musterd_series){0, shape};
    }
    unsigned char *record = m->memory + start;
    memset(record, 0, size);
#define MUSTERD_PUT(type, offset, what)                                                                               \
    do {                                                                                                              \
        type put_ = (type)(what);                                                                                     \
        memcpy(record + (offset), &put_, sizeof put_);                                                                \
    } while (0)
    MUSTERD_PUT(uint32_t, 0, size);
    MUSTERD_PUT(uint8_t, 4, metric->kind);
    MUSTERD_PUT(uint8_t, 5, label_count);
    MUSTERD_PUT(uint16_t, 6, name_length);
    MUSTERD_PUT(uint16_t, 8, help_length);
    MUSTERD_PUT(uint16_t, 10, unit_length);
    MUSTERD_PUT(uint32_t, 12, values);
    if (shape) {
        MUSTERD_PUT(int32_t, 16, shape->schema);
        MUSTERD_PUT(int32_t, 20, shape->first);
        MUSTERD_PUT(uint32_t, 24, shape->native_count);
        MUSTERD_PUT(uint32_t, 28, bounds);
        MUSTERD_PUT(double, 32, shape->zero_threshold);
        memcpy(record + 40, shape->bounds, 8 * bounds);
    }
    memcpy(record + at, name, name_length);
    at += name_length;
    for (int i = 0; i < label_count; i++) {
        size_t key = strlen(labels[i].name), value = strlen(labels[i].value);
        MUSTERD_PUT(uint16_t, at, key);
        MUSTERD_PUT(uint16_t, at + 2, value);
        memcpy(record + at + 4, labels[i].name, key);
        memcpy(record + at + 4 + key, labels[i].value, value);
        at += 4 + key + value;
    }
    memcpy(record + at, help, help_length);
    memcpy(record + at + help_length, unit, unit_length);
#undef MUSTERD_PUT
    musterd_store(m, MUSTERD_RECORDS_END, start + size);
    return (struct musterd_series){(uint32_t)(start + values), shape};
}

/* Shows life. */
static inline void musterd_heartbeat(struct musterd *m) { musterd_store(m, MUSTERD_HEARTBEAT, musterd_now()); }

/* Begins a request: in a free slot, which is given back by its end. */
static inline struct musterd_request musterd_begin(struct musterd *m) {
    struct musterd_request request = {musterd_now(), m->ledger, 0};
    for (uint32_t slot = MUSTERD_SLOTS; slot < MUSTERD_RECORDS && !request.slot; slot += 8)
        if (*musterd_word(m, slot) == 0) request.slot = slot;
    if (request.slot)
        musterd_store(m, request.slot, request.begun);
    else
        musterd_store(m, MUSTERD_UNSLOTTED_BEGUN, *musterd_word(m, MUSTERD_UNSLOTTED_BEGUN) + 1);
    musterd_store(m, MUSTERD_HEARTBEAT, request.begun);
    return request;
}

/* Ends a request: one more in the counter `status`, its duration in `duration`, and, unless `error`
 * is NULL, one more in that counter of errors. */
static inline void musterd_end(struct musterd *m, struct musterd_request request, struct musterd_series status,
                               struct musterd_series duration, const struct musterd_series *error) {
    if (request.ledger != m->ledger) return; /* the daemon has counted it as aborted */
    uint64_t now = musterd_now();
    struct musterd_update update = {0};
    if (request.slot)
        musterd_set(&update, request.slot, 0);
    else
        musterd_set(&update, MUSTERD_UNSLOTTED_ENDED, *musterd_word(m, MUSTERD_UNSLOTTED_ENDED) + 1);
    musterd_add(m, status, 1, &update);
    musterd_observe(m, duration, (double)(now - request.begun) * 1e-9, &update);
    if (error) musterd_add(m, *error, 1, &update);
    musterd_commit(m, &update);
    musterd_store(m, MUSTERD_HEARTBEAT, now);
}

/* Copies `bytes` from one offset of the old memory to the same of the new. */
static inline void musterd_copy(const struct musterd *m, unsigned char *to, uint32_t offset, size_t bytes) {
    memcpy(to + offset, m->memory + offset, bytes);
}

/* Goes on in the ledger `file`: with all counts if they have been in memory of our own, from zero if
 * the daemon has closed the books on an earlier ledger. 0, or -1 for a ledger that is not sound. */
static inline int musterd_adopt(struct musterd *m, int file) {
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW;
    struct stat about;
    uint64_t end = *musterd_word(m, MUSTERD_RECORDS_END);
    if ((fcntl(file, F_GET_SEALS) & seals) != seals || fstat(file, &about) < 0 || (uint64_t)about.st_size < end) return -1;
    size_t size = (size_t)about.st_size;
    unsigned char *to = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (to == MAP_FAILED) return -1;
    musterd_copy(m, to, MUSTERD_RECORDS, end - MUSTERD_RECORDS);
    if (m->file < 0) {
        musterd_copy(m, to, MUSTERD_SLOTS, MUSTERD_RECORDS - MUSTERD_SLOTS);
        musterd_copy(m, to, MUSTERD_HEARTBEAT, 8);
        musterd_copy(m, to, MUSTERD_UNSLOTTED_BEGUN, 24);
    } else {
        uint32_t words[4]; /* size, kinds, lengths, values_offset */
        for (uint64_t at = MUSTERD_RECORDS; at < end; at += words[0]) {
            memcpy(words, to + at, sizeof words);
            memset(to + at + words[3], 0, words[0] - words[3]);
        }
        m->ledger++;
        close(m->file);
    }
    munmap(m->memory, m->size);
    m->memory = to;
    m->size = size;
    m->file = file;
    musterd_store(m, MUSTERD_RECORDS_END, end);
    return 0;
}

/* Sends the hello, with the ledger if there is one, and takes the answer. 0, or -1. */
static inline int musterd_greet(struct musterd *m, int connection) {
    union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr head; } control = {{0}};
    struct iovec text = {m->hello, strlen(m->hello)};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1};
    if (m->file >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.head = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), &m->file, sizeof(int));
    }
    if (sendmsg(connection, &message, MSG_NOSIGNAL) != (ssize_t)text.iov_len) return -1;

    char answer[4097] = "";
    size_t length = 0;
    int file = -1;
    uint64_t deadline = musterd_now() + MUSTERD_WAIT_MS * 1000000ull, now;
    while (!strchr(answer, '\n') && length < sizeof answer - 1 && (now = musterd_now()) < deadline) {
        struct pollfd readable = {connection, POLLIN, 0};
        if (poll(&readable, 1, (int)((deadline - now) / 1000000) + 1) <= 0) continue;
        text = (struct iovec){answer + length, sizeof answer - 1 - length};
        message = (struct msghdr){.msg_iov = &text, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        ssize_t got = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
        if (got <= 0) break;
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        if (head && head->cmsg_type == SCM_RIGHTS && file < 0) memcpy(&file, CMSG_DATA(head), sizeof file);
        length += (size_t)got;
        answer[length] = 0;
    }
    char *kept = answer; /* JSON may have blanks between its words; within texts they do not matter here */
    for (char *from = answer; *from; from++)
        if (*from != ' ' && *from != '\t') *kept++ = *from;
    *kept = 0;
    int done = -1;
    if (strchr(answer, '\n') && strstr(answer, "\"ok\":true")) {
        if (strstr(answer, "\"ledger\":\"resumed\"") && m->file >= 0)
            done = 0;
        else if (file >= 0 && (done = musterd_adopt(m, file)) == 0)
            file = -1;
    }
    if (file >= 0) close(file);
    return done;
}

/* Connects, or connects again, if that is needed. To be called now and then: 1 while the daemon is there. */
static inline int musterd_poll(struct musterd *m) {
    char byte;
    if (m->connection >= 0) {
        if (recv(m->connection, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EINTR)) return 1;
        close(m->connection); /* nothing is ever sent here: this is its end */
        m->connection = -1;
    }
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection < 0) return 0;
    if (connect(connection, (struct sockaddr *)&m->socket, sizeof m->socket) < 0 || musterd_greet(m, connection) < 0) {
        close(connection);
        return 0;
    }
    m->connection = connection;
    return 1;
}

/* Begins to report as `agent`; NULL: as `MUSTERD_AGENT` says. `socket` NULL: as `MUSTERD_SOCKET` says.
 * Counts before the first musterd_poll that finds the daemon are kept. 0, or -1 with errno. */
static inline int musterd_init(struct musterd *m, const char *agent, const char *socket) {
    *m = (struct musterd){.connection = -1, .file = -1, .size = MUSTERD_PRIVATE_SIZE, .socket = {.sun_family = AF_UNIX}};
    if (!agent) agent = getenv("MUSTERD_AGENT");
    if (!socket) socket = getenv("MUSTERD_SOCKET");
    if (!socket) socket = "/run/musterd/agent.sock";
    const char *allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    if (!agent || !*agent || strlen(agent) > 64 || agent[strspn(agent, allowed)] ||
        strlen(socket) >= sizeof m->socket.sun_path) {
        errno = EINVAL;
        return -1;
    }
    strcpy(m->socket.sun_path, socket);
    snprintf(m->hello, sizeof m->hello, "{\"musterd\":1,\"agent\":\"%s\",\"client\":\"c 0.1\"}\n", agent);
    m->memory = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->memory == MAP_FAILED) return -1;
    musterd_store(m, MUSTERD_RECORDS_END, MUSTERD_RECORDS);
    return 0;
}

/* Ends on purpose. The agent may not be used afterwards. */
static inline void musterd_close(struct musterd *m) {
    musterd_store(m, MUSTERD_CLOSED, 1);
    if (m->connection >= 0) close(m->connection);
    if (m->file >= 0) close(m->file);
    munmap(m->memory, m->size);
}

#endif
