"use strict";
// The page of flambeau.explain. All texts of the user's are put in by textContent, never as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const words = data.words, items = data.items, boxes = data.boxes;
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "text") element.textContent = value;
    else if (key === "click") element.addEventListener("click", value);
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((c) => c !== null && c !== undefined));
  return element;
}

function draw(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// --- the tree of boxes ----------------------------------------------------------------------------------------

const inBox = new Map([[-1, []]]); // what each box holds: items by number, boxes by -2 - number
for (const box of boxes) inBox.set(box.id, []);
for (const item of items) inBox.get(item.parent).push(item.id);
const held = new Array(boxes.length).fill(0); // how many operations are inside
const first = new Array(boxes.length).fill(Infinity);
const last = new Array(boxes.length).fill(null); // what the last operation inside gives
for (const item of items)
  for (let b = item.parent; b !== -1; b = boxes[b].parent) {
    held[b] += item.op ? 1 : 0;
    if (item.op && item.values.length) last[b] = item.values[0];
    first[b] = Math.min(first[b], item.id);
  }
for (const box of boxes) if (first[box.id] < Infinity) inBox.get(box.parent).push(-2 - box.id);
const isBox = (key) => key < -1;
const boxOf = (key) => boxes[-2 - key];
const orderOf = (key) => (isBox(key) ? first[-2 - key] : items[key].inputs.length || items[key].op ? key : key - items.length); // leaves come first
const parentOf = (key) => (isBox(key) ? boxOf(key).parent : items[key].parent);
const depthOf = (box) => (box.parent === -1 ? 0 : 1 + depthOf(boxes[box.parent]));

const folded = new Set(boxes.filter((b) => b.kind === "call").map((b) => b.id));
function countVisible() {
  let count = 0;
  const walk = (box) => { for (const key of inBox.get(box)) if (isBox(key) && !folded.has(-2 - key)) walk(-2 - key); else count++; };
  walk(-1);
  return count;
}
for (let depth = 6; depth >= 1 && countVisible() > 160; depth--)
  for (const box of boxes) if (depthOf(box) >= depth) folded.add(box.id);

function visible(id) { // the item itself, or the outermost folded box around it
  let key = id;
  for (let b = items[id].parent; b !== -1; b = boxes[b].parent) if (folded.has(b)) key = -2 - b;
  return key;
}

// --- layout: layers of what depends on what, each open box laid out by itself -------------------------------

const GAP = 18, LAYER = 34, PAD = 14, HEAD = 26;
function nameOf(id, numbered = true) { // ops of flambeau's own begin with "_"
  const { op, title } = items[id];
  if (!op && title) return title;
  return (op.replace(/^_/, "") || "tensor") + (numbered ? ` (${id})` : "");
}
const clip = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);
const shapeOf = (v) => (v ? `${v.dtype} [${v.shape.join(", ")}]` : "");

function labelsOf(key) {
  if (isBox(key)) {
    const box = boxOf(key), inside = held[box.id] > 1 ? ` · ${held[box.id]} ${words.inside}` : "";
    return [clip(box.kind === "module" ? `${box.name}: ${box.title}` : box.name, 34), clip(shapeOf(last[box.id]), 40) + inside];
  }
  const item = items[key];
  return [clip(nameOf(key, false), 34), clip(item.values.map(shapeOf).join(" "), 40)];
}
const widthOf = (text) => [...text].reduce((w, c) => w + (c.charCodeAt(0) > 0x2e80 ? 12.5 : 6.9), 0);

function lifted(box, key) { // the child of `box` that holds `key`; undefined: none does
  let at = key;
  while (true) {
    const parent = parentOf(at);
    if (parent === box) return at;
    if (parent === -1) return undefined;
    at = -2 - parent;
  }
}

function ancestors(key) {
  const found = [];
  for (let at = parentOf(key); ; at = boxes[at].parent) { found.push(at); if (at === -1) return found; }
}

function shownEdges() { // pairs of what is shown, each once, by the innermost box around both
  const seen = new Set(), byBox = new Map();
  for (const item of items)
    for (const [, source] of item.inputs) {
      if (typeof source !== "number") continue;
      const a = visible(source), b = visible(item.id), name = `${a},${b}`;
      if (a === b || seen.has(name)) continue;
      seen.add(name);
      const around = new Set(ancestors(a));
      const box = ancestors(b).find((k) => around.has(k));
      if (!byBox.has(box)) byBox.set(box, []);
      byBox.get(box).push({ a, b, from: lifted(box, a), to: lifted(box, b) });
    }
  return byBox;
}

