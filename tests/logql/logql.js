// logql.js - LogQL as Grafana's own editor reads it: a JSON list of queries on standard input, what they are made of on standard output.
//
//   [{"errors": [text that is no LogQL], "matchers": [["service_name", "=~", ".+"]], "by": ["code_function_name"],
//     "stages": [["|=", "slow_request"], ["json"], ["label", "event", "=~", "slow_request.*"], ["unwrap", "cpu_ms"]]}]
import { parser } from "@grafana/lezer-logql";
import { readFileSync } from "node:fs";

function take(query) {
	const tree = parser.parse(query);
	const text = node => query.slice(node.from, node.to);
	const all = (name, within = tree.topNode) => {
		const found = [];
		within.cursor().iterate(cursor => { if (cursor.name === name) found.push(cursor.node); });
		return found;
	};
	const children = node => {
		const found = [];
		for (let child = node.firstChild; child; child = child.nextSibling)
			if (child.name !== "Pipe")
				found.push(child);
		return found;
	};
	const unquoted = node => text(node).startsWith("`") ? text(node).slice(1, -1) : JSON.parse(text(node));
	const matcher = node => {
		const [name, operator, value] = children(node);
		return [text(name), text(operator), unquoted(value)];
	};
	const stage = node => {
		const [what] = children(node);
		if (what.name === "LineFilters")
			return all("LineFilter", what).map(filter => [text(filter.firstChild), unquoted(filter.lastChild)]);
		if (what.name === "LabelFilter" && what.firstChild.name === "Matcher")
			return [["label", ...matcher(what.firstChild)]];
		return [[text(what)]];
	};
	const errors = [];
	tree.iterate({ enter: node => { if (node.type.isError) errors.push(`${text(node.node.parent)} (at ${node.from})`); } });
	if (errors.length)
		return { errors };
	return {
		errors,
		matchers: all("Selector").flatMap(selector => all("Matcher", selector)).map(matcher),
		stages: [...all("PipelineStage").flatMap(stage), ...all("UnwrapExpr").map(node => ["unwrap", text(node.lastChild)])],
		by: all("Grouping").flatMap(grouping => all("Identifier", grouping)).map(text),
	};
}

console.log(JSON.stringify(JSON.parse(readFileSync(0)).map(take)));
