// The part of the page that talks to serve.py: it draws pieces and changes them; page.js shows and plays them.

const MORE = 12; // cards that are added at a time
const form = document.getElementById("compose");
const cards = new Map(); // by id and version of a piece
const rows = new Map(); // of drawings, by id
const mine = new Set(); // drawings that this tab asked for
const unheard = new Set(); // those of them that are to be played
let state = { models: [], jobs: {}, pieces: [] };
let limit = MORE;
let primer = "";
let lastModel = "";
const byId = (id) => document.getElementById(id);
const isOpen = (job) => job.state === "waiting" || job.state === "drawing";

/** Ask the server; raise an error with its sentence. */
async function call(path, body) {
	const text = body instanceof Blob ? body : JSON.stringify(body);
	const answer = await fetch(path, body === undefined ? {} : { method: "POST", body: text });
	const result = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
	if (!answer.ok) throw new Error(result.error);
	return result;
}

function report(text) {
	byId("summary").textContent = text;
}

/** Do something that may fail; say why it did. */
async function attempt(work) {
	try {
		await work();
	} catch (problem) {
		const isGone = problem instanceof TypeError && problem.message.includes("fetch");
		report(isGone ? "The server does not answer. Start serve.py again, and open the address that it prints." : problem.message);
	}
}

/** Do something and show what has become of it. */
async function act(work) {
	report("");
	await attempt(work);
	await refresh();
}

function button(text, onClick, className = "light", label = text) {
	const node = element("button", { type: "button", class: className, "aria-label": label }, text);
	on(node, "click", onClick);
	return node;
}

// ---- What to draw

/** Return the settings of the form. */
function wanted() {
	const { elements } = form;
	const values = { [elements.unit.value]: elements.amount.value, primer, include_primer: primer !== "" && elements.include_primer.checked };
	for (const name of ["model", "key", "chords", "instruments", "temperature", "memory", "seed"]) values[name] = elements[name].value;
	return values;
}

function drawPiece(body) {
	mine.clear();
	return act(async () => {
		const { id } = await call("jobs", body);
		mine.add(id);
		unheard.add(id);
	});
}

/** Draw bars or instruments of a piece anew, with the settings of the form but without a length. */
function rewrite(item, changes) {
	const { chars, bars, seconds, include_primer, ...settings } = wanted();
	return drawPiece({ ...settings, primer: item.id, ...changes });
}

function setPrimer(id, text) {
	primer = id;
	byId("primer").hidden = !id;
	byId("primer").firstElementChild.textContent = `Continues ${text}`;
	if (id) byId("generate").focus();
}

const readPrimer = (file) =>
	act(async () => {
		const { id, text } = await call("primers", file);
		setPrimer(id, `${file.name} (${text})`);
	});

// ---- Pieces

/** Build what the server can do with a piece. */
function actions(item, bars) {
	const decide = (verb) => async () => {
		await act(() => call(`pieces/${item.id}/${verb}`, {}));
		(byId("pieces").querySelector(".play") ?? byId("generate")).focus();
	};
	const again = () => {
		if (bars.value.trim()) rewrite(item, { fill: bars.value });
		else report("Drag over bars of the piano roll first, or type them, as in 5-8.");
	};
	const nodes = [button("Write these bars again", again), button("Continue", () => setPrimer(item.id, item.name))];
	if (item.state !== "primers") {
		nodes.push(button("More like this", () => drawPiece({ like: item.id })));
		nodes.push(button("Keep", decide("keep"), "keep"));
		nodes.push(button("Throw away", decide("throw-away")));
	}
	const kinds = { mid: "MIDI", stems: "stems", ...(state.has_audio && { wav: "WAV" }), musicxml: "MusicXML", json: "JSON" };
	const links = Object.entries(kinds).map(([kind, text]) => element("a", { href: `pieces/${item.id}/${kind}`, download: "" }, text));
	return [element("div", { class: "actions" }, ...nodes), element("p", { class: "quiet links" }, "Download: ", ...links)];
}

