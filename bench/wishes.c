/*
 * The options of the load generator and what holds without them; see wishes.h.
 */
#include "wishes.h"

#include "common.h"

void wishes_read(struct wishes *wishes, int argc, char **argv)
{
    *wishes = (struct wishes){.protocol = "udp",
                              .server = "127.0.0.1",
                              .authorities = "",
                              .name = "dot.example",
                              .run = "run",
                              .port = 5300,
                              .sockets = 4,
                              .outstanding = 100,
                              .seconds = 1,
                              .timeout = 2};
    const struct bench_option options[] = {{.name = "port", .number = &wishes->port},
                                           {.name = "protocol", .text = &wishes->protocol},
                                           {.name = "server", .text = &wishes->server},
                                           {.name = "authorities", .text = &wishes->authorities},
                                           {.name = "name", .text = &wishes->name},
                                           {.name = "sockets", .number = &wishes->sockets},
                                           {.name = "outstanding", .number = &wishes->outstanding},
                                           {.name = "rate", .number = &wishes->rate},
                                           {.name = "burst", .number = &wishes->burst},
                                           {.name = "every", .number = &wishes->every},
                                           {.name = "core", .number = &wishes->core},
                                           {.name = "seconds", .number = &wishes->seconds},
                                           {.name = "warmup", .number = &wishes->warmup},
                                           {.name = "timeout", .number = &wishes->timeout},
                                           {.name = "run", .text = &wishes->run},
                                           {.name = "set", .number = &wishes->set},
                                           {.name = "zipf", .number = &wishes->exponent},
                                           {.name = "fill", .flag = &wishes->fill},
                                           {.name = "flood", .number = &wishes->flood},
                                           {.name = "first", .number = &wishes->first},
                                           {.name = "age", .number = &wishes->age},
                                           {.name = "process", .number = &wishes->process},
                                           {.name = "log", .text = &wishes->log},
                                           {.name = "echo", .flag = &wishes->echo},
                                           {0}};
    bench_options(argc, argv, options);
}
