"use strict";
// The page of flambeau board. It asks the server for what is in view, and again when there is more.
const { words } = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const TABS = ["scalars", "histograms", "images", "audio", "text", "curves", "hparams", "graphs", "compare"];
const COLOURS = ["#1769aa", "#d1651f", "#2a8c4a", "#8e44ad", "#c0392b", "#0e8a8a", "#9a7d0a", "#c2378b", "#5d6d7e", "#3f51b5", "#6b8e23", "#a0522d"];
const POLL = 1500;

const ui = { tab: "scalars", hidden: new Set(), runFilter: "", tagFilter: "", smoothing: 0.6, axis: "step", log: false, live: true };
let state = { runs: [], version: -1, complete: false };
let colours = new Map();

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "text") element.textContent = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((c) => c !== null));
  return element;
}

async function ask(path, parameters) {
  const query = new URLSearchParams();
  for (const [key, value] of parameters || []) query.append(key, value);
  const response = await fetch(`/api/${path}?${query}`);
  const found = await response.json();
  if (!response.ok) throw new Error(found.error);
  return found;
}

const number = (x) => (x === null || x === undefined ? "–" : x === 0 ? "0" : Math.abs(x) >= 1e6 || Math.abs(x) < 1e-3 ? x.toExponential(2) : String(+x.toPrecision(5)));
const swatch = (run) => { const s = make("span", { class: "colour" }); s.style.background = colours.get(run); return s; };
const matches = (text, filter) => {
  if (!filter) return true;
  try { return new RegExp(filter, "i").test(text); } catch { return text.toLowerCase().includes(filter.toLowerCase()); }
};
const chosen = () => state.runs.filter((run) => !ui.hidden.has(run.name) && matches(run.name, ui.runFilter));

function tagsOf(kind) { // by the part before the first slash
  const tags = new Set();
  for (const run of chosen()) for (const tag of Object.keys(run[kind])) if (matches(tag, ui.tagFilter)) tags.add(tag);
  const groups = new Map();
  for (const tag of [...tags].sort()) {
    const name = tag.includes("/") ? tag.split("/")[0] : "";
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(tag);
  }
  return groups;
}

// --- charts ---------------------------------------------------------------------------------------------------

class Chart {
  constructor(tag) {
    this.tag = tag;
    this.range = null;
    this.data = {};
    this.asked = "";
    this.visible = false;
    this.count = make("span", { class: "muted" });
    this.canvas = make("canvas", { title: words.zoom });
    this.element = make("div", { class: "card", "data-tag": tag }, make("h3", { text: tag }), this.canvas, this.count);
    this.canvas.addEventListener("mousemove", (event) => this.hover(event));
    this.canvas.addEventListener("mouseleave", () => { $("tip").hidden = true; this.draw(); });
    this.canvas.addEventListener("mousedown", (event) => (this.from = event.offsetX));
    this.canvas.addEventListener("mouseup", (event) => this.zoom(event.offsetX));
    this.canvas.addEventListener("dblclick", () => { this.range = null; this.load(); });
    watch.observe(this.element);
    this.element.chart = this;
  }

  get runs() { return chosen().filter((run) => this.tag in run.scalars); }

  async load() {
    const runs = this.runs, counts = runs.map((run) => `${run.name}:${run.scalars[this.tag]}`).join();
    const wanted = JSON.stringify([counts, ui.smoothing, ui.axis, this.range]);
    if (!this.visible || wanted === this.asked) return this.draw();
    this.asked = wanted;
    const parameters = [["tag", this.tag], ["smoothing", ui.smoothing], ["axis", ui.axis], ...runs.map((run) => ["run", run.name])];
    if (this.range) parameters.push(["low", this.range[0]], ["high", this.range[1]]);
    try {
      const found = await ask("scalars", parameters);
      if (wanted === this.asked) { this.data = found; this.draw(); }
    } catch { this.asked = ""; }
  }

