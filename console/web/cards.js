// What each card shows beyond the numbers that name their metric.
import { $, ago, as, keyed, make, text } from "./dom.js";
import { columns, curve } from "./charts.js";
import { fill } from "./metrics.js";

// The curves show five minutes, or less while less is known.
const longest = 5 * 60 * 1000;
const shortest = 60 * 1000;

export function draw(snapshot, metrics, history) {
  const now = Date.parse(snapshot.at);
  fill(document.body, metrics);
  header(snapshot);
  curves(history, now);
  freshness(snapshot, metrics);
  saved(snapshot, metrics);
  batches(metrics);
  partitions(metrics);
  index(snapshot, now);
  letters(snapshot, metrics, now);
  text($("uptime"), snapshot.started ? as.seconds(now / 1000 - snapshot.started) : "–");
}

function header(s) {
  text($("alias"), s.index || "–");
  const own = s.index_facts.value?.collections.find((c) => c.serving);
  text($("collection"), own?.name ?? "–");
  text($("version"), `Chunktide ${s.version || "–"}`);
  text($("model"), s.model || "–");
  const [state, words] = s.unwell ? ["bad", `Stuck: ${s.unwell}`] : s.unready ? ["warn", `Not ready: ${s.unready}`] : ["ok", "Ready"];
  $("ready").dataset.state = state;
  text($("ready-text"), words);
  const search = $("search-card");
  if (search.hidden === s.search) search.hidden = !s.search;
  const banner = $("banner");
  banner.hidden = !s.metrics_error;
  text(banner, s.metrics_error ? `Some metrics could not be read: ${s.metrics_error}` : "");
}

function curves(history, now) {
  const span = Math.min(longest, Math.max(shortest, history.length > 0 ? now - history[0].ms : 0));
  const points = (field) => history.map((p) => ({ at: p.ms, y: p[field] }));
  curve($("chart-events"), points("events"), { span, now, label: "Events a second", unit: " a second" });
  curve($("chart-lag"), points("lag"), { span, now, label: "Backlog in events", format: as.count });
}

// buckets are a histogram's bars: cumulative counts become counts.
function buckets(h) {
  let below = 0;
  return (h?.buckets ?? []).map(({ le, n }) => {
    const bar = { le, n: n - below };
    below = n;
    return bar;
  });
}

function freshness(s, metrics) {
  const h = metrics.series("chunktide_freshness_seconds")[0];
  text($("within"), as.share(s.within));
  $("within").dataset.value = s.within ?? "";
  text($("objective"), as.seconds(s.objective).replace(".0", ""));
  const tight = (v) => as.seconds(v).replace(".0", "").replaceAll(" ", "");
  let from = 0;
  const bars = buckets(h).map(({ le, n }) => {
    const bar = {
      n, strong: le !== null && le <= s.objective, label: le === null ? "more" : tight(le),
      title: le === null ? `${as.count(n)} took longer than ${as.seconds(from)}` : `${as.count(n)} took up to ${as.seconds(le)}, and more than ${as.seconds(from)}`,
    };
    from = le;
    return bar;
  });
  columns($("chart-freshness"), bars, {
    label: "Changes by how long they took", empty: "No change has become searchable yet",
    limit: bars.length > 0 && { after: bars.filter((b) => b.strong).length, label: "objective" },
  });
}

function bar(el, parts) {
  const total = parts.reduce((sum, p) => sum + p.n, 0);
  keyed(el, total > 0 ? parts.filter((p) => p.n > 0) : [], (p) => p.name, (p) => make("span", { class: `part ${p.tone}` }), (node, p) => {
    node.style.flexGrow = p.n / total;
    node.title = `${p.name}: ${as.count(p.n)}`;
  });
}

// legend names the parts of a bar, with the numbers that are no metric's own.
function legend(el, parts) {
  keyed(el, parts.filter((p) => p.n > 0), (p) => p.name, (p) => make("li", {}, make("span", { class: `swatch ${p.tone}`, "aria-hidden": "true" }), `${p.name} `, make("span", { class: "n" })),
    (node, p) => text(node.querySelector(".n"), as.count(p.n)));
}

