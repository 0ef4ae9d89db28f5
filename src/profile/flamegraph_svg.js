"use strict";
// Hover tells, a click zooms, "/" or Ctrl-F searches, Escape takes both back. Positions are in samples: data-b, data-n.
(() => {
	const by = id => document.getElementById(id);
	const frames = by("frames"), margin = +frames.dataset.margin, width = +frames.dataset.width - 2 * margin;
	const charWidth = 7;
	const boxes = [...frames.children].map(g => ({
		g, rect: g.querySelector("rect"), text: g.querySelector("text"),
		begin: +g.dataset.b, count: +g.dataset.n, y: +g.querySelector("rect").getAttribute("y"),
		title: g.querySelector("title").textContent,
	}));
	if (!boxes.length) return;
	for (const box of boxes) box.label = box.title.replace(/ \(\d+ samples, [\d.]+%\)$/, "");
	const all = boxes[0];
	let term = "";

	const fit = (text, room) => room < 3 ? "" : text.length <= room ? text : text.slice(0, room - 2) + "..";

	function zoom(to) {
		const scale = width / to.count, end = to.begin + to.count;
		for (const box of boxes) {
			const above = box.y < to.y && box.begin <= to.begin && box.begin + box.count >= end;
			const inside = box.y >= to.y && box.begin >= to.begin && box.begin + box.count <= end;
			box.g.style.display = above || inside ? "" : "none";
			box.g.classList.toggle("past", above);
			if (!above && !inside) continue;
			const x = above ? margin : margin + (box.begin - to.begin) * scale, w = above ? width : box.count * scale;
			box.rect.setAttribute("x", x);
			box.rect.setAttribute("width", w);
			box.text.setAttribute("x", x + 3);
			box.text.textContent = fit(box.label, Math.floor((w - 6) / charWidth));
		}
		by("reset").setAttribute("visibility", to === all ? "hidden" : "visible");
	}

	// A sample counts once, however many of its frames match: parents come before their children.
	function search(wanted) {
		term = wanted || "";
		let test = () => false;
		if (term) {
			try {
				const pattern = new RegExp(term, "i");
				test = label => pattern.test(label);
			} catch (error) { // no pattern, so the text itself
				test = label => label.toLowerCase().includes(term.toLowerCase());
			}
		}
		const found = boxes.filter(box => {
			const hit = test(box.label);
			box.g.classList.toggle("found", hit);
			return hit;
		}).sort((a, b) => a.begin - b.begin || a.y - b.y);
		let until = 0, samples = 0;
		for (const box of found) {
			if (box.begin < until) continue;
			samples += box.count;
			until = box.begin + box.count;
		}
		by("matched").textContent = term ? `${(100 * samples / all.count).toFixed(1)}% matched` : "";
	}

	const ask = () => {
		const wanted = prompt("Search for (regular expression)", term);
		if (wanted !== null) search(wanted);
	};
	for (const box of boxes) {
		box.g.addEventListener("click", () => zoom(box));
		box.g.addEventListener("mouseover", () => { by("details").textContent = box.title; });
		box.g.addEventListener("mouseout", () => { by("details").textContent = ""; });
	}
	by("reset").addEventListener("click", () => zoom(all));
	by("search").addEventListener("click", ask);
	addEventListener("keydown", event => {
		if (event.key === "/" || (event.key === "f" && (event.ctrlKey || event.metaKey))) {
			event.preventDefault();
			ask();
		} else if (event.key === "Escape") {
			zoom(all);
			search("");
		}
	});
})();
