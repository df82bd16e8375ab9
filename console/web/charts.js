// Charts in SVG. Each is drawn for the width it has, and reuses its nodes, so
// that a tooltip stays while the numbers move.
import { as } from "./dom.js";

const svgns = "http://www.w3.org/2000/svg";

// Layer hands out the children of a node in order, making those that lack.
class Layer {
  constructor(parent) {
    this.parent = parent;
    this.at = 0;
  }

  add(tag, attributes, content) {
    let el = this.parent.children[this.at];
    if (el?.tagName !== tag) {
      const made = document.createElementNS(svgns, tag);
      if (el) this.parent.replaceChild(made, el);
      else this.parent.append(made);
      el = made;
    }
    this.at++;
    for (const name of el.getAttributeNames()) if (!(name in attributes)) el.removeAttribute(name);
    for (const [name, value] of Object.entries(attributes)) if (el.getAttribute(name) !== String(value)) el.setAttribute(name, value);
    if (content !== undefined && el.textContent !== content) el.textContent = content;
    return el;
  }

  end() {
    while (this.parent.children.length > this.at) this.parent.lastElementChild.remove();
  }
}

function begin(svg, label) {
  const { width, height } = svg.getBoundingClientRect();
  const w = Math.max(120, Math.round(width));
  const h = Math.max(40, Math.round(height));
  svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
  if (svg.getAttribute("aria-label") !== label) svg.setAttribute("aria-label", label);
  return { w, h, layer: new Layer(svg) };
}

// nice rounds up to what is easily read.
export function nice(v) {
  if (!(v > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(v));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((m) => m * power).find((m) => m >= v * 0.9999);
}

// curve draws points [{at, y}] of the last span milliseconds; y of null is a
// gap.
export function curve(svg, points, { span, now, label, format = as.rate, unit = "" }) {
  const last = points.findLast((p) => p.y !== null);
  const peak = Math.max(0, ...points.map((p) => p.y ?? 0));
  const { w, h, layer } = begin(svg, `${label}: ${last ? format(last.y) : "not known"} now, at most ${format(peak)}${unit}`);
  const top = nice(peak);
  const left = 8 + 7 * Math.max(format(top).length, 2);
  const bottom = h - 18;
  const x = (at) => left + (w - left - 4) * (1 - (now - at) / span);
  const y = (v) => bottom - (bottom - 10) * (v / top);
  // Counts have no halves: a middle that reads as the top is left out.
  for (const v of format(top / 2) === format(top) ? [0, top] : [0, top / 2, top]) {
    layer.add("line", { class: "grid", x1: left, x2: w, y1: y(v), y2: y(v) });
    layer.add("text", { class: "tick", x: left - 6, y: y(v) + 4, "text-anchor": "end" }, format(v));
  }
  const step = [5, 10, 15, 30, 60].find((n) => (w - left) / (span / 1000 / n) > 62) ?? 150;
  for (let t = 0; t <= span / 1000; t += step) {
    const at = x(now - t * 1000);
    if (t > 0 && at < left + 24) break;
    layer.add("text", { class: "tick", x: at, y: h - 3, "text-anchor": t === 0 ? "end" : "middle" }, t === 0 ? "now" : t % 60 === 0 ? `−${t / 60} min` : t < 60 ? `−${t} s` : `−${Math.floor(t / 60)}:${String(t % 60).padStart(2, "0")}`);
  }
  let line = "";
  let area = "";
  let run = [];
  const flush = () => {
    if (run.length === 0) return;
    if (run.length === 1) run.push([run[0][0] + 1, run[0][1]]);
    const path = run.map(([px, py]) => `${px.toFixed(1)} ${py.toFixed(1)}`).join("L");
    line += `M${path}`;
    area += `M${run[0][0].toFixed(1)} ${bottom}L${path}L${run.at(-1)[0].toFixed(1)} ${bottom}Z`;
    run = [];
  };
  let before = null;
  for (const p of points) {
    if (p.y === null || (before !== null && p.at - before > 5000)) flush();
    if (p.y !== null && p.at >= now - span) run.push([x(p.at), y(p.y)]);
    before = p.at;
  }
  flush();
  layer.add("path", { class: "area", d: area });
  layer.add("path", { class: "line", d: line });
  if (last) layer.add("circle", { class: "mark", cx: x(last.at), cy: y(last.y), r: 3 });
  layer.end();
}

// columns draws [{label, n, title, strong}] as bars.
export function columns(svg, bars, { label, empty, limit }) {
  const total = bars.reduce((sum, b) => sum + b.n, 0);
  const { w, h, layer } = begin(svg, total > 0 ? `${label}: ${bars.filter((b) => b.n > 0).map((b) => `${b.label} ${as.count(b.n)}`).join(", ")}` : empty);
  const bottom = h - 18;
  const peak = Math.max(1, ...bars.map((b) => b.n));
  const step = w / Math.max(1, bars.length);
  layer.add("line", { class: "grid", x1: 0, x2: w, y1: bottom + 0.5, y2: bottom + 0.5 });
  bars.forEach((b, i) => {
    // The root keeps few changes visible beside many.
    const height = b.n > 0 ? Math.max(2, (bottom - 16) * Math.sqrt(b.n / peak)) : 0;
    const g = layer.add("g", { class: b.strong ? "col" : "col beyond" });
    const inner = new Layer(g);
    inner.add("title", {}, b.title);
    inner.add("rect", { class: "hit", x: i * step, y: 0, width: step, height: bottom });
    inner.add("rect", { class: "fill", x: i * step + step * 0.12, y: bottom - height, width: step * 0.76, height, rx: 2 });
    if (b.n > 0 && step > 26) inner.add("text", { class: "tick", x: (i + 0.5) * step, y: bottom - height - 4, "text-anchor": "middle" }, as.count(b.n).length > step / 7 ? "" : as.count(b.n));
    if (step > 34 || i % 2 === 0) inner.add("text", { class: "tick", x: (i + 0.5) * step, y: h - 3, "text-anchor": "middle" }, b.label);
    inner.end();
  });
  if (limit) {
    const at = limit.after * step;
    layer.add("line", { class: "limit", x1: at, x2: at, y1: 0, y2: bottom });
    layer.add("text", { class: "tick", x: at + 5, y: 10 }, limit.label);
  }
  if (total === 0) layer.add("text", { class: "tick", x: w / 2, y: bottom / 2 + 4, "text-anchor": "middle" }, empty);
  layer.end();
}