function layout(box, edgesByBox) {
  const children = inBox.get(box).slice().sort((x, y) => orderOf(x) - orderOf(y));
  const cells = new Map();
  for (const key of children) {
    if (isBox(key) && !folded.has(-2 - key)) {
      const inner = layout(-2 - key, edgesByBox);
      const title = Math.min(60 + widthOf(labelsOf(key)[0]), 420);
      cells.set(key, { key, inner, w: Math.max(inner.w + 2 * PAD, title), h: inner.h + HEAD + PAD, up: [], down: [] });
    } else {
      const w = Math.max(56, ...labelsOf(key).map((t, i) => widthOf(t) * (i ? 0.88 : 1) + 18));
      cells.set(key, { key, w, h: 40, up: [], down: [] });
    }
  }
  const edges = edgesByBox.get(box) || [], pairs = new Map();
  for (const e of edges) {
    const low = cells.get(e.from), high = cells.get(e.to);
    if (low && high && orderOf(e.from) < orderOf(e.to)) pairs.set(`${e.from},${e.to}`, [low, high]);
  }
  const after = new Map(children.map((key) => [key, []])), before = new Map(children.map((key) => [key, 0]));
  for (const [low, high] of pairs.values()) { after.get(low.key).push(high); before.set(high.key, before.get(high.key) + 1); }
  for (const key of children) { // the order is that of the program, so what comes before has its layer
    const cell = cells.get(key);
    cell.layer = cell.layer || 0;
    for (const next of after.get(key)) next.layer = Math.max(next.layer || 0, cell.layer + 1);
  }
  for (const key of children) { // a leaf stands right above its first reader
    const readers = after.get(key);
    if (!before.get(key) && readers.length) cells.get(key).layer = Math.min(...readers.map((r) => r.layer)) - 1;
  }
  const layers = [];
  const put = (cell) => { (layers[cell.layer] = layers[cell.layer] || []).push(cell); };
  for (const key of children) put(cells.get(key));
  const routes = new Map();
  for (const [name, [low, high]] of pairs) {
    const span = high.layer - low.layer, route = [];
    let last = low;
    if (span > 1 && span <= 12)
      for (let l = low.layer + 1; l < high.layer; l++) {
        const dummy = { w: 6, h: 0, layer: l, up: [last], down: [] };
        last.down.push(dummy);
        put(dummy);
        route.push(dummy);
        last = dummy;
      }
    last.down.push(high);
    high.up.push(last);
    routes.set(name, route);
  }
  for (let l = 0; l < layers.length; l++) layers[l] = layers[l] || [];
  const rank = () => layers.forEach((cells) => cells.forEach((cell, i) => (cell.rank = i)));
  const centre = (cell, side) => (cell[side].length ? cell[side].reduce((s, c) => s + c.rank, 0) / cell[side].length : cell.rank);
  rank();
  for (let sweep = 0; sweep < 4; sweep++) {
    const side = sweep % 2 ? "down" : "up";
    for (const cells of sweep % 2 ? layers.slice().reverse() : layers) {
      const aim = new Map(cells.map((cell) => [cell, centre(cell, side)]));
      cells.sort((x, y) => aim.get(x) - aim.get(y));
      cells.forEach((cell, i) => (cell.rank = i));
    }
  }
  for (const cells of layers) { let x = 0; for (const cell of cells) { cell.x = x; x += cell.w + GAP; } }
  const middle = (cell) => cell.x + cell.w / 2;
  for (let sweep = 0; sweep < 6; sweep++) {
    const side = sweep % 2 ? "down" : "up";
    for (const cells of sweep % 2 ? layers.slice().reverse() : layers) {
      for (const cell of cells) {
        const near = cell[side];
        if (near.length) cell.x = near.reduce((s, c) => s + middle(c), 0) / near.length - cell.w / 2;
      }
      spread(cells);
    }
  }
  let left = Infinity, y = 0;
  for (const cells of layers) for (const cell of cells) left = Math.min(left, cell.x);
  let right = 0;
  for (const cells of layers) {
    const h = Math.max(0, ...cells.map((c) => c.h));
    for (const cell of cells) { cell.x -= left; cell.y = y + (h - cell.h) / 2; right = Math.max(right, cell.x + cell.w); }
    y += h + LAYER;
  }
  return { cells, routes, edges, w: right, h: Math.max(0, y - LAYER) };
}

