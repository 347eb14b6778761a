/* The entry of the program. */
#include <unistd.h>

#include "monitor/monitor.h"

int main(int argc, char **argv)
{
    return monitor_run(argc, argv, environ);
}
