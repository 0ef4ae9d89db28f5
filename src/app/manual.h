/* manual.h - `slowproxy manual 8|5`: the manual pages, made of the tables the program itself is made of. */
#ifndef APP_MANUAL_H
#define APP_MANUAL_H

/* argv[0] is the name of the command. Returns the exit status. */
int manual_main(int argc, char **argv);

#endif