function spread(cells) { // no two overlap, and all stay as near as can be to where they want to be
  const wanted = cells.map((c) => c.x);
  for (let i = 1; i < cells.length; i++) cells[i].x = Math.max(cells[i].x, cells[i - 1].x + cells[i - 1].w + GAP);
  let shift = 0;
  cells.forEach((c, i) => (shift += c.x - wanted[i]));
  for (const c of cells) c.x -= shift / cells.length;
}

// --- drawing --------------------------------------------------------------------------------------------------

let zoom = 1, shown = new Map(), edgeElements = [], svg = null;
const state = { mode: "forward", step: -1, picked: null };

function render() {
  const edgesByBox = shownEdges(), root = layout(-1, edgesByBox);
  shown = new Map();
  edgeElements = [];
  const margin = 24, width = root.w + 2 * margin, height = root.h + 2 * margin;
  svg = draw("svg", { width: width * zoom, height: height * zoom, viewBox: `0 0 ${width} ${height}`, role: "img" });
  const under = draw("g", {}), middle = draw("g", {}), over = draw("g", {});
  svg.append(under, middle, over);
  const place = (level, x, y) => {
    for (const [key, cell] of level.cells) {
      cell.left = x + cell.x;
      cell.top = y + cell.y;
      shown.set(key, cell);
      if (cell.inner) {
        drawBox(under, key, cell);
        place(cell.inner, cell.left + (cell.w - cell.inner.w) / 2, cell.top + HEAD);
      } else drawNode(over, key, cell);
    }
    level.at = [x, y];
  };
  place(root, margin, margin);
  const connect = (level) => {
    for (const e of level.edges) {
      const a = shown.get(e.a), b = shown.get(e.b);
      const points = [[a.left + a.w / 2, a.top + a.h]];
      for (const d of level.routes.get(`${e.from},${e.to}`) || []) points.push([level.at[0] + d.x + d.w / 2, level.at[1] + d.y]);
      points.push([b.left + b.w / 2, b.top]);
      let path = `M${points[0]}`;
      for (let i = 1; i < points.length; i++) {
        const [x0, y0] = points[i - 1], [x1, y1] = points[i], half = (y1 - y0) / 2;
        path += `C${x0},${y0 + half} ${x1},${y1 - half} ${x1},${y1}`;
      }
      const element = draw("path", { class: "edge", d: path });
      middle.append(element);
      edgeElements.push([e.a, e.b, element]);
    }
    for (const cell of level.cells.values()) if (cell.inner) connect(cell.inner);
  };
  connect(root);
  $("graph").replaceChildren(svg);
  mark();
}

function drawNode(parent, key, cell) {
  const item = isBox(key) ? null : items[key];
  const group = draw("g", { class: "node", transform: `translate(${cell.left},${cell.top})`, "data-key": key });
  if (item === null) {
    group.classList.add("folded");
    if (items.some((i) => i.error && visible(i.id) === key)) group.classList.add("failed");
  }
  else {
    if (!item.op) group.classList.add("leaf");
    if (item.links.length || item.grads.length) group.classList.add("wants");
    if (item.error) group.classList.add("failed");
    if (data.outputs.includes(key)) group.classList.add("output");
  }
  const [name, shape] = labelsOf(key);
  group.append(
    draw("rect", { width: cell.w, height: cell.h, rx: item && !item.op ? 14 : 5 }),
    draw("text", { x: cell.w / 2, y: 17, "text-anchor": "middle" }, name),
    draw("text", { class: "shape", x: cell.w / 2, y: 32, "text-anchor": "middle" }, shape),
  );
  group.addEventListener("click", () => pick(key));
  group.addEventListener("dblclick", () => toggle(key));
  cell.element = group;
  parent.append(group);
}

function drawBox(parent, key, cell) {
  const group = draw("g", { class: "box", transform: `translate(${cell.left},${cell.top})`, "data-key": key });
  const rect = draw("rect", { width: cell.w, height: cell.h, rx: 8 });
  rect.addEventListener("click", () => pick(key));
  rect.addEventListener("dblclick", () => toggle(key));
  group.append(rect, draw("text", { class: "title", x: 10, y: 17 }, `▾ ${labelsOf(key)[0]}`));
  cell.element = group;
  parent.append(group);
}

