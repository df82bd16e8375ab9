// The search box, where it is enabled.
import { $, as, make, text } from "./dom.js";
import { ask } from "./stream.js";

export function search(unauthorized) {
  let turn = 0;
  $("search").addEventListener("submit", async (event) => {
    event.preventDefault();
    const query = $("query").value.trim();
    if (!query) {
      $("query").focus();
      return;
    }
    const mine = ++turn;
    text($("search-note"), "Searching…");
    const began = performance.now();
    try {
      const response = await ask("/api/search", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ text: query, limit: Number($("limit").value) }),
      });
      if (response.status === 401) unauthorized();
      if (!response.ok) throw new Error((await response.text()).trim());
      const found = await response.json();
      if (mine !== turn) return; // a later search is under way
      show(found);
      text($("search-note"), found.hits.length === 0 ? "The index holds no chunk." : `${found.hits.length} nearest, in ${as.seconds((performance.now() - began) / 1000)}, by ${found.model}`);
    } catch (err) {
      if (mine !== turn) return;
      $("hits").replaceChildren();
      text($("search-note"), `It did not work: ${err.message}`);
    }
  });
}

const when = (time) => (Number.isFinite(Date.parse(time)) && Date.parse(time) > 0 ? new Date(time).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC") : "–");

function show(found) {
  $("hits").replaceChildren(...found.hits.map((h) => {
    const took = (Date.parse(h.indexed_at) - Date.parse(h.event_ts)) / 1000;
    const fact = (name, value, mono) => make("div", {}, make("dt", {}, name), make("dd", mono ? { class: "mono" } : {}, value));
    const score = make("span", { class: "gauge", "aria-hidden": "true" }, make("span", { class: "fill" }));
    score.firstElementChild.style.width = `${100 * Math.max(0, Math.min(1, h.score))}%`;
    const full = make("p", { class: "found" }, h.text);
    const metadata = Object.entries(h.metadata ?? {});
    return make("li", {},
      make("p", { class: "line" }, make("span", { class: "score" }, h.score.toFixed(3)), score, make("span", { class: "strong name" }, `${h.document_id} / ${h.chunk_id}`)),
      h.text.length > 420 ? make("details", {}, make("summary", {}, make("span", { class: "found" }, `${h.text.slice(0, 400)}…`)), full) : full,
      make("dl", { class: "facts provenance" },
        fact("Source", h.source), fact("Version", String(h.version)), fact("From", `${h.topic}/${h.partition}@${h.offset}`, true), fact("Changed", when(h.event_ts)),
        fact("Searchable after", Number.isFinite(took) && took >= 0 ? as.seconds(took) : "–"), fact("Model", h.model_version, true), fact("Tokens", `${as.count(h.tokens)}${h.truncated ? ", cut" : ""}`),
        ...metadata.slice(0, 8).map(([k, v]) => fact(k, typeof v === "object" ? JSON.stringify(v) : String(v)))));
  }));
}
