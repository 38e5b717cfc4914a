// Show and play pieces, on the page of render.py and on that of serve.py.

const RATE = 22050; // Hz: enough for these tones
const PIXELS_PER_SECOND = 16; // a long piece scrolls instead of shrinking below this
const BLACK_KEYS = new Set([1, 3, 6, 8, 10]);
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

/** Give an element attributes and children; text stays text, so that a file name cannot become markup. */
function fill(node, attributes, children) {
	for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
	node.append(...children);
	return node;
}

const element = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
const on = (target, type, handle) => target.addEventListener(type, handle);
const shape = (name, attributes) => fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, []);

function formatTime(seconds) {
	const whole = Math.floor(seconds);
	return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function spokenTime(seconds) {
	const whole = Math.floor(seconds),
		minutes = Math.floor(whole / 60);
	return `${minutes ? `${minutes} min ` : ""}${whole % 60} s`;
}

/** Call visit(start s, length s, pitch, velocity) for each note of a part. */
function eachNote(part, visit) {
	const values = part.notes;
	for (let at = 0; at < values.length; at += 4) {
		visit(values[at], values[at + 1] - values[at], values[at + 2], values[at + 3]);
	}
}

// ---- Drawing

/** Draw each part as one path; rows maps a pitch to its row, counted from the bottom. */
function drawNotes(piece, parts, rows, count, height, className) {
	const viewBox = `0 0 ${piece.seconds} ${count}`;
	const drawing = shape("svg", { class: className, viewBox, preserveAspectRatio: "none", height, "aria-hidden": "true" });
	let bands = "";
	if (className === "pitched") {
		for (const [pitch, row] of rows) {
			if (BLACK_KEYS.has(pitch % 12)) bands += `M0 ${count - row - 1}h${piece.seconds}v1h${-piece.seconds}z`;
		}
	}
	const lines = piece.bars.map((bar) => `M${bar} 0v${count}`).join("");
	drawing.append(shape("path", { class: "band", d: bands }));
	for (const [start, end] of piece.drawn) {
		drawing.append(shape("path", { class: "drawn", d: `M${start} 0H${end}V${count}H${start}z` }));
	}
	if (className === "pitched") {
		for (const [start, end, colour] of piece.repeats) {
			drawing.append(shape("path", { class: "repeat", fill: colour, d: `M${start} 0H${end}V${count}H${start}z` }));
		}
	}
	drawing.append(shape("path", { class: "lines", d: lines }));
	// Thin notes go on top, so that parts in unison are drawn one inside the other.
	for (const part of [...parts].sort((a, b) => b.thickness - a.thickness)) {
		const thick = part.thickness;
		let boxes = "";
		eachNote(part, (start, length, pitch) => {
			const width = Math.max(length, piece.seconds / 400);
			const top = count - rows.get(pitch) - 0.5 - thick / 2;
			boxes += `M${start} ${top.toFixed(2)}h${width.toFixed(3)}v${thick}h${(-width).toFixed(3)}z`;
		});
		drawing.append(shape("path", { class: part.style, color: part.colour, fill: part.colour, d: boxes }));
	}
	return drawing;
}

function pitchesOf(parts) {
	const pitches = new Set();
	for (const part of parts) eachNote(part, (_start, _length, pitch) => pitches.add(pitch));
	return [...pitches].sort((a, b) => a - b);
}

/** Number the bars, with labels at least 40 px apart. */
function barLabels(piece, width) {
	const labels = element("div", { class: "bars", "aria-hidden": "true" });
	const room = (40 * piece.bars.length) / width;
	const step = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512].find((size) => size >= room) ?? 1024;
	piece.bars.forEach((bar, index) => {
		if (index % step) return;
		const label = element("span", {}, String(index + 1));
		label.style.left = `${(100 * bar) / piece.seconds}%`;
		labels.append(label);
	});
	return labels;
}

