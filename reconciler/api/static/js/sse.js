// Server-sent events, read for ever. Without the page around it: the worker that all tabs share reads so too.

const SILENCE_MS = 25_000; // the interface says something every 10 s
const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 10_000;
const LONGEST_PAUSE_HERE_MS = 2000; // this machine's own controller is asked without a cost
const HERE = /^(localhost|127(\.\d+){3}|\[::1\])$/;

// Read one answer to its end. `on({event, data, id})` for each event, `beat()` for anything that comes at all.
export async function readAnswer(answer, on, beat = () => {}) {
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

// For ever: read what `open(headers, signal)` answers, and when it ends begin again after a pause, from where it
// stopped. `tell(phase, problem)` with live, stale (open, but silent), lost (closed; tried again by itself),
// connecting (after nobody wanted it). `want(false)` gives the connection back until `want(true)`; `now()` ends a pause.
export function follow({ open, on, tell }) {
  let last = "";
  let pause = FIRST_PAUSE_MS;
  let wake = () => {};
  let attempt = null;
  let wanted = true;

  async function once() {
    attempt = new AbortController();
    const { signal } = attempt;
    let timer = 0;
    const silent = () => (tell("stale"), attempt.abort());
    const beat = () => {
      pause = FIRST_PAUSE_MS;
      tell("live");
      clearTimeout(timer);
      timer = setTimeout(silent, SILENCE_MS);
    };
    const heard = (event) => {
      on(event);
      if (event.id !== undefined) last = event.id;
    };
    try {
      timer = setTimeout(silent, SILENCE_MS);
      await readAnswer(await open(last ? { "Last-Event-ID": last } : {}, signal), heard, beat);
      return null;
    } finally {
      clearTimeout(timer);
    }
  }

  async function forever() {
    for (;;) {
      if (!wanted) {
        await new Promise((resolve) => (wake = resolve));
        if (wanted) tell("connecting");
        continue;
      }
      const problem = await once().catch((error) => error);
      if (!wanted) continue;
      tell("lost", problem?.name === "AbortError" ? null : problem);
      // Without a session asking again helps nothing: a new one calls now().
      await rest(problem?.status === 401 ? 3600_000 : pause * (0.75 + Math.random() / 2));
    }
  }

  // The pause doubles; there is some chance in it so that many browsers do not come back at once.
  async function rest(length) {
    let timer = 0;
    await new Promise((resolve) => {
      wake = resolve;
      timer = setTimeout(resolve, length);
    });
    clearTimeout(timer);
    pause = Math.min(pause * 2, HERE.test(location.hostname) ? LONGEST_PAUSE_HERE_MS : LONGEST_PAUSE_MS);
  }

  forever();
  return {
    now() {
      pause = FIRST_PAUSE_MS;
      if (wanted) wake();
    },
    want(is) {
      if (is === wanted) return;
      wanted = is;
      if (wanted) wake();
      else attempt?.abort();
    },
  };
}
