// Reads the metrics of a snapshot, and fills in the elements that name one:
// data-metric, data-labels (a=b,c=d), data-show (value, rate, count, mean, p50,
// p95, recent.p95 …) and data-as, the format.
import { as, text } from "./dom.js";

export class Metrics {
  constructor(families) {
    this.families = families;
  }

  series(name, labels = {}) {
    const want = Object.entries(labels);
    return Object.values(this.families[name]?.series ?? {}).filter((s) => want.every(([k, v]) => s.labels?.[k] === v));
  }

  // sum is null if there is no such series, or one is not known.
  sum(name, labels, field = "value") {
    const all = this.series(name, labels);
    if (all.length === 0) return null;
    let sum = 0;
    for (const s of all) {
      if (typeof s[field] !== "number") return null;
      sum += s[field];
    }
    return sum;
  }

  // of is what an element shows. A histogram's fields are those of its first
  // series: the page names each by its labels.
  of(name, labels, show) {
    if (show === "value" || show === "rate") return this.sum(name, labels, show);
    const recent = show.startsWith("recent.");
    const one = this.series(name, labels)[0];
    const h = recent ? one?.recent : one;
    if (!h || typeof h.count !== "number") return null;
    const field = recent ? show.slice(7) : show;
    return field === "mean" ? (h.count > 0 ? h.sum / h.count : null) : h[field];
  }
}

// selector reads "a=b,c=d".
export const selector = (labels) => Object.fromEntries((labels ?? "").split(",").filter(Boolean).map((pair) => pair.split("=")));

const means = { value: "", rate: ", a second over the last 10 s", count: ", observations", mean: ", mean" };

export function fill(root, metrics) {
  for (const el of root.querySelectorAll("[data-metric]")) {
    const { metric, labels, show = "value", or, as: format = "count" } = el.dataset;
    const wanted = selector(labels);
    let value = metrics.of(metric, wanted, show);
    if (value === null && or) value = metrics.of(metric, wanted, or);
    el.dataset.value = value ?? "";
    text(el, as[format](value));
    el.title ||= `${metric}${labels ? `{${labels}}` : ""}${means[show] ?? `, ${show.replace("recent.", "last minute's ")}`}`;
  }
}