/** Build the card of a piece, or a line that says why it cannot be shown. */
async function makeCard(item) {
	let piece;
	try {
		piece = await call(`pieces/${item.id}`);
	} catch (problem) {
		return { card: element("p", { class: "quiet" }, `${item.name}: ${problem.message}`) };
	}
	const nameOf = (part) => (part.program < 0 ? "drums" : part.name);
	const keepPart = (part) => {
		const others = piece.parts.filter((other) => other.program !== part.program);
		const instruments = () => form.elements.instruments.value || [...new Set(others.map(nameOf))].join(", ");
		const keep = () => rewrite(item, { keep: nameOf(part), instruments: instruments() });
		return others.length ? [button("Keep this, write the others again", keep, "small", `Keep ${part.name}, write the others again`)] : [];
	};
	return article({ ...piece, sound: null }, item.id, (bars) => actions(item, bars), keepPart);
}

/** Show the newest pieces that are not thrown away. */
async function showPieces() {
	const listed = state.pieces.filter((item) => item.state !== "thrown-away");
	const items = new Map(listed.slice(0, limit).map((item) => [`${item.id} ${item.version}`, item]));
	for (const [key, { card, sound }] of cards) {
		if (items.has(key)) continue;
		sound?.release();
		card.remove();
		cards.delete(key);
	}
	let index = 0;
	for (const [key, item] of items) {
		if (!cards.has(key)) cards.set(key, await makeCard(item));
		const { card } = cards.get(key);
		const there = byId("pieces").children[index++];
		if (there !== card) byId("pieces").insertBefore(card, there ?? null);
		card.dataset.state = item.state;
	}
	byId("more").hidden = listed.length <= limit;
	showThrownAway(state.pieces.filter((item) => item.state === "thrown-away"));
}

function showThrownAway(items) {
	const list = byId("thrown");
	const key = items.map((item) => item.id).join();
	if (list.dataset.key === key) return;
	list.dataset.key = key;
	list.hidden = !items.length;
	const bringBack = (item) => button("Bring back", () => act(() => call(`pieces/${item.id}/keep`, {})), "small", `Bring back ${item.name}`);
	const lines = items.slice(0, 100).map((item) => element("li", {}, `${item.name} `, bringBack(item)));
	list.replaceChildren(element("summary", {}, `Thrown away: ${items.length}`), element("ul", {}, ...lines));
}

// ---- Drawings

/** Build the line of a drawing that waits or runs, or of one that is over. */
function makeRow(id, job) {
	const stop = () => act(() => call(`jobs/${id}/stop`, {}));
	const bar = element("progress", { "aria-label": `Progress of ${job.title}` });
	const nodes = isOpen(job) ? [bar, button("Stop", stop)] : [];
	return element("li", { class: job.state, role: isOpen(job) ? "listitem" : "alert" }, element("span", {}), ...nodes);
}

/** Show the drawings that wait or run, and what there is to say about those of this tab. */
function showJobs() {
	for (const [id, job] of Object.entries(state.jobs)) {
		let row = rows.get(id);
		if (row && row.className !== job.state) {
			row.remove();
			row = undefined;
		}
		row ??= makeRow(id, job);
		rows.set(id, row);
		const isShown = isOpen(job) || (mine.has(id) && job.text);
		if (!isShown) row.remove();
		else if (!row.isConnected) byId("jobs").append(row);
		const amount = job.total ? `${job.done} of ${job.total}` : `${job.done} tokens`;
		row.firstElementChild.textContent = isOpen(job) ? `Drawing ${job.title}: ${job.state === "waiting" ? "waits" : amount}` : job.text;
		const bar = row.querySelector("progress");
		if (bar && job.total) [bar.max, bar.value] = [job.total, job.done];
	}
}

/** Play the first new piece of a drawing that this tab asked for. */
function playNew() {
	for (const id of unheard) {
		const job = state.jobs[id];
		if (!job || isOpen(job)) continue; // it may be newer than the state
		unheard.delete(id);
		const item = state.pieces.find(({ name }) => name === job.names?.[0]);
		if (item) cards.get(`${item.id} ${item.version}`)?.sound?.start();
	}
}