/** Build the piano roll; onChoose is called with bars over which one drags, such as 5-8, onJump with seconds. */
function pianoRoll(piece, onChoose, onJump) {
	const [pitched, drums] = [0, 1].map((isDrums) => piece.parts.filter((part) => part.program < 0 === !!isDrums));
	const [pitches, drumKeys] = [pitched, drums].map(pitchesOf);
	const octaves = element("div", { class: "octaves", "aria-hidden": "true" });
	const sheet = element("div", { class: "sheet" });
	const width = Math.max(piece.seconds * PIXELS_PER_SECOND, 1);
	sheet.style.minWidth = `${width}px`;
	sheet.append(barLabels(piece, Math.max(width, 600)));
	if (pitches.length) {
		const lowest = pitches[0] - 1,
			count = pitches.at(-1) - lowest + 2;
		const rows = new Map(Array.from({ length: count }, (_unused, row) => [lowest + row, row]));
		const height = Math.min(Math.max(count * 7, 150), 420);
		sheet.append(drawNotes(piece, pitched, rows, count, height, "pitched"));
		for (const [pitch, row] of rows) {
			if (pitch % 12) continue;
			const label = element("span", {}, `C${pitch / 12 - 1}`);
			label.style.top = `calc(1.3rem + ${((count - row - 0.5) / count) * height}px)`;
			octaves.append(label);
		}
	}
	if (drumKeys.length) {
		const rows = new Map(drumKeys.map((pitch, row) => [pitch, row]));
		sheet.append(drawNotes(piece, drums, rows, rows.size, rows.size * 9, "drums"));
	}
	const cursor = element("div", { class: "cursor" }),
		chosen = element("div", { class: "chosen", hidden: "" });
	sheet.append(chosen, cursor);
	const names = [plural(piece.bars.length, "bar"), ...piece.parts.map((part) => part.name)].join(", ");
	const label = `Piano roll: ${formatTime(piece.seconds)} long, ${names}. Space plays, arrows go by bars, with Shift they choose bars`;
	const view = element("div", { class: "window", role: "group", tabindex: "0", "aria-label": label }, sheet);
	const show = (seconds, follow) => {
		const x = Math.min(seconds / piece.seconds, 1) * sheet.clientWidth;
		cursor.style.transform = `translateX(${x}px)`;
		if (follow && (x < view.scrollLeft || x > view.scrollLeft + view.clientWidth - 8)) view.scrollLeft = x - 24;
	};
	const highlight = (range) => {
		chosen.hidden = !range;
		if (!range) return;
		chosen.style.left = `${(100 * range.start) / piece.seconds}%`;
		chosen.style.width = `${(100 * (range.end - range.start)) / piece.seconds}%`;
	};
	const secondsAt = (event) => ((event.clientX - sheet.getBoundingClientRect().left) / sheet.clientWidth) * piece.seconds;
	let from = null;
	on(sheet, "pointerdown", (event) => {
		from = { x: event.clientX, seconds: secondsAt(event), isDrag: false };
	});
	on(sheet, "pointermove", (event) => {
		if (event.buttons !== 1 || event.pointerType === "touch" || Math.abs(event.clientX - from.x) < 5) return;
		from.isDrag = true;
		sheet.setPointerCapture(event.pointerId);
		onChoose(barsText(...[from.seconds, secondsAt(event)].map((seconds) => barAt(piece, seconds))));
	});
	on(sheet, "click", (event) => from?.isDrag || onJump(secondsAt(event)));
	return { element: element("div", { class: "roll" }, octaves, view), sheet, view, show, highlight };
}

/** Return the index of the bar that sounds at a time. */
const barAt = (piece, seconds) => Math.max(piece.bars.filter((bar) => bar <= seconds + 0.001).length - 1, 0);
const barsText = (...bars) => [...new Set([Math.min(...bars) + 1, Math.max(...bars) + 1])].join("-");
/** Return begin and end in seconds of bars such as 5-8, null for others. */
function rangeOf(piece, text) {
	const [, first, last = first] = text.match(/^\s*(\d+)\s*(?:-\s*(\d+)\s*)?$/) ?? [];
	const start = piece.bars[first - 1];
	if (start === undefined || Number(last) < first) return null;
	return { start, end: piece.bars[last] ?? piece.seconds, first: first - 1, last: last - 1 };
}

