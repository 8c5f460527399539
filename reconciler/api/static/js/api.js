// Questions to the controller's interface, and acts. Paths as in docs/api.md.
//
//   const list = await get("/api/v1/models");             // parsed JSON; throws a Problem
//   const done = await act("POST", "/api/v1/sync");        // null after a problem, which was shown as a toast
//   const { data, etag } = await request("PUT", path, { body: text, type: "text/yaml", headers: { "If-Match": tag } });

import { toast } from "./store.js";

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
    throw new Problem(0, unreachable());
  }
  if (answer.ok || answer.status === 304) return answer;
  const problem = new Problem(answer.status, await parsed(answer));
  if (problem.status === 401 && denied) problem.told = denied(problem) === true;
  throw problem;
}

export async function request(method, path, options = {}) {
  const answer = await raw(method, path, options);
  const text = await answer.text();
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

function unreachable() {
  const canDo = ["see whether the controller runs: reconciler doctor", "start it: reconciler run"];
  return { reason: "Unreachable", happened: "the controller does not answer", canDo };
}
