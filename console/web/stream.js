// Reads the server-sent events with fetch, which can send a token; the
// browser's EventSource cannot.

const tokenKey = "chunktide.token";
let token = null;
try { token = sessionStorage.getItem(tokenKey); } catch { /* kept for as long as the page is there */ }

export function setToken(value) {
  token = value;
  try { sessionStorage.setItem(tokenKey, value); } catch { /* as above */ }
}

const authorization = () => (token ? { Authorization: `Bearer ${token}` } : {});

// ask is fetch with the token.
export const ask = (path, options = {}) => fetch(path, { ...options, credentials: "same-origin", headers: { ...options.headers, ...authorization() } });

// parse takes the whole events off the front of what was read, and returns
// them with the rest.
export function parse(buffer) {
  const parts = buffer.split("\n\n");
  const rest = parts.pop();
  const events = parts.map((part) => {
    const event = { name: "message", data: "" };
    for (const line of part.split("\n")) {
      if (line.startsWith("event: ")) event.name = line.slice(7);
      if (line.startsWith("data: ")) event.data += line.slice(6);
    }
    return event;
  });
  return { events, rest };
}

const pauses = [1, 2, 4, 8, 15]; // seconds between attempts

// follow keeps a stream open while the page is visible, and tells on(name,
// data) each event, and state(kind, text) how the connection is. It ends at
// "unauthorized"; call it again with another token.
export async function follow(path, on, state) {
  for (let failures = 0; ; ) {
    await visible();
    const hidden = new AbortController();
    const stop = () => document.hidden && hidden.abort();
    document.addEventListener("visibilitychange", stop);
    let why = "the worker closed the connection";
    try {
      const response = await ask(path, { signal: hidden.signal, cache: "no-store" });
      if (response.status === 401) {
        state("unauthorized", "A token is wanted");
        return;
      }
      if (!response.ok) throw new Error((await response.text()).trim() || `status ${response.status}`);
      state("live", "Live");
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let buffer = ""; ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        const { events, rest } = parse(buffer + value);
        buffer = rest;
        for (const e of events) if (e.data) on(e.name, JSON.parse(e.data));
        failures = 0;
      }
    } catch (err) {
      why = err instanceof TypeError ? "the worker does not answer" : err.message;
    } finally {
      document.removeEventListener("visibilitychange", stop);
    }
    if (document.hidden) {
      state("paused", "Paused");
      continue;
    }
    const pause = pauses[Math.min(failures++, pauses.length - 1)];
    state("lost", `Reconnecting: ${why}`);
    await new Promise((r) => setTimeout(r, 1000 * pause));
  }
}

function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
  });
}