function plural(count, word) {
	return `${count} ${word}${count === 1 ? "" : "s"}`;
}

/** Name the instruments, each with buttons to mute it or to hear it alone; extra(part) adds others. */
function legend(piece, onChange, extra) {
	const toggle = (part, property, text) => {
		const button = element("button", { type: "button", class: "small", "aria-pressed": "false", "aria-label": `${text} ${part.label}` }, text);
		on(button, "click", () => {
			part[property] = !part[property];
			button.setAttribute("aria-pressed", part[property]);
			onChange();
		});
		return button;
	};
	const items = piece.parts.map((part) => {
		const swatch = element("i", { class: part.style });
		swatch.style.background = part.colour;
		const toggles = [toggle(part, "muted", "Mute"), toggle(part, "solo", "Solo")];
		return element("li", {}, swatch, element("span", {}, part.label), ...toggles, ...extra(part));
	});
	if (piece.repeats.length) items.push(element("li", {}, "Tinted: repeats, one tint per passage"));
	if (piece.drawn.length) items.push(element("li", {}, "Dashed: bars that were drawn into the piece"));
	return element("ul", { class: "legend", "aria-label": "Instruments" }, ...items);
}

/** Build players for a copied passage, in this piece and in the training piece; empty if there is none. */
function copiedPassage(piece) {
	if (!piece.copy) return [];
	const { start, end, semitones, tokens } = piece.copy;
	const key = semitones ? `, ${plural(Math.abs(semitones), "semitone")} ${semitones > 0 ? "higher" : "lower"}` : "";
	const parts = piece.parts.map((part) => {
		const notes = [];
		eachNote(part, (at, length, ...rest) => {
			if (at >= start - 0.001 && at < end - 0.001) notes.push(at - start, at - start + length, ...rest);
		});
		return { ...part, notes };
	});
	const passage = (title, content) =>
		element("div", { class: "passage" }, element("span", {}, title), player({ name: title, sound: null, ...content }).controls);
	const place = `from ${formatTime(start)} to ${formatTime(end)}`;
	const text = `The ${plural(tokens, "token")} ${place} also occur in the training piece ${piece.copy.piece}${key}.`;
	const here = passage("In this piece", { parts, seconds: Math.max(end - start, 0.1) });
	return [element("section", { class: "copied" }, element("p", {}, text), here, passage(`In ${piece.copy.piece}`, piece.copy))];
}

/** List the settings that made the piece, if known; long values come last, over the full width. */
function settings(piece) {
	const entries = Object.entries(piece.settings);
	if (!entries.length) return [];
	const items = entries.map(([key, value]) => {
		const className = value.length > 36 ? "wide" : "";
		return element("div", { class: className }, element("dt", {}, key.replaceAll("_", " ")), element("dd", {}, value));
	});
	items.sort((a, b) => a.className.length - b.className.length);
	return [element("details", { open: "" }, element("summary", {}, "How it was made"), element("dl", {}, ...items))];
}

// ---- Playing