function toggle(key) {
  if (!isBox(key)) key = items[key].parent === -1 ? null : -2 - items[key].parent;
  if (key === null) return;
  const id = -2 - key;
  if (!folded.delete(id)) folded.add(id);
  render();
  pick(key);
}

// --- steps ----------------------------------------------------------------------------------------------------

const forward = items.filter((item) => item.op).map((item) => item.id);
const sequence = () => (state.mode === "forward" ? forward : data.backward);

function go(step) {
  const order = sequence();
  if (!order.length) return;
  state.step = Math.max(0, Math.min(order.length - 1, step));
  pick(order[state.step], true);
}

function setMode(mode) {
  state.mode = mode;
  state.step = -1;
  $("forward").setAttribute("aria-pressed", mode === "forward");
  $("backward").setAttribute("aria-pressed", mode === "backward");
  document.body.classList.toggle("back", mode === "backward");
  mark();
}

function pick(key, stepping) {
  state.picked = key;
  if (!stepping) state.step = isBox(key) ? state.step : sequence().indexOf(key);
  mark();
  detail(key);
  const cell = shown.get(isBox(key) ? shownBox(key) : visible(key));
  if (cell) reveal(cell);
}

function shownBox(key) { // a box, or the folded one around it
  let at = key;
  for (let b = boxOf(key).parent; b !== -1; b = boxes[b].parent) if (folded.has(b)) at = -2 - b;
  return at;
}

function reveal(cell) {
  const graph = $("graph"), x = (cell.left + cell.w / 2) * zoom, y = (cell.top + Math.min(cell.h, 60) / 2) * zoom;
  const out = x < graph.scrollLeft + 40 || x > graph.scrollLeft + graph.clientWidth - 40 || y < graph.scrollTop + 60 || y > graph.scrollTop + graph.clientHeight - 90;
  if (out) graph.scrollTo(x - graph.clientWidth / 2, y - graph.clientHeight / 2);
}

let found = new Set();
function mark() {
  const order = sequence(), past = new Set(order.slice(0, Math.max(0, state.step)).map(visible));
  const picked = state.picked, now = picked === null ? undefined : isBox(picked) ? shownBox(picked) : visible(picked);
  const hits = new Set([...found].map(visible));
  for (const [key, cell] of shown) {
    if (!cell.element || cell.inner) continue;
    cell.element.classList.toggle("past", past.has(key));
    cell.element.classList.toggle("now", key === now);
    cell.element.classList.toggle("match", hits.has(key));
  }
  for (const [a, b, element] of edgeElements) element.classList.toggle("now", (state.mode === "forward" ? b : a) === now && now !== undefined);
  $("place").textContent = order.length ? `${words.step} ${state.step + 1} ${words.of} ${order.length}` : "";
  $("previous").disabled = state.step <= 0;
  $("next").disabled = !order.length || state.step >= order.length - 1;
}

// --- what is told of a node -----------------------------------------------------------------------------------

const section = (title, ...content) => [make("h3", { text: title }), ...content];
const jump = (id) => make("a", { class: "jump", text: nameOf(id), click: () => pick(id) });
const number = (x) => (typeof x !== "number" ? String(x) : x === 0 ? "0" : Math.abs(x) >= 1e5 || Math.abs(x) < 1e-3 ? x.toExponential(2) : String(+x.toPrecision(4)));

function lineOf(site) {
  return site ? section(words.line, make("div", { class: "muted", text: `${site[0]}:${site[1]}` }), make("pre", { text: site[2] })) : [];
}

function showValue(value, kind) {
  if (!value) return make("div", { class: "muted", text: words.nothing });
  const parts = [make("div", { text: shapeOf(value) })];
  if (value.count === undefined) parts.push(make("div", { class: "muted", text: words.nothing }));
  if (value.min !== undefined && value.count > 1) {
    parts.push(make("div", { class: "muted", text: `${number(value.min)} … ${number(value.max)}, ${words.mean} ${number(value.mean)}, ${words.std} ${number(value.std)}` }));
    const zeros = value.zeros ? `${value.zeros} ${words.zeros}` : "";
    if (zeros) parts.push(make("div", { class: "muted", text: `${zeros} / ${value.count} ${words.elements}` }));
  }
  if (value.odd) parts.push(make("div", { class: "bad", text: `${value.odd} ${words.odd} / ${value.count}` }));
  if (value.bars && value.bars.length > 1 && value.count > 4) parts.push(histogram(value, kind));
  if (value.full !== undefined) parts.push(numbers(value));
  return make("div", {}, ...parts);
}

