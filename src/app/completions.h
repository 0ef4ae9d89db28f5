/* completions.h - `slowproxy completions bash|zsh|fish`: what a shell may offer, from the tables of commands, flags and keys. */
#ifndef APP_COMPLETIONS_H
#define APP_COMPLETIONS_H

/* argv[0] is the name of the command. Returns the exit status. */
int completions_main(int argc, char **argv);

#endif
