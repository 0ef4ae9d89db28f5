/* page.c - the page for people. It is one file, taken into the program by the assembler; it fetches what it shows from /api/. */
#include "admin_private.h"

extern const char admin_page[], admin_page_end[];
__asm__(".section .rodata\n"
	".global admin_page\n"
	".global admin_page_end\n"
	"admin_page:\n"
	".incbin \"" ADMIN_PAGE "\"\n"
	"admin_page_end:\n"
	".byte 0\n"
	".previous\n");

void page_answer(const struct question *q, struct answer *a)
{
	(void)q;
	a->type = "text/html; charset=utf-8";
	buf_add(&a->body, admin_page, (size_t)(admin_page_end - admin_page));
}