  frame() {
    const series = Object.entries(this.data), usable = (v) => v !== null && (!ui.log || v > 0);
    let x0 = Infinity, x1 = -Infinity, y0 = Infinity, y1 = -Infinity;
    for (const [, s] of series)
      for (let i = 0; i < s.x.length; i++) {
        x0 = Math.min(x0, s.x[i]); x1 = Math.max(x1, s.x[i]);
        for (const v of [s.s[i], s.y[i]]) if (usable(v)) { y0 = Math.min(y0, v); y1 = Math.max(y1, v); }
      }
    if (this.range) [x0, x1] = this.range;
    if (!(x1 >= x0)) [x0, x1] = [0, 1];
    if (!(y1 >= y0)) [y0, y1] = ui.log ? [0.1, 1] : [0, 1];
    if (x0 === x1) { x0 -= 0.5; x1 += 0.5; }
    if (ui.log) { y0 = Math.log10(y0); y1 = Math.log10(y1); }
    const room = (y1 - y0) * 0.06 || Math.abs(y0) * 0.1 || 0.5;
    return { x0, x1, y0: y0 - room, y1: y1 + room };
  }

  draw(cursor) {
    const canvas = this.canvas, w = canvas.clientWidth, h = canvas.clientHeight, ratio = window.devicePixelRatio || 1;
    if (!w) return;
    canvas.width = w * ratio; canvas.height = h * ratio;
    const c = canvas.getContext("2d");
    c.scale(ratio, ratio);
    const f = (this.f = { ...this.frame(), left: 58, top: 8, width: w - 68, height: h - 34 });
    const px = (x) => f.left + ((x - f.x0) / (f.x1 - f.x0)) * f.width;
    const py = (y) => f.top + (1 - ((ui.log ? Math.log10(y) : y) - f.y0) / (f.y1 - f.y0)) * f.height;
    this.px = px;
    c.font = "11px system-ui";
    c.fillStyle = "#66727f"; c.strokeStyle = "#e3e8ed"; c.lineWidth = 1;
    c.textAlign = "right"; c.textBaseline = "middle";
    for (const t of ticks(f.y0, f.y1, 5)) { const y = f.top + (1 - (t - f.y0) / (f.y1 - f.y0)) * f.height; line(c, f.left, y, f.left + f.width, y); c.fillText(number(ui.log ? 10 ** t : t), f.left - 5, y); }
    c.textAlign = "center"; c.textBaseline = "top";
    for (const t of ticks(f.x0, f.x1, 5)) { const x = px(t); line(c, x, f.top, x, f.top + f.height); c.fillText(ui.axis === "wall" ? new Date(t * 1000).toLocaleTimeString() : number(t), x, f.top + f.height + 5); }
    c.save();
    c.beginPath(); c.rect(f.left, f.top, f.width, f.height); c.clip();
    const curve = (s, key, alpha, width, colour) => {
      c.globalAlpha = alpha; c.lineWidth = width; c.strokeStyle = c.fillStyle = colour;
      c.beginPath();
      let open = false, drawn = 0;
      for (let i = 0; i < s.x.length; i++) {
        const v = s[key][i];
        if (v === null || (ui.log && v <= 0)) { open = false; continue; }
        if (open) c.lineTo(px(s.x[i]), py(v)); else c.moveTo(px(s.x[i]), py(v));
        open = true; drawn++;
      }
      c.stroke();
      if (drawn === 1) for (let i = 0; i < s.x.length; i++) if (s[key][i] !== null) { c.beginPath(); c.arc(px(s.x[i]), py(s[key][i]), 3, 0, 7); c.fill(); }
    };
    for (const [run, s] of Object.entries(this.data)) if (ui.smoothing > 0) curve(s, "y", 0.25, 1, colours.get(run));
    for (const [run, s] of Object.entries(this.data)) curve(s, "s", 1, 1.7, colours.get(run));
    c.globalAlpha = 1;
    if (cursor !== undefined) { c.strokeStyle = "#66727f"; line(c, cursor, f.top, cursor, f.top + f.height); }
    if (cursor !== undefined && this.from !== undefined) { c.fillStyle = "#1769aa22"; c.fillRect(Math.min(this.from, cursor), f.top, Math.abs(cursor - this.from), f.height); }
    c.restore();
    const points = Object.values(this.data).reduce((n, s) => n + s.count, 0);
    this.count.textContent = `${points.toLocaleString()} ${words.points}`;
  }

  at(x) { return this.f.x0 + ((x - this.f.left) / this.f.width) * (this.f.x1 - this.f.x0); }