function saved(s, metrics) {
  const calls = metrics.sum("chunktide_model_calls_total", { kind: "document" });
  const spared = metrics.sum("chunktide_model_calls_saved_total");
  const hits = (tier) => metrics.sum("chunktide_cache_lookups_total", { tier, result: "hit" }) ?? 0;
  text($("saved-share"), as.share(calls + spared > 0 ? spared / (calls + spared) : null));
  const parts = [
    { name: "memory", tone: "a", n: hits("memory") }, { name: "Redis", tone: "d", n: hits("redis") },
    { name: "stored or superseded", tone: "c", n: Math.max(0, (spared ?? 0) - hits("memory") - hits("redis")) }, { name: "model", tone: "off", n: calls ?? 0 },
  ];
  bar($("saved-bar"), parts);
  legend($("saved-legend"), parts);
  for (const tier of ["memory", "redis"]) {
    const hit = metrics.sum("chunktide_cache_lookups_total", { tier, result: "hit" });
    const all = metrics.sum("chunktide_cache_lookups_total", { tier });
    text($(`hits-${tier}`), hit === null ? "–" : all === 0 ? "none asked" : as.share(hit / all));
    $(`hits-${tier}`).title = `${as.count(hit)} of ${as.count(all)} lookups`;
  }
  text($("money-saved"), s.money?.saved ?? "–");
  text($("money-spent"), s.money?.spent ?? "–");
  if (s.money) text($("money-note"), `At ${s.money.per_million} a million tokens.`);
  $("redis-down").hidden = metrics.sum("chunktide_cache_up") !== 0;
}

const bounds = { tokens: "a", events: "b", bytes: "c", linger: "d", end: "off", doubt: "e" };

function batches(metrics) {
  const parts = Object.entries(bounds).map(([name, tone]) => ({ name, tone, n: metrics.sum("chunktide_batches_total", { closed_by: name }) ?? 0 }));
  bar($("closed-bar"), parts);
  keyed($("closed-legend"), parts.filter((p) => p.n > 0), (p) => p.name,
    (p) => make("li", {}, make("span", { class: `swatch ${p.tone}`, "aria-hidden": "true" }), `${p.name} `, make("span", { class: "n", "data-metric": "chunktide_batches_total", "data-labels": `closed_by=${p.name}` })),
    (el) => fill(el, metrics));
  let from = 0;
  const sizes = buckets(metrics.series("chunktide_batch_events")[0]).map(({ le, n }) => {
    const what = le === null ? `more than ${as.count(from)}` : le - from > 1 ? `${as.count(from + 1)} to ${as.count(le)}` : as.count(le);
    const one = { n, strong: true, label: le === null ? "more" : le > 999 ? `${Math.round(le / 1024)}k` : String(le), title: `${as.count(n)} batches of ${what} events` };
    from = le;
    return one;
  });
  while (sizes.length > 8 && sizes.at(-1).n === 0) sizes.pop();
  columns($("chart-batches"), sizes, { label: "Batches by their events", empty: "No batch yet" });
  const level = metrics.sum("chunktide_backlog_drain_seconds") === 0;
  text($("drain-unit"), level ? "nothing waits" : "to drain");
}

const mostPartitions = 40;

function partitions(metrics) {
  const drain = metrics.sum("chunktide_backlog_drain_seconds");
  const all = metrics.series("chunktide_consumer_lag").map((s) => ({ topic: s.labels.topic, partition: Number(s.labels.partition), lag: s.value }));
  const sum = all.reduce((n, p) => n + p.lag, 0);
  const topics = new Set(all.map((p) => p.topic)).size;
  let rows = all;
  if (all.length > mostPartitions) rows = all.toSorted((a, b) => b.lag - a.lag).slice(0, mostPartitions);
  rows = rows.toSorted((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1));
  text($("partitions-note"), all.length > rows.length ? `the ${rows.length} furthest behind of ${all.length}` : all.length > 0 && topics === 1 ? `${all.length} of ${all[0].topic}` : "of this worker");
  $("partitions-empty").hidden = all.length > 0;
  keyed($("partitions"), rows, (p) => `${p.topic}/${p.partition}`, (p) => make("tr", {},
    make("th", { scope: "row" }, topics > 1 ? `${p.topic}/${p.partition}` : String(p.partition)),
    make("td", { class: "num", "data-metric": "chunktide_consumer_lag", "data-labels": `topic=${p.topic},partition=${p.partition}` }),
    make("td", { class: "num drain" }), make("td", { class: "gauge" }, make("span", { class: "fill" }))),
  (el, p) => {
    fill(el, metrics);
    text(el.querySelector(".drain"), drain === null ? "–" : p.lag === 0 ? "–" : as.seconds((drain * p.lag) / sum));
    el.querySelector(".fill").style.width = `${sum > 0 ? (100 * p.lag) / sum : 0}%`;
  });
}

