/* An agent in C, for tests/c_client.rs: reports until a file says stop, and keeps count of its own.
 *
 *     agent NAME SOCKET TALLY STOP
 *
 * Every third request is an error. TALLY holds how many requests it is about to begin, has begun and
 * has ended.
 */
#include "musterd.h"

static void busy(uint64_t nanoseconds) {
    uint64_t begun = musterd_now();
    while (musterd_now() - begun < nanoseconds) {
    }
}

int main(int count, char **arguments) {
    struct musterd agent;
    if (count != 5 || musterd_init(&agent, arguments[1], arguments[2]) < 0) return 2;
    int file = open(arguments[3], O_RDWR);
    volatile uint64_t *tally = mmap(NULL, 24, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (tally == MAP_FAILED) return 3;

    const struct musterd_metric requests_total = {.kind = MUSTERD_COUNTER, .name = "agent_requests_total"};
    const struct musterd_metric errors_total = {.kind = MUSTERD_COUNTER, .name = "agent_errors_total"};
    const struct musterd_metric duration_seconds = {
        .kind = MUSTERD_HISTOGRAM, .name = "agent_request_duration_seconds", .shape = &musterd_durations};
    const struct musterd_metric rounds_total = {
        .kind = MUSTERD_COUNTER, .name = "in_c_rounds_total", .help = "Requests by how they are numbered."};
    const struct musterd_label success = {"status", "success"}, error = {"status", "error"}, third = {"category", "third"};
    const struct musterd_label odd = {"number", "odd"};
    struct musterd_series successes = musterd_series(&agent, &requests_total, &success, 1);
    struct musterd_series errors = musterd_series(&agent, &requests_total, &error, 1);
    struct musterd_series thirds = musterd_series(&agent, &errors_total, &third, 1);
    struct musterd_series durations = musterd_series(&agent, &duration_seconds, NULL, 0);
    struct musterd_series odds = musterd_series(&agent, &rounds_total, &odd, 1);

    for (uint64_t number = 1; access(arguments[4], F_OK) < 0; number++) {
        tally[0] = number;
        struct musterd_request request = musterd_begin(&agent);
        tally[1] = number;
        busy(50000);
        if (number % 3 == 0)
            musterd_end(&agent, request, errors, durations, &thirds);
        else
            musterd_end(&agent, request, successes, durations, NULL);
        tally[2] = number;
        if (number % 2) {
            struct musterd_update update = {0};
            musterd_add(&agent, odds, 1, &update);
            musterd_commit(&agent, &update);
        }
        if (number % 16 == 0) {
            musterd_poll(&agent);
            usleep(1000);
        }
    }
    while (!musterd_poll(&agent)) usleep(1000);
    musterd_close(&agent);
    return 0;
}
