// What the stream says, put into the store.

import { token } from "./api.js";
import { KEPT, set, state, subscribe, touch } from "./store.js";
import { follow } from "./stream.js";

export function begin() {
  const stream = follow("/api/v1/stream", { on: heard, tell });
  let held = token();
  subscribe(["session"], () => {
    if (token() && token() !== held && state.connection.phase !== "live") stream.now();
    held = token();
  });
}

function tell(phase, error = "", problem = null) {
  const before = state.connection;
  if (phase === before.phase && before.error === error) return;
  const anew = phase === "live" || phase === "connecting" || before.phase === "live";
  const since = anew ? Date.now() : before.since; // since when nothing new is known
  set("connection", { phase, since, error, reason: problem?.reason ?? "", canDo: problem?.canDo ?? [] });
}

function heard({ event, data }) {
  const handler = handlers[event];
  if (handler) handler(JSON.parse(data));
}

const handlers = {
  snapshot(data) {
    set("servers", new Map(data.servers.map((item) => [item.metadata.name, item])));
    set("profiles", data.profiles ?? []);
    set("sources", data.sources ?? []);
    set("events", newestFirst(data.events ?? [], "lastAt"));
    set("restarts", newestFirst(data.restarts ?? [], "startedAt"));
    set("summary", data.summary ?? null);
    set("loaded", true);
    touch("servers");
  },
  server(item) {
    for (const one of [item].flat()) state.servers.set(one.metadata.name, one);
    touch("servers");
  },
  serverGone({ name }) {
    state.servers.delete(name);
    touch("servers");
  },
  event: (items) => set("events", merged(state.events, items, sameEvent, "lastAt")),
  restart: (items) =>
    set(
      "restarts",
      merged(state.restarts, items, (one) => one.uid, "startedAt"),
    ),
  profiles: (items) => set("profiles", items),
  sources: (items) => set("sources", items),
  summary: (summary) => set("summary", summary),
  usage: (usage) => set("usage", usage),
};

// An event that happens again is the same with a higher count.
function sameEvent(one) {
  return [one.server, one.reason, one.message, one.firstAt].join("\n");
}

// `items` in place of their older versions; the newest first.
export function merged(known, items, identity, time) {
  const found = new Map(known.map((one) => [identity(one), one]));
  for (const one of [items].flat()) found.set(identity(one), one);
  return newestFirst([...found.values()], time).slice(0, KEPT);
}

function newestFirst(items, time) {
  return items
    .map((one, at) => [one, at])
    .sort(([a, i], [b, j]) => (a[time] < b[time] ? 1 : a[time] > b[time] ? -1 : j - i))
    .map(([one]) => one);
}
