"use strict";
// The page of profile.export_html: a flame chart of calls above the kernels that computed them, and tables of sums.
const data = JSON.parse(document.getElementById("data").textContent), words = data.words;
const $ = (id) => document.getElementById(id);
const ROW = 19, TOP = 22;
const calls = data.calls.map(([id, name, start, us, depth, kernel, line, shapes]) => ({ id, name, start, us, depth, kernel, line, shapes }));
const deepest = calls.reduce((d, c) => Math.max(d, c.depth), 0);
const kernels = data.kernels.map(([name, kind, start, us, events]) => ({ name, kind, start, us, events: new Set(events), depth: deepest + 2 }));
const bars = [...calls, ...kernels];
const begin = bars.reduce((t, b) => Math.min(t, b.start), Infinity), end = bars.reduce((t, b) => Math.max(t, b.start + b.us), 0);
const view = { from: Number.isFinite(begin) ? begin : 0, to: end > begin ? end : 1 };
let chosen = null, wanted = "";

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) if (key === "text") element.textContent = value; else element.setAttribute(key, value);
  element.append(...children);
  return element;
}
const time = (us) => (us >= 1e6 ? `${(us / 1e6).toPrecision(4)} s` : us >= 1e3 ? `${(us / 1e3).toPrecision(4)} ms` : `${us.toFixed(2)} µs`);

function colour(name) {
  let hash = 7;
  for (const c of name) hash = (hash * 31 + c.charCodeAt(0)) >>> 0;
  return `hsl(${hash % 360} 48% 74%)`;
}

const canvas = $("chart"), context = canvas.getContext("2d");
const across = (t) => ((t - view.from) / (view.to - view.from)) * canvas.clientWidth;
const related = (bar) => chosen && (chosen.events ? chosen.events.has(bar.id) : bar.events && bar.events.has(chosen.id));

function draw() {
  const w = canvas.clientWidth, h = TOP + (deepest + 4) * ROW, ratio = window.devicePixelRatio || 1;
  canvas.style.height = `${h}px`;
  canvas.width = w * ratio; canvas.height = h * ratio;
  context.scale(ratio, ratio);
  context.font = "11px system-ui, 'Noto Sans CJK SC', sans-serif";
  context.textBaseline = "middle";
  context.fillStyle = "#66727f";
  for (let k = 0; k <= 6; k++) context.fillText(time(view.from + ((view.to - view.from) * k) / 6 - begin), (w * k) / 6 + (k === 6 ? -60 : 3), 11);
  context.fillText(words.kernels, 4, TOP + (deepest + 1) * ROW + ROW / 2);
  const last = new Map(); // what is narrower than a pixel is drawn once a pixel
  for (const bar of bars) {
    const x = across(bar.start), width = Math.max(1, across(bar.start + bar.us) - x);
    if (x > w || x + width < 0) continue;
    const pixel = Math.floor(x), emphasised = bar === chosen || related(bar) || (wanted && matches(bar));
    if (width <= 1 && !emphasised) { if (last.get(bar.depth) === pixel) continue; last.set(bar.depth, pixel); }
    const y = TOP + bar.depth * ROW;
    context.globalAlpha = (wanted && !matches(bar)) || (chosen && bar.events && !emphasised) ? 0.35 : 1;
    context.fillStyle = colour(bar.name);
    context.fillRect(x, y, Math.max(0.8, width - 0.5), ROW - 2);
    if (emphasised) { context.strokeStyle = "#1d2733"; context.lineWidth = 1.5; context.strokeRect(x + 0.5, y + 0.5, width - 1, ROW - 3); }
    if (width > 34) {
      context.save();
      context.beginPath(); context.rect(x, y, width - 2, ROW); context.clip();
      context.fillStyle = "#1d2733";
      context.fillText(bar.name, Math.max(x, 0) + 3, y + ROW / 2 - 1);
      context.restore();
    }
    context.globalAlpha = 1;
  }
}

const matches = (bar) => `${bar.name} ${bar.line || ""}`.toLowerCase().includes(wanted);
function at(event) {
  const row = Math.floor((event.offsetY - TOP) / ROW), t = view.from + (event.offsetX / canvas.clientWidth) * (view.to - view.from), slack = (view.to - view.from) / canvas.clientWidth;
  let best = null;
  for (const bar of bars) if (bar.depth === row && bar.start - slack <= t && t <= bar.start + bar.us + slack && (!best || bar.us < best.us)) best = bar;
  return best;
}
function told(bar) {
  if (bar.events) return `${bar.kind}: ${bar.name}\n${time(bar.us)}, ${bar.events.size} ${words.calls}`;
  const lines = [bar.name, `${words.recording} ${time(bar.us)}`];
  if (bar.kernel > 0) lines.push(`${words.kernels} ${time(bar.kernel)}`);
  return [...lines, ...[bar.shapes, bar.line].filter(Boolean)].join("\n");
}

