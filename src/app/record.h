/* record.h - `slowproxy record --pid N -o FILE`: looks at a process for a while and writes down where its time went. */
#ifndef APP_RECORD_H
#define APP_RECORD_H

/* argv[0] is the name of the command. Returns the exit status. */
int record_main(int argc, char **argv);

#endif
