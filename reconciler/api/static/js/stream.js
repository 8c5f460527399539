// The page's side of what is read as it comes: the stream of all that changes, which the tabs of a browser share, and logs.

import { Problem, raw, refused, token } from "./api.js";
import { follow, parser, readAnswer } from "./sse.js";

export { parser };

const STREAM_NAME = "reconciler-stream-1"; // tabs of another version have a worker of their own
const HIDDEN_MS = 5000;

// Made at once, for its modules come while the page asks for its session; it reads nothing before it is greeted.
const worker = made();
let isBroken = false;
let broken = () => ((isBroken = true), (port = null)); // it could not be loaded
let port = worker?.port; // as long as the worker is well
if (worker) worker.onerror = () => broken();

function made() {
  try {
    return new SharedWorker("/js/shared.js", { type: "module", name: STREAM_NAME });
  } catch {
    return null; // the browser has none, or forbids it
  }
}

// Calls `stop` when the tab has been hidden for some seconds: a browser has six connections to one place, for all its tabs.
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

// Read one answer to its end, as `readAnswer` does.
export async function readEvents(path, { on, beat, headers = {}, signal }) {
  await readAnswer(await raw("GET", path, { headers: { Accept: "text/event-stream", ...headers }, signal }), on, beat);
}

// The stream: `on(event, data)` for each message, `tell(phase, problem)` as in sse.js. `now()` asks again at once.
export function beginStream({ on, tell }) {
  const stream = shared(on, tell) ?? own(on, tell);
  addEventListener("online", stream.now);
  return stream;
}

function shared(on, tell) {
  if (!worker || isBroken) return null;
  let instead = null;
  port.onmessage = ({ data }) => {
    if (data.seat) return seated();
    if (data.event) return on(data.event, data.data);
    tell(data.phase, data.problem && problemOf(data.problem));
  };
  broken = () => {
    port = null;
    instead ??= own(on, tell);
  };
  const say = (message) => port?.postMessage({ held: token(), seen: !document.hidden, ...message });
  say({ hello: true });
  document.addEventListener("visibilitychange", () => say({ now: !document.hidden }));
  addEventListener("pagehide", () => say({ bye: true }));
  // A tab that crashes says nothing, but lets its lock go. Beyond this machine browsers have locks on https only.
  const lock = `reconciler ${Date.now()} ${Math.random()}`;
  navigator.locks?.request(lock, () => (say({ lock }), new Promise(() => {}))).catch(() => {});
  addEventListener("pageshow", (event) => event.persisted && say({ hello: true, seat: wantsSeat }));
  return { now: () => (instead ? instead.now() : say({ now: true })), held: () => say({}) };
}

function problemOf({ status, statusText, body, used }) {
  if (status === 0) return Problem.unreachable();
  return refused(new Problem(status, body ?? { title: `${status} ${statusText}` }), used);
}

// This tab's own connection, where no worker can be had.
function own(on, tell) {
  const path = "/api/v1/stream";
  const open = (headers, signal) => raw("GET", path, { headers: { Accept: "text/event-stream", ...headers }, signal });
  const stream = follow({ open, on: ({ event, data }) => on(event, JSON.parse(data)), tell });
  whenHiddenLong(() => stream.want(false));
  document.addEventListener("visibilitychange", () => document.hidden || (stream.want(true), stream.now()));
  return { now: stream.now, held: () => {} };
}

let wantsSeat = false;
let seated = () => {};

// A seat for reading a log as it is written, of the few that the tabs share: `{taken, leave()}`. `taken` is a promise,
// pending as long as others have them all. Without a worker nobody knows of others, and it is there at once.
export function askSeat() {
  if (!port) return { taken: Promise.resolve(), leave: () => {} };
  wantsSeat = true;
  const taken = new Promise((resolve) => (seated = resolve));
  port.postMessage({ seat: true });
  const leave = () => {
    wantsSeat = false;
    port?.postMessage({ seat: false });
  };
  return { taken, leave };
}
