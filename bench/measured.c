/*
 * See measured.h. The load generator calls this once, at its end; run.py and the tests of the bench read it.
 */
#include "measured.h"

#include <inttypes.h>

void measured_print(const struct measured *measured, const struct exchange_rules *rules)
{
    const struct tally *tally = &rules->tally;
    double seconds = (double)measured->nanoseconds / BENCH_SECOND;
    double answered = measured->answered > 0 ? (double)measured->answered : 1;
    printf("{\"sent\": %" PRIu64 ", \"answered\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"wrong\": %" PRIu64
           ", \"failed\": %" PRIu64 ", \"unexpected\": %" PRIu64 ", \"closed\": %" PRIu64 ", ",
           tally->sent, tally->answered, tally->lost, tally->wrong, tally->failed, tally->unexpected,
           measured->closed);
    printf("\"filled\": %" PRIu64 ", \"asked\": %" PRIu64 ", \"from_set\": %" PRIu64 ", ", measured->filled,
           measured->asked, measured->from_set);
    printf("\"begun\": %.6f, ", (double)rules->begun / BENCH_SECOND);
    printf("\"qps\": %.1f, \"cpu_us\": %.3f, ", seconds > 0 ? (double)measured->answered / seconds : 0,
           (double)measured->processor_time / 1e3 / answered);
    printf("\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
           (double)histogram_quantile(&tally->latency, 0.5) / 1e3,
           (double)histogram_quantile(&tally->latency, 0.99) / 1e3, (double)tally->latency.most / 1e3);
}
