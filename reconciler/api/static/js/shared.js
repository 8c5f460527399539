// The worker that all tabs of this browser share: it reads the stream once for all of them, for a browser has only six
// connections to one place. It also lends the seats of those that read a log as it is written; who gets none looks now
// and then instead. What is said here and in stream.js is one protocol: change STREAM_NAME there with it.

import { learned, nothing, snapshot } from "./known.js";
import { follow } from "./sse.js";

const ALL_HIDDEN_MS = 60_000; // nobody has looked for so long: the connection is given back
const SEATS = 3; // and one for the stream: two are left for questions and acts

const tabs = new Map(); // port → {isSeen, isSeated, wantsSeat}
const known = nothing();
let phase = { phase: "connecting", problem: null };
let token = "";
let stream = null;
let timer = 0;

onconnect = ({ ports: [port] }) => {
  tabs.set(port, { isSeen: true, isSeated: false, wantsSeat: false });
  port.onmessage = ({ data }) => heard(port, data);
};

function heard(port, { hello, seen, bye, held, now, seat, lock }) {
  if (bye) tabs.delete(port);
  else if (!tabs.has(port)) tabs.set(port, { isSeen: true, isSeated: false, wantsSeat: false });
  const tab = tabs.get(port);
  if (held !== undefined) token = held;
  if (tab && seen !== undefined) tab.isSeen = seen;
  if (tab && seat !== undefined) Object.assign(tab, { wantsSeat: seat, isSeated: seat && tab.isSeated });
  if (hello) welcome(port);
  if (now) stream.now();
  if (lock) navigator.locks.request(lock, () => heard(port, { bye: true }));
  look();
  seats();
}

function welcome(port) {
  stream ??= follow({ open, on, tell });
  if (known.loaded) port.postMessage({ event: "snapshot", data: snapshot(known) });
  if (known.usage) port.postMessage({ event: "usage", data: known.usage });
  port.postMessage(phase);
}

function look() {
  clearTimeout(timer);
  if ([...tabs.values()].some((tab) => tab.isSeen)) stream?.want(true);
  else timer = setTimeout(() => stream?.want(false), ALL_HIDDEN_MS);
}

// Lent in the order of the tabs; who has one keeps it.
function seats() {
  let free = SEATS - [...tabs.values()].filter((tab) => tab.isSeated).length;
  for (const [port, tab] of tabs) {
    if (!tab.wantsSeat || tab.isSeated || !free) continue;
    tab.isSeated = true;
    free--;
    port.postMessage({ seat: true });
  }
}

async function open(headers, signal) {
  const used = token;
  const session = used ? { Authorization: `Bearer ${used}` } : {};
  const how = { headers: { Accept: "text/event-stream", ...session, ...headers }, cache: "no-store", credentials: "omit", signal };
  const answer = await fetch("/api/v1/stream", how).catch((error) => {
    throw error.name === "AbortError" ? error : { status: 0 };
  });
  if (answer.ok) return answer;
  throw { status: answer.status, statusText: answer.statusText, body: await answer.json().catch(() => null), used };
}

function on({ event, data: text }) {
  const data = JSON.parse(text);
  Object.assign(known, learned(known, event, data));
  say({ event, data });
}

function tell(told, problem = null) {
  // What was thrown here itself can be sent; an error of the browser's cannot always.
  phase = { phase: told, problem: problem && !(problem instanceof Error) ? problem : null };
  say(phase);
}

function say(message) {
  for (const port of tabs.keys()) port.postMessage(message);
}
