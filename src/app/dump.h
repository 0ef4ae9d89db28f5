/* dump.h - `slowproxy dump --pid N`: the stacks of every thread and every asyncio task of a process, now. */
#ifndef APP_DUMP_H
#define APP_DUMP_H

/* argv[0] is the name of the command. Returns the exit status. */
int dump_main(int argc, char **argv);

#endif
