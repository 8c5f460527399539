// What the stream says, put into the store.

import { token } from "./api.js";
import { learned } from "./known.js";
import { set, state, subscribe, touch } from "./store.js";
import { beginStream } from "./stream.js";

export { merged } from "./known.js";

export function begin() {
  const stream = beginStream({ on: heard, tell });
  let held = token();
  subscribe(["session"], () => {
    if (token() === held) return;
    held = token();
    stream.held();
    if (held && state.connection.phase !== "live") stream.now();
  });
}

function tell(phase, problem = null) {
  const before = state.connection;
  const error = problem?.message ?? "";
  if (phase === before.phase && before.error === error) return;
  const anew = phase === "live" || phase === "connecting" || before.phase === "live";
  const since = anew ? Date.now() : before.since; // since when nothing new is known
  set("connection", { phase, since, error, reason: problem?.reason ?? "", canDo: problem?.canDo ?? [] });
}

function heard(event, data) {
  for (const [key, value] of Object.entries(learned(state, event, data))) {
    if (state[key] === value) touch(key);
    else set(key, value);
  }
}