function histogram(value, kind) {
  const w = 240, h = 46, most = Math.max(...value.bars), step = w / value.bars.length;
  const chart = draw("svg", { width: w, height: h + 14, class: `bars ${kind || ""}` });
  value.bars.forEach((n, i) => {
    const height = n ? Math.max(1, (n / most) * h) : 0;
    chart.append(draw("rect", { x: i * step + 1, y: h - height, width: step - 2, height }));
  });
  chart.append(draw("text", { x: 0, y: h + 11 }, number(value.min)), draw("text", { x: w, y: h + 11, "text-anchor": "end" }, number(value.max)));
  return chart;
}

function numbers(value) {
  const rows = [];
  const walk = (x) => { if (!Array.isArray(x)) rows.push([x]); else if (!Array.isArray(x[0])) rows.push(x); else x.forEach(walk); };
  walk(value.full);
  const largest = Math.max(Math.abs(value.min ?? 0), Math.abs(value.max ?? 0)) || 1;
  const cell = (x) => {
    const td = make("td", { text: number(x) });
    if (typeof x === "number") td.style.background = x < 0 ? `rgba(179,84,30,${(0.45 * -x) / largest})` : `rgba(23,105,170,${(0.45 * x) / largest})`;
    else td.className = "bad";
    return td;
  };
  return make("div", { class: "full" }, make("table", { class: "full" }, ...rows.map((row) => make("tr", {}, ...row.map(cell)))));
}

function detail(key) {
  const side = $("detail");
  if (isBox(key)) {
    const box = boxOf(key);
    side.replaceChildren(
      make("h2", { text: box.name }),
      make("div", { class: "muted", text: box.title }),
      make("div", { class: "muted", text: `${held[box.id]} ${words.inside}` }),
      ...(box.formula ? section(words.formula, make("div", { class: "formula", text: box.formula })) : []),
      ...lineOf(box.site),
    );
    return;
  }
  const item = items[key], parts = [make("h2", { text: nameOf(key) })];
  parts.push(make("div", { class: "muted", text: item.op ? item.title : words.leaf }));
  if (item.error) parts.push(...section(words.failed, make("div", { class: "note bad", text: item.error })));
  if (item.formula) parts.push(...section(words.formula, make("div", { class: "formula", text: item.formula })));
  parts.push(...lineOf(item.site));
  const back = state.mode === "backward" ? gradients(item) : [];
  if (item.inputs.length) {
    const inputs = item.inputs.map(([name, source]) =>
      typeof source === "number"
        ? make("div", {}, `${name} = `, jump(source), make("span", { class: "muted", text: ` ${shapeOf(items[source].values[0])}` }))
        : make("div", { text: `${name} = ${source}` }),
    );
    parts.push(...back, ...section(words.inputs, ...inputs));
  } else parts.push(...back);
  item.values.forEach((value) => parts.push(...section(words.value, showValue(value))));
  if (state.mode === "forward") parts.push(...gradients(item));
  for (const [group, title] of [[item.group, words.ran], [item.rule, words.ranBack]])
    if (group !== null) parts.push(...section(title, groupOf(group)));
  side.replaceChildren(...parts);
  $("side").scrollTop = 0;
}

function gradients(item) {
  const parts = [];
  if (item.grads.length) for (const g of item.grads) parts.push(...section(words.gradient, showValue(g, "grad")));
  else if (data.backward.length && item.links.length) parts.push(...section(words.gradient, make("div", { class: "muted", text: words.noGradient })));
  if (item.op && item.links.length) {
    parts.push(make("h3", { text: words.chain }), make("div", { class: "muted", text: words.arrives }));
    for (const [to, name, rule] of item.links) {
      const input = name || "input";
      parts.push(make("pre", { text: `∂L/∂${input} = ∂L/∂out · ∂out/∂${input}` + (rule ? (rule.includes("\n") ? `\n\n${rule}` : `\n = ${rule}`) : "") }));
      if (to >= 0) parts.push(make("div", {}, make("span", { class: "muted", text: `${words.into} ` }), jump(to)));
    }
    if (item.made.length) parts.push(make("div", { class: "muted", text: `${words.made}: ${item.made.join(", ")}` }));
  }
  return parts;
}

// --- fusion ---------------------------------------------------------------------------------------------------