/** Return the tone of a program's family: strengths of harmonics; seconds of attack, decay (0: none) and release. */
function tone(program) {
	const struck = [1, 0.5, 0.25, 0.12, 0.06],
		reedy = [1, 0.35, 0.4, 0.15, 0.12, 0.06];
	const families = [
		[struck, 0.004, 0.9, 0.12],
		[[1, 0, 0.25, 0.1], 0.002, 0.5, 0.3],
		[[1, 0.7, 0.4, 0.3], 0.01, 0, 0.05],
		[struck, 0.003, 0.6, 0.1],
		[[1, 0.7, 0.5, 0.3, 0.2, 0.1], 0.005, 0.8, 0.06],
		[reedy, 0.06, 0, 0.15],
		[reedy, 0.08, 0, 0.2],
		[reedy, 0.03, 0, 0.08],
		[reedy, 0.02, 0, 0.06],
		[[1, 0.15, 0.05], 0.03, 0, 0.08],
		[struck, 0.01, 0, 0.08],
		[[1, 0.3, 0.15], 0.15, 0, 0.3],
		[[1, 0.4, 0.2], 0.1, 0, 0.3],
		[struck, 0.003, 0.5, 0.1],
		[[1, 0, 0.3], 0.002, 0.3, 0.1],
		[[1], 0.05, 0, 0.1],
	];
	const [harmonics, attack, decay, release] = families[program >> 3];
	return { harmonics, attack, decay, release };
}

/** Sum the harmonics below half the sample rate into one period of 2048 samples. */
function period(harmonics, frequency) {
	const table = new Float32Array(2048);
	harmonics.forEach((strength, index) => {
		if (frequency * (index + 1) > RATE / 2) return;
		for (let at = 0; at < 2048; at++) table[at] += strength * Math.sin((2 * Math.PI * (index + 1) * at) / 2048);
	});
	return table;
}

function playPart(sound, part) {
	const { harmonics, attack, decay, release } = tone(part.program);
	const tables = new Map();
	eachNote(part, (start, length, pitch, velocity) => {
		const frequency = 440 * 2 ** ((pitch - 69) / 12);
		if (!tables.has(pitch)) tables.set(pitch, period(harmonics, frequency));
		const table = tables.get(pitch),
			first = Math.round(start * RATE),
			held = length * RATE;
		const last = Math.min(Math.round((length + release) * RATE), sound.length - first);
		const step = (2048 * frequency) / RATE,
			rise = 1 / (attack * RATE),
			fall = decay ? Math.exp(-1 / (decay * RATE)) : 1;
		let phase = 0,
			level = (velocity / 127) ** 1.5;
		for (let at = 0; at < last; at++) {
			const edge = Math.min(1, at * rise) * (at < held ? 1 : 1 - (at - held) / (release * RATE));
			sound[first + at] += table[phase & 2047] * level * edge;
			phase += step;
			level *= fall;
		}
	});
}

/** Play drums as decaying noise, low ones as a click and a falling tone, to tell them from a bass. */
function playDrums(sound, part) {
	let seed = 1;
	eachNote(part, (start, _length, pitch, velocity) => {
		const low = pitch < 37 ? 110 : [41, 43, 45, 47, 48, 50].includes(pitch) ? 60 + pitch * 2 : 0;
		const seconds = [46, 49, 51, 52, 55, 57, 59].includes(pitch) ? 0.35 : low ? 0.14 : pitch === 42 || pitch === 44 ? 0.04 : 0.09;
		const first = Math.round(start * RATE),
			last = Math.min(Math.round(seconds * 4 * RATE), sound.length - first);
		const fall = Math.exp(-1 / (seconds * RATE)),
			struck = (velocity / 127) ** 1.5;
		let level = struck,
			phase = 0,
			before = 0;
		for (let at = 0; at < last; at++) {
			seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
			const hiss = seed / 2147483648,
				noise = low && at > RATE / 200 ? 0 : 0.6;
			phase += (2 * Math.PI * low * (0.4 + 1.6 * (level / struck) ** 2)) / RATE;
			sound[first + at] += level * ((low ? 1.2 * Math.sin(phase) : 0) + noise * (hiss - before));
			before = hiss;
			level *= fall;
		}
	});
}

/** Return little-endian numbers of 32 bits. */
const integers = (...values) => new Uint32Array(values);

/**
 * Synthesise the parts of a piece that are not muted into a 16-bit mono WAV. OfflineAudioContext is asynchronous, and some
 * browsers refuse sound that does not start during the click.
 */
