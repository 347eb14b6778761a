/*
 * What the tools of an ordinary build need beyond the lists of calls.c: there are none. Built in the place of
 * calls_sanitized.c.
 */
#include "engine/calls.h"

struct calls_list engine_tools_calls(void)
{
    return (struct calls_list){NULL, 0};
}

int engine_tools_open_files(void)
{
    return -1;
}

bool engine_tools_read_files(void)
{
    return false;
}
