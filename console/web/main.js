// The console: one stream of snapshots, drawn as they come.
import { $, text } from "./dom.js";
import { draw } from "./cards.js";
import { Metrics } from "./metrics.js";
import { search } from "./search.js";
import { follow, setToken } from "./stream.js";

const kept = 5 * 60 * 1000;
let history = [];
let snapshot = null;
let cameAt = 0;

const point = (p) => ({ ms: Date.parse(p.at), events: p.events, tokens: p.tokens, lag: p.lag });

// total is a counter's sum over all of its series.
const total = (m, name) => m.sum(name);

function on(name, data) {
  if (name === "history") {
    history = data.map(point);
    return;
  }
  if (name !== "snapshot") return;
  const metrics = new Metrics(data.metrics);
  if (snapshot && data.started !== snapshot.started) history = []; // another process
  else if (snapshot) {
    // The last second's increase; a snapshot that was missed makes it two.
    const before = new Metrics(snapshot.metrics);
    const took = (Date.parse(data.at) - Date.parse(snapshot.at)) / 1000;
    const each = (metric) => {
      const d = total(metrics, metric) - total(before, metric);
      return took > 0 && d >= 0 ? d / took : null;
    };
    if (took > 0 && took < 5) history.push({ ms: Date.parse(data.at), events: each("chunktide_events_total"), tokens: each("chunktide_tokens_encoded_total"), lag: metrics.sum("chunktide_consumer_lag") });
  }
  history = history.filter((p) => p.ms > Date.parse(data.at) - kept);
  snapshot = data;
  cameAt = performance.now();
  announce(data, metrics);
  draw(data, metrics, history);
  document.documentElement.dataset.seq = data.seq;
}

// announce tells a screen reader what has become another, not every number.
let said = { ready: null, letters: null };
function announce(data, metrics) {
  const ready = data.unwell || data.unready;
  const letters = metrics.sum("chunktide_dead_letters_total");
  const news = [];
  if (said.ready !== null && ready !== said.ready) news.push(ready ? `Not ready: ${ready}` : "Ready again");
  if (said.letters !== null && letters > said.letters) news.push(`${letters - said.letters} new dead letters`);
  said = { ready, letters };
  if (news.length > 0) text($("say"), news.join(". "));
}

function state(kind, words) {
  $("link").dataset.state = { live: "ok", lost: "bad", paused: "unknown", unauthorized: "warn" }[kind];
  if ($("link-text").textContent !== words) {
    text($("link-text"), words);
    if (kind !== "live" || snapshot) text($("say"), words);
  }
  document.documentElement.dataset.link = kind;
  if (kind === "unauthorized") signIn();
}

function signIn() {
  if (!$("signin").open) $("signin").showModal();
}

// A connection may hang without an end: say so.
setInterval(() => {
  const age = (performance.now() - cameAt) / 1000;
  const old = snapshot !== null && age > 5;
  document.documentElement.classList.toggle("stale", old);
  if (old && document.documentElement.dataset.link === "live") text($("link-text"), `Nothing for ${Math.round(age)} s`);
  else if (!old && document.documentElement.dataset.link === "live") text($("link-text"), "Live");
}, 1000);

const themes = ["system", "dark", "light"];
function showTheme() {
  text($("theme-name"), document.documentElement.dataset.theme ?? "system");
}
function nextTheme() {
  const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % themes.length];
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try { localStorage.setItem("chunktide.theme", next); } catch { /* it holds until the page is closed */ }
  showTheme();
  text($("say"), `Theme: ${next}`);
}

function help() {
  if (!$("help").open) $("help").showModal();
}

document.addEventListener("keydown", (event) => {
  const typing = /^(input|select|textarea)$/i.test(event.target.tagName);
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "/" && !$("search-card").hidden) {
    event.preventDefault();
    $("query").focus();
  } else if (event.key === "t") nextTheme();
  else if (event.key === "?") help();
});
$("theme").addEventListener("click", nextTheme);
$("help-open").addEventListener("click", help);
$("signin-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken($("token").value);
  $("token").value = "";
  $("signin").close();
  begin();
});
addEventListener("resize", () => snapshot && draw(snapshot, new Metrics(snapshot.metrics), history));

const begin = () => follow("/api/stream", on, state);
showTheme();
search(signIn);
begin();
