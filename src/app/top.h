/* top.h - `slowproxy top --pid N`: where the time of a process goes, on the terminal, as it goes. */
#ifndef APP_TOP_H
#define APP_TOP_H

/* argv[0] is the name of the command. Returns the exit status. */
int top_main(int argc, char **argv);

#endif
