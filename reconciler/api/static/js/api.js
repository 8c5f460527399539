// Questions to the controller's interface, and acts. Paths as in docs/api.md.
//
//   const list = await get("/api/v1/models");             // parsed JSON; throws a Problem
//   const done = await act("POST", "/api/v1/sync");        // null after a problem, which was shown as a toast
//   const { data, etag } = await request("PUT", path, { body: text, type: "text/yaml", headers: { "If-Match": tag } });

import { closeToast, toast } from "./store.js";

const KEPT_AS = "reconciler.session";

// A problem document (RFC 9457), or what stands for one where the controller could not be reached.
export class Problem extends Error {
  constructor(status, body) {
    super(body.happened || body.detail || body.title || `the controller answered ${status}`);
    this.status = status; // 0: no answer at all
    this.reason = body.reason ?? "";
    this.happened = this.message;
    this.tried = body.tried ?? [];
    this.canDo = body.canDo ?? [];
    this.body = body;
  }

  static unreachable() {
    const canDo = ["see whether the controller runs: reconciler doctor", "start it: reconciler run"];
    return new Problem(0, { reason: "Unreachable", happened: "the controller does not answer", canDo });
  }
}

// The session is kept per origin; cookies would be shared with every other port of this machine.
export function token() {
  try {
    return localStorage.getItem(KEPT_AS) ?? "";
  } catch {
    return memory;
  }
}

let memory = "";

export function setToken(value) {
  memory = value ?? "";
  try {
    if (value) localStorage.setItem(KEPT_AS, value);
    else localStorage.removeItem(KEPT_AS);
  } catch {
    // Storage is forbidden here: the session lasts as long as the page.
  }
}

let denied = null;

// `then(problem)` is called for each 401, before its promise is rejected. It returns true when it has told the person.
export function onDenied(then) {
  denied = then;
}

export function authorization() {
  const held = token();
  return held ? { Authorization: `Bearer ${held}` } : {};
}

// A fetch with the session; rejects with a Problem unless the answer is 2xx (or 304).
export async function raw(method, path, { body, type, headers = {}, signal } = {}) {
  const used = token();
  const sent = { ...authorization(), ...headers };
  if (body !== undefined) sent["Content-Type"] = type ?? "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method,
      body: encode(body, type),
      headers: sent,
      signal,
      cache: "no-store",
      credentials: "omit",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Problem.unreachable();
  }
  if (answer.ok || answer.status === 304) return answer;
  throw refused(new Problem(answer.status, await parsed(answer)), used);
}

// A problem that an answer to `used`, a session's token, was. Of one that is given up already it says nothing new.
export function refused(problem, used) {
  if (problem.status === 401 && denied && used === token()) problem.told = denied(problem) === true;
  return problem;
}

export async function request(method, path, options = {}) {
  const { answer, text } = await awaited(method, path, async () => {
    const answer = await raw(method, path, options);
    return { answer, text: await answer.text() };
  });
  const json = (answer.headers.get("Content-Type") ?? "").includes("json");
  return { status: answer.status, etag: answer.headers.get("ETag"), data: json && text ? JSON.parse(text) : text };
}

export async function get(path, options = {}) {
  return (await request("GET", path, options)).data;
}

export async function act(method, path, body, options = {}) {
  try {
    return (await request(method, path, { ...options, body })).data ?? {};
  } catch (error) {
    if (error.name !== "AbortError") show(error);
    return null;
  }
}

export function show(error) {
  if (error.told) return;
  toast(error.message || String(error), { kind: "bad", canDo: error.canDo ?? [] });
}

function encode(body, type) {
  return body === undefined || typeof body === "string" || (type && !type.includes("json"))
    ? body
    : JSON.stringify(body);
}

async function parsed(answer) {
  try {
    return await answer.json();
  } catch {
    return { title: `${answer.status} ${answer.statusText}` };
  }
}

const PATIENCE_MS = 6000;
const HELP = [
  "close tabs of this dashboard: all tabs of a browser share six connections to one place",
  "see whether the controller answers: reconciler doctor",
];
let waiting = 0; // questions that have been without an answer for long
let told = 0;

// What gets no answer in some seconds says so, as long as it waits: a press that seems to do nothing is pressed again.
async function awaited(method, path, asked) {
  let isLong = false;
  const timer = setTimeout(() => {
    isLong = true;
    waiting++;
    told = toast(waitingFor(method, path), { kind: method === "GET" ? "note" : "bad", canDo: HELP, seconds: 0 });
  }, PATIENCE_MS);
  try {
    return await asked();
  } finally {
    clearTimeout(timer);
    if (isLong && --waiting === 0) closeToast(told);
  }
}

function waitingFor(method, path) {
  const what = decodeURIComponent(path.replace(/^\/api\/v1\//, "").replace(/\?.*/s, ""));
  const sent = method === "GET" ? "" : " Whether it was done is not known yet.";
  return `No answer to ${method} ${what} for ${PATIENCE_MS / 1000} s; it is still waited for.${sent}`;
}