// ---- Models

/** Draw the losses of a run against its epochs. */
function curve(model) {
	const rows = model.curve;
	const losses = rows.flatMap((row) => row.slice(1)).filter((loss) => loss !== null);
	const low = Math.min(...losses);
	const height = Math.max(Math.max(...losses) - low, 0.01);
	const [first, last] = [rows[0], rows.at(-1)];
	const label = `Learning curve of ${model.name}`;
	const drawing = shape("svg", { viewBox: "-2 -4 104 48", preserveAspectRatio: "none", height: 120, role: "img", "aria-label": label });
	for (const [column, className] of [
		[1, "loss"],
		[2, "val-loss"],
	]) {
		const known = rows.filter((row) => row[column] !== null);
		const points = known.map((row) => `${(100 * (row[0] - first[0])) / Math.max(last[0] - first[0], 1)} ${40 * (1 - (row[column] - low) / height)}`);
		drawing.append(shape("path", { class: className, d: known.length ? `M${points.join("L")}h0.1` : "" }));
	}
	const age = model.age < 90 ? `${model.age} s` : `${Math.round(model.age / 60)} min`;
	const value = (loss) => (loss === null ? "none" : loss.toFixed(3));
	const text = `Epoch ${last[0]} of ${model.name}, ${age} ago: training loss ${value(last[1])} (thin), held-out loss ${value(last[2])} (thick)`;
	return [element("p", { class: "quiet" }, text), drawing];
}

/** Offer the models; show how the training of the chosen one goes. */
function showModels() {
	const { model, amount, unit } = form.elements;
	const names = JSON.stringify(state.models.map(({ id, name }) => [id, name]));
	if (names !== model.dataset.names) {
		const chosen = model.value;
		model.dataset.names = names;
		model.replaceChildren(...state.models.map(({ id, name }) => new Option(name, id, false, id === chosen)));
	}
	const current = state.models.find(({ id }) => id === model.value);
	if (!current) report("There is no trained model below this folder: run python train.py first.");
	if (current && lastModel !== current.id) {
		lastModel = current.id;
		const [old, proposed] = current.has_bars ? ["100 chars", "16 bars"] : ["16 bars", "100 chars"];
		if (`${amount.value} ${unit.value}` === old) [amount.value, unit.value] = proposed.split(" ");
	}
	byId("training").hidden = !current?.curve.length;
	if (current?.curve.length) byId("curve").replaceChildren(...curve(current));
}

// ---- The whole page

let reading = null; // the call that reads the state
let isStale = false; // whether something was done meanwhile

/** Read the state of the server and show it. */
async function refresh() {
	isStale = true;
	reading ??= (async () => {
		while (isStale) {
			isStale = false;
			await attempt(async () => {
				state = await call("state");
				showModels();
				showJobs();
				await showPieces();
				playNew();
			});
		}
		reading = null;
	})();
	await reading;
}

async function poll() {
	await refresh();
	setTimeout(poll, Object.values(state.jobs).some(isOpen) ? 250 : 2500);
}

function start() {
	document.title = document.querySelector("h1").textContent = "Compose";
	byId("summary").setAttribute("role", "alert");
	const { model, file } = form.elements;
	on(form, "submit", (event) => {
		event.preventDefault();
		drawPiece(wanted());
	});
	on(model, "change", showModels);
	on(file, "change", () => file.files[0] && readPrimer(file.files[0]));
	on(byId("newest"), "click", () => drawPiece({ ...wanted(), checkpoint: "latest" }));
	on(byId("remove-primer"), "click", () => {
		setPrimer("", "");
		file.value = "";
	});
	on(byId("more"), "click", () => {
		limit += MORE;
		refresh();
	});
	on(window, "dragover", (event) => event.preventDefault());
	on(window, "drop", (event) => {
		event.preventDefault();
		if (event.dataTransfer.files[0]) readPrimer(event.dataTransfer.files[0]);
	});
	poll();
}

start();