  hover(event) {
    if (!this.f) return;
    if (!event.buttons) this.from = undefined;
    this.draw(event.offsetX);
    const x = this.at(event.offsetX), rows = [];
    for (const [run, s] of Object.entries(this.data)) {
      if (!s.x.length) continue;
      let low = 0, high = s.x.length - 1;
      while (high - low > 1) { const middle = (low + high) >> 1; if (s.x[middle] < x) low = middle; else high = middle; }
      const i = x - s.x[low] < s.x[high] - x ? low : high;
      rows.push(make("div", {}, swatch(run), make("span", { text: `${run}  ${words.step} ${s.steps[i]}: ${number(s.s[i])} (${number(s.y[i])})` })));
    }
    const tip = $("tip");
    tip.replaceChildren(...rows);
    tip.hidden = !rows.length;
    tip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 8)}px`;
  }

  zoom(x) {
    if (this.from !== undefined && Math.abs(x - this.from) > 6) {
      this.range = [this.at(Math.min(x, this.from)), this.at(Math.max(x, this.from))];
      this.load();
    }
    this.from = undefined;
  }
}

function line(c, x0, y0, x1, y1) { c.beginPath(); c.moveTo(x0, y0); c.lineTo(x1, y1); c.stroke(); }

function ticks(low, high, about) {
  const raw = (high - low) / about, power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= raw);
  const found = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9 && found.length < 20; t += step) found.push(Math.abs(t) < step * 1e-9 ? 0 : t);
  return found;
}

const watch = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const chart = entry.target.chart;
    chart.visible = entry.isIntersecting;
    if (chart.visible) chart.load();
  }
}, { rootMargin: "200px" });

// --- histograms, pictures, sounds, texts ----------------------------------------------------------------------

class Card { // one tag of one run; `load` is called when it comes into view, and when there is more
  constructor(kind, tag, run) {
    Object.assign(this, { kind, tag, run, visible: false, shown: -1 });
    this.body = make("div");
    this.element = make("div", { class: kind === "graphs" ? "card wide" : "card", "data-tag": tag }, make("h3", { text: tag }), make("div", { class: "muted" }, swatch(run), ` ${run}`), this.body);
    this.element.chart = this;
    watch.observe(this.element);
  }

  async load() {
    const run = state.runs.find((r) => r.name === this.run), count = run ? run[this.kind][this.tag] || 0 : 0;
    if (!this.visible || count === this.shown) return;
    this.shown = count;
    const about = [["run", this.run], ["tag", this.tag]];
    try {
      if (this.kind === "histograms") ridges(this.body, await ask("histograms", about), colours.get(this.run));
      else if (this.kind === "curves") this.curves(await ask("curves", about));
      else if (this.kind === "graphs") await this.graph();
      else if (this.kind === "text") this.body.replaceChildren(...(await ask("text", about)).reverse().map((t) => make("div", {}, make("div", { class: "muted", text: `${words.step} ${t.step}` }), make("pre", { text: t.text }))));
      else this.media(await ask("steps", [...about, ["kind", this.kind]]), about);
    } catch { this.shown = -1; }
  }

  follow(last) { // the last one is shown until another is chosen
    if (this.index === undefined || this.index >= this.last) this.index = last;
    this.last = last;
  }

  curves(found) {
    this.follow(found.length - 1);
    const label = make("div", { class: "muted" }), canvas = make("canvas");
    const show = () => {
      label.textContent = `${words.step} ${found[this.index].step}: ↑ ${words.precision}, → ${words.recall}`;
      precision(canvas, found[this.index], colours.get(this.run));
    };
    const slider = make("input", { type: "range", min: 0, max: this.last, value: this.index, oninput: (event) => { this.index = +event.target.value; show(); } });
    this.body.replaceChildren(...(this.last > 0 ? [slider] : []), label, canvas);
    show();
  }

  async graph() {
    this.open = this.open || new Set();
    const found = await ask("graph", [["run", this.run], ["tag", this.tag], ...[...this.open].map((path) => ["open", path])]);
    const again = (change) => () => { change(); this.graph().catch(() => {}); };
    const folds = found.open.map((path) => make("button", { text: `${words.fold} ${path.split("/").slice(1).join("/")}`, onclick: again(() => this.open.forEach((p) => { if (p === path || p.startsWith(path + "/")) this.open.delete(p); })) }));
    this.body.replaceChildren(make("div", { class: "muted", text: words.unfold }), ...folds, layers(found, (path) => again(() => this.open.add(path))));
  }

  media(steps, about) {
    this.follow(steps.length - 1);
    const last = this.last;
    const label = make("div", { class: "muted" });
    const shown = this.kind === "images" ? make("img", { alt: this.tag }) : make("audio", { controls: "" });
    const show = () => {
      label.textContent = `${words.step} ${steps[this.index]}`;
      shown.src = `/api/blob?${new URLSearchParams([...about, ["kind", this.kind], ["index", this.index]])}`;
    };
    const slider = make("input", { type: "range", min: 0, max: last, value: this.index, oninput: (event) => { this.index = +event.target.value; show(); } });
    this.body.replaceChildren(...(last > 0 ? [slider] : []), label, shown);
    show();
  }
}

function ridges(body, data, colour) {
  if (!data.rows) return;
  const canvas = make("canvas"), label = make("div", { class: "muted" });
  body.replaceChildren(canvas, label);
  label.textContent = `${words.step} ${data.steps[0]} … ${data.steps[data.steps.length - 1]}, ${data.count} ${words.histograms}`;
  const w = canvas.clientWidth, h = canvas.clientHeight, ratio = window.devicePixelRatio || 1;
  canvas.width = w * ratio; canvas.height = h * ratio;
  const c = canvas.getContext("2d");
  c.scale(ratio, ratio);
  const most = Math.max(1e-12, ...data.rows.flat()), rows = data.rows.length, bins = data.rows[0].length;
  const left = 8, right = 52, bottom = 20, tall = Math.min(70, h / 3), room = h - bottom - tall;
  data.rows.forEach((row, k) => { // the oldest at the back
    const base = tall + (rows > 1 ? (k / (rows - 1)) * room : room);
    c.beginPath();
    c.moveTo(left, base);
    row.forEach((n, i) => c.lineTo(left + ((i + 0.5) / bins) * (w - left - right), base - (n / most) * tall));
    c.lineTo(w - right, base);
    c.closePath();
    c.globalAlpha = 0.35 + (0.55 * (k + 1)) / rows;
    c.fillStyle = colour; c.fill();
    c.globalAlpha = 1;
    c.strokeStyle = "#fff"; c.lineWidth = 0.8; c.stroke();
    if (k === 0 || k === rows - 1) { c.fillStyle = "#66727f"; c.font = "11px system-ui"; c.fillText(data.steps[k], w - right + 5, base); }
  });
  c.fillStyle = "#66727f"; c.font = "11px system-ui";
  for (const t of ticks(data.low, data.high, 5)) { c.textAlign = "center"; c.fillText(number(t), left + ((t - data.low) / (data.high - data.low)) * (w - left - right), h - 5); }
}

function precision(canvas, curve, colour) {
  const w = canvas.clientWidth, h = canvas.clientHeight, ratio = window.devicePixelRatio || 1, left = 34, top = 8, bottom = 22;
  canvas.width = w * ratio; canvas.height = h * ratio;
  const c = canvas.getContext("2d"), px = (r) => left + r * (w - left - 10), py = (p) => top + (1 - p) * (h - top - bottom);
  c.scale(ratio, ratio);
  c.font = "11px system-ui"; c.fillStyle = "#66727f"; c.strokeStyle = "#e3e8ed";
  for (const t of [0, 0.25, 0.5, 0.75, 1]) {
    line(c, px(0), py(t), px(1), py(t)); line(c, px(t), py(0), px(t), py(1));
    c.textAlign = "right"; c.fillText(t, left - 5, py(t) + 4);
    c.textAlign = "center"; c.fillText(t, px(t), h - 6);
  }
  c.strokeStyle = colour; c.lineWidth = 1.8;
  c.beginPath();
  curve.recall.forEach((r, i) => { if (r || curve.precision[i]) c.lineTo(px(r), py(curve.precision[i])); }); // beyond the surest answer there is none
  c.stroke();
}

// --- graphs ---------------------------------------------------------------------------------------------------

function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) if (key.startsWith("on")) element.addEventListener(key.slice(2), value); else element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function layers(found, open) {
  const wide = 190, tall = 40, apart = 26, beside = 18, across = new Map();
  for (const box of found.boxes) across.set(box.layer, (across.get(box.layer) || 0) + 1);
  const most = Math.max(1, ...across.values()), width = most * (wide + beside) + beside, height = (across.size || 1) * (tall + apart) + apart;
  const x = (box) => (width - across.get(box.layer) * (wide + beside) + beside) / 2 + box.column * (wide + beside), y = (box) => apart / 2 + box.layer * (tall + apart);
  const arrows = found.arrows.map(([from, to]) => {
    const a = found.boxes[from], b = found.boxes[to], x0 = x(a) + wide / 2, y0 = y(a) + tall, x1 = x(b) + wide / 2, y1 = y(b), side = b.layer - a.layer > 1 ? wide * 0.62 : 0;
    return svg("path", { d: `M${x0} ${y0}C${x0 + side} ${y0 + apart} ${x1 + side} ${y1 - apart} ${x1} ${y1}`, class: "arrow" });
  });
  const boxes = found.boxes.map((box) => {
    const module = box.kind === "module", more = [box.shape ? `[${box.shape.join(", ")}]` : "", box.operations > 1 ? `${box.operations} ${words.operations}` : ""].filter(Boolean).join(" · ");
    const label = svg("text", { x: wide / 2, y: more ? 17 : 25 }), below = svg("text", { x: wide / 2, y: 32, class: "muted" }), whole = svg("title", {});
    label.textContent = box.label.length > 26 ? box.label.slice(0, 25) + "…" : box.label;
    below.textContent = more;
    whole.textContent = box.key + (box.weights ? `: ${box.weights} ${words.weights}` : "");
    return svg("g", { class: module ? "module" : box.kind.includes("IO") ? "end" : "op", "data-key": box.key, transform: `translate(${x(box)} ${y(box)})`, ...(module ? { onclick: open(box.key) } : {}) },
      svg("rect", { width: wide, height: tall, rx: module ? 8 : 3 }), label, below, whole);
  });
  return make("div", { class: "graph" }, svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height }, ...arrows, ...boxes));
}

// --- settings and what came of them ---------------------------------------------------------------------------

async function settings(content) {
  const shown = new Set(chosen().map((run) => run.name)), found = (await ask("hparams")).filter((row) => shown.has(row.run));
  const columns = ["settings", "metrics"].flatMap((kind) => [...new Set(found.flatMap((row) => Object.keys(row[kind])))].sort().map((name) => [kind, name]));
  const cell = (row, [kind, name]) => (kind === "run" ? row.run : row[kind][name]);
  const show = (value) => (typeof value === "string" ? value : number(value));
  const sort = ui.sort;
  if (sort) found.sort((a, b) => { const p = cell(a, sort.column), q = cell(b, sort.column); return sort.down * (p === q ? 0 : p === undefined || p === null ? 1 : q === undefined || q === null ? -1 : p < q ? -1 : 1); });
  const head = [["run", words.run], ...columns].map((column) => make("th", { class: column[0], text: column[1] + (sort && sort.column[1] === column[1] ? (sort.down > 0 ? " ▲" : " ▼") : ""),
    onclick: () => { ui.sort = { column, down: sort && sort.column[1] === column[1] ? -sort.down : 1 }; settings(content).catch(() => {}); } }));
  const rows = found.map((row) => make("tr", {}, make("td", {}, swatch(row.run), ` ${row.run}`), ...columns.map((column) => make("td", { class: column[0], text: show(cell(row, column)) }))));
  if (ui.tab === "hparams") content.replaceChildren(make("p", { class: "muted", text: words.sort }), make("table", { id: "settings" }, make("tr", {}, ...head), ...rows));
}

// --- comparing ------------------------------------------------------------------------------------------------

async function compare(content) {
  const runs = chosen(), tags = [...tagsOf("scalars").values()].flat();
  const head = make("tr", {}, make("th", { text: words.tag }), ...runs.map((run) => make("th", {}, swatch(run.name), ` ${run.name}`)));
  const table = make("table", { id: "comparison" }, head);
  for (const tag of tags) {
    const found = await ask("scalars", [["tag", tag], ["smoothing", 0], ...runs.map((run) => ["run", run.name])]);
    const cells = runs.map((run) => {
      const known = found[run.name] ? found[run.name].y.filter((v) => v !== null) : [];
      if (!known.length) return make("td", { text: "–" });
      return make("td", { title: `${words.least} ${number(Math.min(...known))}, ${words.largest} ${number(Math.max(...known))}` }, make("b", { text: number(known[known.length - 1]) }), make("div", { class: "muted", text: `${number(Math.min(...known))} … ${number(Math.max(...known))}` }));
    });
    table.append(make("tr", {}, make("td", { text: tag }), ...cells));
  }
  if (ui.tab === "compare") content.replaceChildren(make("p", { class: "muted", text: `${words.last}; ${words.least} … ${words.largest}` }), table);
}

// --- the page -------------------------------------------------------------------------------------------------

let cards = new Map();
let structure = "";

function build() { // what there is changes seldom: charts stay as long as their tags do
  const content = $("content");
  const table = { compare, hparams: settings }[ui.tab];
  if (table) { structure = ""; cards.clear(); table(content).catch(() => {}); return; }
  const groups = tagsOf(ui.tab), runs = chosen();
  const wanted = JSON.stringify([ui.tab, [...groups], ui.tab === "scalars" ? 0 : runs.map((run) => run.name)]);
  if (wanted !== structure) {
    structure = wanted;
    const before = cards;
    cards = new Map();
    const parts = [];
    for (const [name, tags] of groups) {
      const grid = make("div", { class: "cards" });
      for (const tag of tags)
        for (const run of ui.tab === "scalars" ? [""] : runs.filter((r) => tag in r[ui.tab]).map((r) => r.name)) {
          const key = JSON.stringify([ui.tab, tag, run]);
          const card = before.get(key) || (ui.tab === "scalars" ? new Chart(tag) : new Card(ui.tab, tag, run));
          cards.set(key, card);
          grid.append(card.element);
        }
      parts.push(make("h2", { text: name }), grid);
    }
    if (!parts.length) parts.push(make("p", { class: "muted", text: words.nothing }));
    content.replaceChildren(...parts);
  }
  for (const card of cards.values()) if (card.visible) card.load();
}

function showRuns() {
  const rows = state.runs.filter((run) => matches(run.name, ui.runFilter)).map((run) => {
    const box = make("input", { type: "checkbox", onchange: () => { if (box.checked) ui.hidden.delete(run.name); else ui.hidden.add(run.name); build(); } });
    box.checked = !ui.hidden.has(run.name);
    return make("label", {}, box, swatch(run.name), make("span", { text: run.name }), ...run.damaged.map((text) => make("span", { class: "bad", text })));
  });
  $("runs").replaceChildren(...rows);
  for (const tab of TABS) {
    const kind = tab === "compare" ? "scalars" : tab;
    $(`tab-${tab}`).hidden = tab !== "scalars" && !state.runs.some((run) => (tab === "hparams" ? run.settings : Object.keys(run[kind]).length));
  }
}

async function poll() {
  try {
    const before = state, next = await ask("state");
    state = next;
    $("status").textContent = next.complete ? "" : words.reading;
    if (next.version !== before.version) {
      next.runs.forEach((run) => { if (!colours.has(run.name)) colours.set(run.name, COLOURS[colours.size % COLOURS.length]); });
      showRuns();
      build();
    }
    document.body.dataset.ready = next.complete ? "yes" : "no";
    document.body.dataset.version = next.version;
  } catch { $("status").textContent = words.gone; }
  setTimeout(() => (ui.live || !state.complete ? poll() : wait()), state.complete ? POLL : 50);
}
function wait() { setTimeout(() => (ui.live ? poll() : wait()), 300); }

for (const tab of TABS)
  $("tabs").append(make("button", { id: `tab-${tab}`, text: words[tab], "aria-pressed": tab === ui.tab, onclick: () => {
    ui.tab = tab;
    for (const other of TABS) $(`tab-${other}`).setAttribute("aria-pressed", other === tab);
    build();
  } }));
for (const axis of ["step", "relative", "wall"]) $("axis").append(make("option", { value: axis, text: words[axis] }));
for (const [id, word] of [["smoothing-name", "smoothing"], ["axis-name", "axis"], ["log-name", "log"], ["live-name", "live"], ["runs-name", "runs"], ["all", "all"], ["none", "none"]]) $(id).textContent = words[word];
$("filter-runs").placeholder = words.filterRuns;
$("filter-tags").placeholder = words.filterTags;
const showSmoothing = () => ($("smoothing-value").textContent = ui.smoothing.toFixed(3));
showSmoothing();
$("smoothing").addEventListener("input", (event) => { ui.smoothing = +event.target.value; showSmoothing(); build(); });
$("axis").addEventListener("change", (event) => { ui.axis = event.target.value; for (const card of cards.values()) card.range = null; build(); });
$("log").addEventListener("change", (event) => { ui.log = event.target.checked; build(); });
$("live").addEventListener("change", (event) => (ui.live = event.target.checked));
$("filter-runs").addEventListener("input", (event) => { ui.runFilter = event.target.value; showRuns(); build(); });
$("filter-tags").addEventListener("input", (event) => { ui.tagFilter = event.target.value; build(); });
$("all").addEventListener("click", () => { ui.hidden.clear(); showRuns(); build(); });
$("none").addEventListener("click", () => { ui.hidden = new Set(state.runs.map((run) => run.name)); showRuns(); build(); });
window.addEventListener("resize", () => { for (const card of cards.values()) if (card.draw) card.draw(); });
poll();