function synthesise(piece) {
	const sound = new Float32Array(Math.ceil((piece.seconds + 1) * RATE)),
		size = 2 * sound.length;
	const isSolo = piece.parts.some((part) => part.solo);
	for (const part of piece.parts) {
		if (isSolo ? part.solo : !part.muted) (part.program < 0 ? playDrums : playPart)(sound, part);
	}
	// What remains of a mix is not louder than in it.
	piece.loudest = sound.reduce((most, sample) => Math.max(most, Math.abs(sample)), piece.loudest ?? 1e-9);
	const samples = Int16Array.from(sound, (sample) => (sample / piece.loudest) * 30000);
	const format = integers(16, 0x00010001, RATE, 2 * RATE, 0x00100002);
	const parts = ["RIFF", integers(36 + size), "WAVEfmt ", format, "data", integers(size), samples];
	return URL.createObjectURL(new Blob(parts, { type: "audio/wav" }));
}

let playing = null; // the player that plays or played last

/** Build a button, a seek bar and a time display for a piece; roll.show(seconds, follow) moves the cursor. */
function player(piece, roll = { show: () => {} }) {
	const audio = element("audio", { preload: "none" });
	const button = element("button", { type: "button", class: "play" });
	const label = `Position in ${piece.name}`;
	const seek = element("input", { type: "range", max: Math.ceil(piece.seconds), value: "0", "aria-label": label });
	const time = element("span", { class: "time" });
	const self = { loop: null, audio }; // loop: begin and end in seconds
	const update = (follow) => {
		const now = Math.min(audio.currentTime, piece.seconds);
		roll.show(now, follow);
		seek.value = String(Math.floor(now));
		// Once per second, not per frame: a screen reader may read each change aloud.
		const spoken = `${spokenTime(now)} of ${spokenTime(piece.seconds)}`;
		if (seek.getAttribute("aria-valuetext") === spoken) return;
		seek.setAttribute("aria-valuetext", spoken);
		time.textContent = `${formatTime(now)} / ${formatTime(piece.seconds)}`;
	};
	const name = (verb) => {
		button.textContent = verb;
		button.setAttribute("aria-label", `${verb} ${piece.name}`);
	};
	const setSource = (source = synthesise(piece)) => {
		URL.revokeObjectURL(audio.src);
		audio.src = source;
	};
	const load = () => audio.src || setSource(piece.sound ?? undefined);
	const repeat = () => {
		const { loop } = self;
		if (loop && !audio.paused && (audio.currentTime >= loop.end || audio.currentTime < loop.start - 0.05)) audio.currentTime = loop.start;
	};
	const frame = () => {
		if (audio.paused) return;
		repeat();
		if (!reducedMotion.matches) update(true);
		requestAnimationFrame(frame);
	};
	const play = () =>
		audio.play().catch((problem) => {
			if (problem.name === "AbortError" || audio.error) return;
			time.setAttribute("role", "alert");
			time.textContent = problem.name === "NotAllowedError" ? "Press Play to hear it." : "This browser cannot play the sound.";
		});
	self.start = () => {
		load();
		if (playing && playing !== self) playing.audio.pause();
		playing = self;
		play();
	};
	self.toggle = () => (audio.paused ? self.start() : audio.pause());
	self.jump = (seconds) => {
		load();
		audio.currentTime = Math.max(0, seconds);
		update(false);
	};
	// After a change of what is muted.
	self.remix = () => {
		const { currentTime, paused } = audio;
		setSource();
		audio.currentTime = currentTime;
		if (!paused) play();
	};
	self.release = () => {
		audio.pause();
		URL.revokeObjectURL(audio.src);
	};

	on(button, "click", self.toggle);
	on(seek, "input", () => self.jump(Number(seek.value)));
	on(audio, "play", () => {
		name("Pause");
		frame();
	});
	on(audio, "pause", () => {
		name("Play");
		update(false);
	});
	on(audio, "timeupdate", () => {
		repeat();
		update(!audio.paused);
	});
	on(audio, "ended", () => {
		if (!self.loop) return;
		audio.currentTime = self.loop.start;
		play();
	});
	on(audio, "error", () => {
		// The sound file is missing or cannot be played: synthesise instead.
		if (audio.src.startsWith("blob:")) return;
		setSource();
		self.start();
	});
	name("Play");
	update(false);
	if (roll.sheet) new ResizeObserver(() => update(false)).observe(roll.sheet);
	self.controls = element("div", { class: "player" }, button, seek, time, audio);
	return self;
}