const longest = Math.max(1e-9, ...data.groups.map((g) => g.us));
const members = data.groups.map((_, k) => [items.filter((i) => i.group === k).map((i) => i.id), items.filter((i) => i.rule === k).map((i) => i.id)]);

function groupOf(k) {
  const group = data.groups[k];
  const bar = make("div", { class: "bar" });
  bar.style.width = `${Math.max(1, (100 * group.us) / longest)}%`;
  const kind = words[group.kind] || group.kind;
  return make("div", { class: "group", "data-group": k, click: () => { found = new Set([...members[k][0], ...members[k][1]]); mark(); } },
    make("div", { text: `${k}. ${kind}: ${clip(group.ops.join(", "), 120)}` }),
    make("div", { class: "muted", text: group.us ? `${number(group.us)} ${words.microseconds}` : "" }), bar);
}

function showFusion() {
  const parts = [make("h3", { text: words.fusion })];
  if (!data.groups.length) parts.push(make("div", { class: "muted", text: words.noGroups }));
  data.groups.forEach((group, k) => {
    parts.push(groupOf(k));
    for (const [name, text] of [[words.parts, group.text], [words.ir, group.ir], [words.code, group.code]])
      if (text) parts.push(make("details", {}, make("summary", { class: "muted", text: name }), make("pre", { text })));
  });
  $("fusion").replaceChildren(...parts);
}

// --- search, keys, beginning ----------------------------------------------------------------------------------

const haystack = items.map((item) => {
  const path = [];
  for (let b = item.parent; b !== -1; b = boxes[b].parent) path.push(boxes[b].name, boxes[b].title);
  return [item.op, item.title, ...item.values.map(shapeOf), item.site ? item.site.join(":") : "", ...path].join(" ").toLowerCase();
});

function search(text) {
  const wanted = text.trim().toLowerCase();
  found = new Set(wanted ? items.filter((item) => haystack[item.id].includes(wanted)).map((item) => item.id) : []);
  $("found").textContent = wanted ? `${found.size} ${words.found}` : "";
  mark();
}

let lastHit = -1;
function nextHit() {
  const hits = [...found].sort((a, b) => a - b);
  if (!hits.length) return;
  lastHit = hits.find((id) => id > lastHit) ?? hits[0];
  pick(lastHit);
}

function scale(factor) {
  zoom = Math.max(0.1, Math.min(3, zoom * factor));
  const box = svg.viewBox.baseVal;
  svg.setAttribute("width", box.width * zoom);
  svg.setAttribute("height", box.height * zoom);
}

function foldAll(fold) {
  for (const box of boxes) if (fold) folded.add(box.id); else folded.delete(box.id);
  render();
}

const keys = {
  ArrowRight: () => go(state.step + 1), ArrowLeft: () => go(state.step - 1), f: () => setMode("forward"), b: () => setMode("backward"),
  Home: () => go(0), End: () => go(sequence().length - 1), Enter: () => { if (state.picked !== null) toggle(state.picked); },
  "/": () => $("search").focus(), "+": () => scale(1.25), "-": () => scale(0.8), Escape: () => { $("search").value = ""; search(""); },
};
document.addEventListener("keydown", (event) => {
  if (event.target === $("search")) {
    if (event.key === "Enter") nextHit();
    if (event.key === "Escape") { keys.Escape(); $("search").blur(); }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
  if (event.key === "Enter" && event.target.tagName === "BUTTON") return;
  event.preventDefault();
  keys[event.key]();
});

$("title").textContent = data.title;
$("keys").textContent = words.keys;
$("search").placeholder = words.search;
$("search").addEventListener("input", () => { lastHit = -1; search($("search").value); });
for (const [id, act] of Object.entries({ forward: keys.f, backward: keys.b, fold: () => foldAll(true), unfold: () => foldAll(false) })) {
  $(id).textContent = words[id];
  $(id).addEventListener("click", act);
}
for (const [id, key] of Object.entries({ previous: "ArrowLeft", next: "ArrowRight", smaller: "-", larger: "+" })) $(id).addEventListener("click", keys[key]);
$("backward").disabled = !data.backward.length;
$("notes").replaceChildren(...data.notes.map((text) => make("p", { class: "note", text })));
$("detail").replaceChildren(make("p", { class: "muted", text: words.pick }));
showFusion();
render();
const failed = items.find((item) => item.error);
if (failed) pick(failed.id);
document.body.dataset.ready = "yes";
