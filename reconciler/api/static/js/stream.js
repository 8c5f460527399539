// Server-sent events read with fetch, for EventSource can send no token.

import { raw } from "./api.js";

const SILENCE_MS = 25_000; // the interface says something every 10 s
const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 10_000;
const HIDDEN_MS = 60_000;

// Calls `stop` when the tab has been hidden for a minute: a browser has six connections to one place, for all its tabs.
export function whenHiddenLong(stop) {
  let timer = 0;
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(stop, HIDDEN_MS);
  };
  document.addEventListener("visibilitychange", look);
  look();
  return () => (clearTimeout(timer), document.removeEventListener("visibilitychange", look));
}

export function seen() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

// Read one answer to its end. `on({event, data, id})` for each event, `beat()` for anything that comes at all.
export async function readEvents(path, { on, beat = () => {}, headers = {}, signal }) {
  const answer = await raw("GET", path, { headers: { Accept: "text/event-stream", ...headers }, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const feed = parser(on);
  beat();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    beat();
    feed(value);
  }
}

// The text of a stream, in any pieces, → events.
export function parser(on) {
  let rest = "";
  let event = { event: "message", data: [], id: undefined };
  return (piece) => {
    const lines = (rest + piece).split(/\r\n|\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (event.data.length) on({ ...event, data: event.data.join("\n") });
        event = { event: "message", data: [], id: undefined };
      } else take(event, line);
    }
  };
}

function take(event, line) {
  const at = line.indexOf(":");
  if (at === 0) return;
  const name = at < 0 ? line : line.slice(0, at);
  const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
  if (name === "data") event.data.push(value);
  else if (name === "event" || name === "id") event[name] = value;
}

// For ever: read, and when it ends begin again after a pause, from where it stopped. `tell(phase, error)` with
// live, stale (open, but silent), lost (closed; tried again by itself), connecting (after the tab was hidden long).
// The id of the newest event is kept.
export function follow(path, { on, tell }) {
  let stopped = false;
  let last = "";
  let pause = FIRST_PAUSE_MS;
  let wake = () => {};
  let attempt = null;
  let hidden = false;

  async function once() {
    attempt = new AbortController();
    let timer = 0;
    const forget = whenHiddenLong(() => ((hidden = true), attempt.abort()));
    const beat = () => {
      pause = FIRST_PAUSE_MS;
      tell("live");
      clearTimeout(timer);
      timer = setTimeout(() => (tell("stale"), attempt.abort()), SILENCE_MS);
    };
    const heard = (event) => {
      on(event);
      if (event.id !== undefined) last = event.id;
    };
    try {
      timer = setTimeout(() => attempt.abort(), SILENCE_MS);
      await readEvents(path, {
        on: heard,
        beat,
        headers: last ? { "Last-Event-ID": last } : {},
        signal: attempt.signal,
      });
      return null;
    } finally {
      clearTimeout(timer);
      forget();
    }
  }

  async function forever() {
    while (!stopped) {
      const error = await once().catch((problem) => problem);
      if (stopped) return;
      if (hidden) {
        await seen();
        hidden = false;
        tell("connecting");
        continue;
      }
      tell("lost", error?.name === "AbortError" ? "" : (error?.message ?? ""), error);
      // Without a session asking again helps nothing: a new one calls now().
      await rest(error?.status === 401 ? 3600_000 : pause * (0.75 + Math.random() / 2));
    }
  }

  // The pause doubles; there is some chance in it so that many tabs do not come back at once.
  async function rest(length) {
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, length);
    });
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }

  const now = () => {
    pause = FIRST_PAUSE_MS;
    wake();
  };
  addEventListener("online", now);
  document.addEventListener("visibilitychange", () => document.hidden || now());
  forever();
  return {
    now,
    stop() {
      stopped = true;
      attempt?.abort();
      wake();
    },
  };
}
