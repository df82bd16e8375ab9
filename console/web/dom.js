// Small helpers to build the page. Text goes in as text: nothing here, or
// anywhere else, makes markup of a string.

export const $ = (id) => document.getElementById(id);

// text sets an element's text, if it is another.
export function text(el, value) {
  if (el.textContent !== value) el.textContent = value;
}

// make is an element with attributes and children, which are elements or text.
export function make(tag, attributes = {}, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) el.setAttribute(name, value === true ? "" : value);
  }
  el.append(...children.filter((c) => c !== null && c !== undefined && c !== ""));
  return el;
}

// keyed makes a list's children equal to what is given, reusing those whose
// key is the same, so that neither focus nor an open detail is lost.
export function keyed(parent, items, key, create, update = () => {}) {
  const old = new Map([...parent.children].map((el) => [el.dataset.key, el]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const k = String(key(item));
    let el = old.get(k);
    if (!el) {
      el = create(item);
      el.dataset.key = k;
    }
    old.delete(k);
    update(el, item);
    if (el === at) at = at.nextElementSibling;
    else parent.insertBefore(el, at);
  }
  for (const el of old.values()) el.remove();
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });

const known = (v) => typeof v === "number" && Number.isFinite(v);

// The formats; what is not known is a dash.
export const as = {
  count: (v) => (!known(v) ? "–" : Math.abs(v) < 1e7 ? whole.format(v) : compact.format(v)),
  rate: (v) => (!known(v) ? "–" : v === 0 ? "0" : v < 10 ? v.toFixed(1) : as.count(v)),
  share: (v) => (!known(v) ? "–" : v === 0 ? "0 %" : v === 1 ? "100 %" : `${(Math.min(0.9999, v) * 100).toFixed(v > 0.99 || v < 0.1 ? 2 : 1)} %`),
  seconds: (v) => {
    if (!known(v)) return "–";
    if (v === 0) return "0 s";
    if (v < 0.01) return `${(v * 1000).toFixed(1)} ms`;
    if (v < 1) return `${Math.round(v * 1000)} ms`;
    if (v < 100) return `${v.toFixed(v < 10 ? 1 : 0)} s`;
    if (v < 5400) return `${Math.round(v / 60)} min`;
    if (v < 172800) return `${(v / 3600).toFixed(1)} h`;
    return `${Math.round(v / 86400)} days`;
  },
  drain: (v) => (v === 0 ? "Level" : as.seconds(v)),
  bytes: (v) => {
    if (!known(v)) return "–";
    const units = ["B", "kB", "MB", "GB", "TB"];
    let i = 0;
    while (v >= 1000 && i < units.length - 1) {
      v /= 1000;
      i++;
    }
    return `${i === 0 || v >= 100 ? Math.round(v) : v.toFixed(1)} ${units[i]}`;
  },
};

// ago says how long ago a time was; of the future, by another clock, "now".
export function ago(time, now) {
  const s = (now - Date.parse(time)) / 1000;
  return !Number.isFinite(s) ? "–" : s < 1.5 ? "now" : `${as.seconds(s < 100 ? Math.round(s) : s).replace(".0", "")} ago`;
}