/** Build the card of a piece; actions(bars) adds what the server can do with it. */
function article(piece, key, actions = () => [], extra = () => []) {
	const heading = element("h2", { id: `piece-${key}` }, piece.name);
	const source = piece.sound ? "sound from the .wav file" : "sound synthesised by this page";
	const score = piece.settings.ranking ? [piece.settings.ranking.split(",")[0]] : [];
	const label = `Bars of ${piece.name}, such as 5-8`;
	const bars = element("input", { class: "bars-field", placeholder: "all", "aria-label": label });
	const loop = element("button", { type: "button", class: "light", "aria-pressed": "false", "aria-label": `Loop ${piece.name}` }, "Loop");
	const tempo = element("select", { "aria-label": `Tempo of ${piece.name}` });
	for (const percent of [50, 75, 90, 100, 110, 125, 150]) tempo.append(new Option(`${percent} %`, percent / 100, false, percent === 100));
	const choose = (text) => {
		if (text !== bars.value) bars.value = text;
		const range = rangeOf(piece, text);
		roll.highlight(range);
		sound.loop = loop.getAttribute("aria-pressed") === "true" ? (range ?? { start: 0, end: piece.seconds }) : null;
	};
	const roll = pianoRoll(piece, choose, (seconds) => sound.jump(seconds));
	const sound = player(piece, roll);
	on(bars, "input", () => choose(bars.value));
	on(loop, "click", () => {
		loop.setAttribute("aria-pressed", loop.getAttribute("aria-pressed") !== "true");
		choose(bars.value);
	});
	on(tempo, "change", () => {
		sound.audio.defaultPlaybackRate = sound.audio.playbackRate = Number(tempo.value);
	});
	on(roll.view, "keydown", (event) => {
		const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
		const now = barAt(piece, sound.audio.currentTime);
		const within = (bar) => Math.min(Math.max(bar, 0), piece.bars.length - 1);
		if (event.key === " ") sound.toggle();
		else if (event.key === "Escape") choose("");
		else if (step && event.shiftKey) {
			const range = rangeOf(piece, bars.value);
			choose(range ? barsText(range.first, Math.max(within(range.last + step), range.first)) : barsText(now));
		} else if (step) sound.jump(piece.bars[within(now + step)]);
		else return;
		event.preventDefault();
		event.stopPropagation();
	});
	sound.controls.append(element("label", {}, "Bars ", bars), loop, element("label", {}, "Tempo ", tempo));
	const facts = [formatTime(piece.seconds), plural(piece.bars.length, "bar"), piece.made, source, ...score].join(" · ");
	const card = element("article", { "aria-labelledby": heading.id }, heading, element("p", { class: "quiet" }, facts), roll.element);
	card.append(sound.controls, ...actions(bars), legend(piece, sound.remix, extra), ...copiedPassage(piece), ...settings(piece));
	return { card, sound };
}

on(window, "keydown", (event) => {
	if (event.key !== " " || event.target.closest("input, select, textarea, button, summary, a") || !playing) return;
	playing.toggle();
	event.preventDefault();
});

function startStatic() {
	const { title, pieces } = JSON.parse(document.getElementById("data").textContent);
	document.title = `Listening page: ${title}`;
	document.getElementById("summary").textContent = `${plural(pieces.length, "piece")} from ${title}, newest first`;
	document.getElementById("pieces").append(...pieces.map((piece, index) => article(piece, index).card));
}

if (document.getElementById("data")) startStatic();
