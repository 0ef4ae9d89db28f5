/* outlet.c - the seam between report and push. */
#include "outlet.h"

static void on_line(void *context, const struct report_copy *copy)
{
	const struct push_pair metadata[] = { { "trace_id", copy->trace_id }, { "span_id", copy->span_id } };
	push_put(context, PUSH_LOKI,
		&(struct push_item){ copy->wall_ns, metadata, ARRAY_LEN(metadata), copy->bytes, copy->len });
}

/* Its labels are few: a route is a template, and causes are a handful. */
static void on_profile(void *context, const struct report_copy *copy)
{
	const struct push_pair labels[] = { { "http_route", copy->route }, { "cause", copy->cause } };
	push_put(context, PUSH_PYROSCOPE,
		&(struct push_item){ copy->wall_ns, labels, ARRAY_LEN(labels), copy->bytes, copy->len });
}

void outlet_plug(struct report *report, struct push *push, const struct config *config)
{
	report_set_outlet(report, &(struct report_outlet){
					  .line = push_wants(push, PUSH_LOKI) ? on_line : NULL,
					  .profile = push_wants(push, PUSH_PYROSCOPE) ? on_profile : NULL,
					  .access = config->logs.loki_access,
					  .context = push,
				  });
}
