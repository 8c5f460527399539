// What the stream says, made into what is known of it: for the page's store, and for the worker that all tabs share.

export const KEPT = 500; // events and restarts in memory; what is older is asked of the interface

export function nothing() {
  return { loaded: false, servers: new Map(), profiles: [], sources: [], events: [], restarts: [], summary: null, usage: null };
}

// What is another in `known` after a message: {events: […]}. `servers` stays the same Map.
export function learned(known, event, data) {
  return handlers[event]?.(data, known) ?? {};
}

// All that is known, as the stream's own snapshot has it: the oldest first.
export function snapshot(known) {
  const { servers, events, restarts, profiles, sources, summary } = known;
  return {
    servers: [...servers.values()],
    profiles,
    sources,
    events: [...events].reverse(),
    restarts: [...restarts].reverse(),
    summary,
  };
}

const handlers = {
  snapshot: (data) => ({
    servers: new Map(data.servers.map((item) => [item.metadata.name, item])),
    profiles: data.profiles ?? [],
    sources: data.sources ?? [],
    events: newestFirst(data.events ?? [], "lastAt"),
    restarts: newestFirst(data.restarts ?? [], "startedAt"),
    summary: data.summary ?? null,
    loaded: true,
  }),
  server(item, { servers }) {
    for (const one of [item].flat()) servers.set(one.metadata.name, one);
    return { servers };
  },
  serverGone({ name }, { servers }) {
    servers.delete(name);
    return { servers };
  },
  event: (items, { events }) => ({ events: merged(events, items, sameEvent, "lastAt") }),
  restart: (items, { restarts }) => ({ restarts: merged(restarts, items, (one) => one.uid, "startedAt") }),
  profiles: (profiles) => ({ profiles }),
  sources: (sources) => ({ sources }),
  summary: (summary) => ({ summary }),
  usage: (usage) => ({ usage }),
};

// An event that happens again is the same with a higher count.
export function sameEvent(one) {
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