// told says how old a fact is, and what went wrong.
function told(f, at, error, now) {
  text(at, f.at ? `asked ${ago(f.at, now)}` : f.error ? "" : "asking…");
  error.hidden = !f.error;
  text(error, f.error ? `It could not be asked${f.at ? "; this is what was known before" : ""}: ${f.error}` : "");
}

function index(s, now) {
  const f = s.index_facts;
  told(f, $("index-at"), $("index-error"), now);
  const list = f.value?.collections ?? [];
  const serving = list.find((c) => c.serving);
  text($("points"), serving ? as.count(serving.points - serving.tombstones) : "–");
  keyed($("collections"), list, (c) => c.name, () => make("li", {}, make("p", { class: "line" }, make("span", { class: "mono name" }), make("span", { class: "badges" })), make("p", { class: "sub" })), (el, c) => {
    text(el.querySelector(".name"), c.name);
    const badges = [[c.serving, "serving", "badge good"], [c.own && !c.serving, "written here", "badge"], [c.status !== "green", c.status, "badge bad"]].filter(([on]) => on);
    keyed(el.querySelector(".badges"), badges, ([, name]) => name, ([, name, kind]) => make("span", { class: kind }, name));
    text(el.querySelector(".sub"), `${c.model || "model not noted"} · ${c.dim} dimensions · ${as.count(c.points)} points, ${as.count(c.tombstones)} of them tombstones · ${as.bytes(c.vector_bytes)} of vectors`);
  });
  const moves = (f.value?.migrations ?? []).filter((m) => m.phase !== "promoted" || m.old_points >= 0);
  keyed($("migrations"), moves, (m) => m.to, () => make("li", {}, make("p", { class: "line" }, make("span", { class: "strong" }, "Migration"), make("span", { class: "badge phase" })), make("div", { class: "bar", "aria-hidden": "true" }), make("p", { class: "sub" })), (el, m) => {
    text(el.querySelector(".phase"), m.phase);
    bar(el.querySelector(".bar"), m.phase === "promoted" ? [{ name: "moved", n: 1, tone: "a" }] : [{ name: "points there", n: m.points, tone: "a" }, { name: "to come", n: Math.max(0, m.old_points - m.points), tone: "off" }]);
    text(el.querySelector(".sub"), `${m.from} → ${m.to} · filled from the ${m.source}, begun ${ago(m.begun, now)} · ${as.count(m.points)} points${m.old_points >= 0 ? `, the old one has ${as.count(m.old_points)}` : ""} · ${as.count(m.lag)} records behind, ${m.members} ${m.members === 1 ? "worker" : "workers"}`);
  });
}

function letters(s, metrics, now) {
  const counted = metrics.series("chunktide_dead_letters_total").filter((r) => r.value > 0).map((r) => ({ reason: r.labels.reason, n: r.value })).sort((a, b) => b.n - a.n);
  const most = counted[0]?.n ?? 1;
  keyed($("reasons"), counted, (r) => r.reason, (r) => make("li", {}, make("span", { class: "mono" }, r.reason), make("span", { class: "n", "data-metric": "chunktide_dead_letters_total", "data-labels": `reason=${r.reason}` }), make("span", { class: "gauge", "aria-hidden": "true" }, make("span", { class: "fill" }))), (el, r) => {
    fill(el, metrics);
    el.querySelector(".fill").style.width = `${(100 * r.n) / most}%`;
  });
  const f = s.dead_letters;
  told(f, $("letters-at"), $("letters-error"), now);
  $("letters-empty").hidden = (f.value ?? []).length > 0 || !f.at;
  keyed($("letters"), f.value ?? [], (l) => `${l.letter_partition}/${l.letter_offset}`, (l) => make("li", {},
    make("p", { class: "line" }, make("span", { class: "badge bad mono" }, l.reason || "unknown"), make("span", { class: "mono origin" }, `${l.topic}/${l.partition}@${l.offset}`), make("time", { datetime: l.at, title: l.at })),
    make("p", { class: "message" }, l.message),
    make("p", { class: "sub mono preview" }, l.preview),
    make("p", { class: "sub" }, `refused by ${l.stage || "–"} · value of ${as.bytes(l.value_bytes)}, key of ${as.bytes(l.key_bytes)}${l.omitted ? ` · left out: ${l.omitted}` : ""} · `, make("code", {}, `chunktide dlq explain ${l.letter_partition}:${l.letter_offset}`))),
  (el, l) => text(el.querySelector("time"), ago(l.at, now)));
}
