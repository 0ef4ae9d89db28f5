/* tool.c - the reader alone, for its tests.
 *
 *   pystack_tool dump --pid PID [--json]     as slowproxy dump
 */
#include <stdio.h>
#include <string.h>

#include "dump.h"

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "dump") == 0)
		return dump_main(argc - 1, argv + 1);
	fputs("pystack_tool dump ...\n", stderr);
	return 2;
}