function zoom(factor, centre) {
  const t = view.from + centre * (view.to - view.from), width = Math.min(Math.max((view.to - view.from) * factor, 0.5), end - begin || 1);
  view.from = Math.max(begin, Math.min(t - centre * width, end - width));
  view.to = view.from + width;
  draw();
}
function pan(part) {
  const width = view.to - view.from, from = Math.max(begin, Math.min(view.from + part * width, end - width));
  [view.from, view.to] = [from, from + width];
  draw();
}

let drag = null;
canvas.addEventListener("wheel", (event) => { event.preventDefault(); if (event.shiftKey) pan(Math.sign(event.deltaY) * 0.1); else zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2, event.offsetX / canvas.clientWidth); }, { passive: false });
canvas.addEventListener("mousedown", (event) => (drag = { x: event.offsetX, moved: false }));
canvas.addEventListener("mousemove", (event) => {
  if (drag && event.buttons) {
    if (Math.abs(event.offsetX - drag.x) > 2) { drag.moved = true; pan((drag.x - event.offsetX) / canvas.clientWidth); drag.x = event.offsetX; }
    return;
  }
  const bar = at(event), tip = $("tip");
  tip.hidden = !bar;
  if (bar) { tip.textContent = told(bar); tip.style.left = `${Math.min(event.clientX + 12, window.innerWidth - tip.offsetWidth - 8)}px`; tip.style.top = `${event.clientY + 14}px`; }
});
canvas.addEventListener("mouseleave", () => ($("tip").hidden = true));
canvas.addEventListener("mouseup", (event) => { if (drag && !drag.moved) { chosen = at(event); draw(); } drag = null; });
canvas.addEventListener("dblclick", () => { [view.from, view.to] = [begin, end]; draw(); });
document.addEventListener("keydown", (event) => {
  if (event.target === $("search")) { if (event.key === "Escape") { $("search").value = ""; search(""); $("search").blur(); } return; }
  const acts = { "+": () => zoom(1 / 1.4, 0.5), "-": () => zoom(1.4, 0.5), ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2), "/": () => $("search").focus(), "0": () => { [view.from, view.to] = [begin, end]; draw(); } };
  if (acts[event.key] && !event.ctrlKey && !event.metaKey) { event.preventDefault(); acts[event.key](); }
});
function search(text) {
  wanted = text.trim().toLowerCase();
  $("found").textContent = wanted ? `${bars.filter(matches).length} ${words.found}` : "";
  draw();
}
$("search").addEventListener("input", (event) => search(event.target.value));
$("search").placeholder = words.searchCalls;
$("keys").textContent = words.timelineKeys;

function table(title, rows, head) {
  const most = Math.max(1e-9, ...rows.map((row) => row[2] + row[3]));
  const body = rows.slice(0, 100).map((row) => {
    const bar = make("div", { class: "bar" });
    bar.style.width = `${(100 * (row[2] + row[3])) / most}%`;
    const tr = make("tr", { "data-name": row[0] }, make("td", {}, make("div", { text: row[0] }), bar), ...row.slice(1).map((x, i) => make("td", { text: i ? time(x) : x })));
    tr.addEventListener("click", () => { $("search").value = row[0]; search(row[0]); });
    return tr;
  });
  return make("section", {}, make("h2", { text: title }), make("table", {}, make("tr", {}, ...head.map((text) => make("th", { text }))), ...body));
}

const loops = new Map();
for (const k of kernels) {
  const row = loops.get(k.name) || [k.name, 0, 0, 0];
  row[1]++; row[3] += k.us;
  loops.set(k.name, row);
}
const head = (name) => [name, words.calls, words.recording, words.kernels];
$("tables").append(table(words.byOp, data.tables.ops, head("")));
if (data.tables.lines.length) $("tables").append(table(words.byLine, data.tables.lines, head("")));
$("tables").append(table(words.byKernel, [...loops.values()].sort((a, b) => b[3] - a[3]), head("")));
window.addEventListener("resize", draw);
draw();
document.body.dataset.ready = "yes";
