// What the dashboard knows, in one place. Values are replaced, never changed in place, so that `!==` tells what is new;
// of the Map `servers` only `version.servers` says that something in it is another.
//
//   const { events } = useStore("events");          // in a component: drawn anew when one of the keys is set
//   const server = useServer("chat");                // one server's item, or undefined
//   set("profiles", items); subscribe(["profiles"], () => …);
//
// Whoever listens hears at most once a frame, however many changes came in it.

import { useEffect, useLayoutEffect, useReducer, useState } from "../vendor/preact-htm.js";

export { KEPT } from "./known.js";

export const state = {
  connection: { phase: "connecting", since: Date.now(), error: "" }, // connecting | live | stale | lost
  loaded: false, // a snapshot was here
  session: { known: false, actable: true, readable: true, expiresAt: null }, // as session.js found it
  summary: null,
  servers: new Map(), // name → item as in `get servers -o json`
  profiles: [],
  sources: [],
  events: [], // the newest first
  restarts: [], // the newest first
  usage: { at: 0, servers: {} },
  toasts: [],
  help: false, // the sheet of keys is open
  theme: "auto", // auto | light | dark
};

const turns = new Map(); // key → how often it was another
const listeners = new Map(); // key → Set of functions
const due = new Set();
let frame = 0;

export function set(key, value) {
  if (Object.is(state[key], value)) return;
  state[key] = value;
  touch(key);
}

// Tell those who listen to a key that what it holds is another.
export function touch(key) {
  turns.set(key, (turns.get(key) ?? 0) + 1);
  for (const listener of listeners.get(key) ?? []) due.add(listener);
  if (!frame && due.size) frame = schedule(flush);
}

// A hidden tab gets no frames: it hears by a timer.
function schedule(then) {
  return document.hidden ? setTimeout(then, 250) : requestAnimationFrame(then);
}

function flush() {
  frame = 0;
  const now = [...due];
  due.clear();
  for (const listener of now) listener();
}

document.addEventListener("visibilitychange", () => due.size && flush());

export function subscribe(keys, listener) {
  for (const key of keys) {
    if (!listeners.has(key)) listeners.set(key, new Set());
    listeners.get(key).add(listener);
  }
  return () => {
    for (const key of keys) listeners.get(key).delete(listener);
    due.delete(listener);
  };
}

export function useStore(...keys) {
  const [, again] = useReducer((count) => count + 1, 0);
  const drawn = keys.map((key) => turns.get(key));
  useEffect(() => {
    // What was set after it was drawn, and before it listened.
    if (keys.some((key, at) => turns.get(key) !== drawn[at])) again();
    return subscribe(keys, again);
  }, keys);
  return state;
}

export function useServer(name) {
  const [item, setItem] = useState(() => state.servers.get(name));
  useEffect(() => {
    const look = () => setItem(state.servers.get(name));
    look();
    return subscribe(["servers"], look);
  }, [name]);
  return item?.metadata.name === name ? item : state.servers.get(name);
}

export function useUsage(name) {
  return useStore("usage").usage.servers[name];
}

const clocks = new Map(); // ms, and whether always → {listeners}: one timer for all that tick alike

// The time, anew once a second (or `every` ms): for ages and countdowns. It stands while nothing new is known of what
// is counted, unless it is to go on `always`.
export function useClock(every = 1000, { always = false } = {}) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const kind = `${every} ${always}`;
    if (!clocks.has(kind)) clocks.set(kind, started(every, always));
    const { listeners } = clocks.get(kind);
    listeners.add(setNow);
    return () => listeners.delete(setNow);
  }, [every]);
  return now;
}

function started(every, always) {
  const listeners = new Set();
  setInterval(() => {
    if (document.hidden || (!always && ["lost", "stale"].includes(state.connection.phase))) return;
    const now = Date.now();
    for (const listener of listeners) listener(now);
  }, every);
  return { listeners };
}

let toasts = 0;

// `kind`: good | bad | note. `canDo`: lines under the text, in which commands can be copied. Bad ones stay until closed.
export function toast(text, { kind = "note", canDo = [], seconds = kind === "bad" ? 0 : 5 } = {}) {
  const id = ++toasts;
  const others = state.toasts.filter((one) => one.text !== text).slice(-4);
  set("toasts", [...others, { id, text, kind, canDo }]);
  if (seconds) setTimeout(() => closeToast(id), seconds * 1000);
  return id;
}

export function closeToast(id) {
  set(
    "toasts",
    state.toasts.filter((one) => one.id !== id),
  );
}
