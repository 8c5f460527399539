// What lists and pages say of a server, taken from its item.

import { baseName, condition, holds, number, ticking } from "./format.js";

const ANYWHERE = new Set(["", "0.0.0.0", "::", "127.0.0.1", "localhost", "::1"]);
const ALIVE = new Set(["Starting", "Ready", "Unhealthy", "Stopping", "Unknown"]);

export function runs(item) {
  return item.status.instance !== null && ALIVE.has(item.status.phase);
}

export function modelName(item) {
  const { spec, status } = item;
  return baseName(status.effective?.model ?? spec.model ?? spec.flags?.["hf-repo"] ?? spec.hf ?? "");
}

// Bytes of its weights, as llama-server tells them: the file is a little larger.
export function modelSize(item) {
  return item.status.models?.[0]?.size ?? null;
}

export function port(item) {
  return item.status.instance?.port ?? item.status.port ?? null;
}

// The address of llama-server's own page, as this browser reaches it; null while nothing listens.
export function address(item, here = location.hostname) {
  const number = port(item);
  if (!number || !runs(item) || item.status.phase === "Stopping") return null;
  const { host = "", flags = {} } = item.spec;
  if (String(host).startsWith("/") || String(host).endsWith(".sock")) return null;
  const secure = flags["ssl-key-file"] ? "https" : "http";
  const name = ANYWHERE.has(host) ? here : host;
  const shown = name.includes(":") && !name.startsWith("[") ? `[${name}]` : name;
  const prefix = String(flags["api-prefix"] ?? "")
    .replace(/^\/?/, "/")
    .replace(/\/?$/, "/");
  return `${secure}://${shown}:${number}${prefix}`;
}

export function uptime(item, now) {
  const began = item.status.instance?.startedAt;
  return runs(item) && began ? (now - Date.parse(began)) / 1000 : null;
}

// Its phase; one that serves, but with less than was asked for, is `Ready, degraded`.
export function standing(item) {
  const { phase } = item.status;
  return phase === "Ready" && holds(item, "Degraded") ? "Ready, degraded" : phase;
}

// `retry 2/5 in 3 s`, or `gave up after 5`; null while there is nothing of that.
export function retry(item, now) {
  const { backoffAttempt: attempt, maxRestarts: most, backoffUntil: until, phase } = item.status;
  if (!attempt || phase === "Ready") return null;
  if (phase === "Failed") return attempt > 1 ? `gave up after ${attempt - 1}` : "gave up";
  const left = until && phase === "BackOff" ? (Date.parse(until) - now) / 1000 : 0;
  return `retry ${most ? `${Math.min(attempt, most)}/${most}` : attempt}${left > 0 ? ` in ${ticking(Math.ceil(left))}` : ""}`;
}

// The newest thing that went wrong, or that one should know; empty when all is well.
export function trouble(item) {
  const { explanation, message, lastError, phase } = item.status;
  if (explanation) return explanation.happened || explanation.headline;
  return phase === "Ready" ? message : lastError || message;
}

export function reason(item) {
  const { explanation } = item.status;
  if (explanation?.reason) return explanation.reason;
  for (const type of ["Degraded", "Reconciled", "Ready"]) {
    const found = condition(item, type);
    if (found && (found.status === "True") === (type === "Degraded")) return found.reason;
  }
  return "";
}

// What was asked for and what runs, as `{name, asked, runs, differs}`; values are texts, null where not known.
export function comparison(item) {
  const { asked, effective } = item.status;
  const known = effective ?? {};
  const rows = [
    ["context per slot", figure(asked?.ctxPerSlot), figure(known.ctxPerSlot)],
    ["slots", figure(asked?.slots), figure(known.slots)],
    ["GPU layers", layers(asked?.gpuLayers), layers(known.gpuLayers)],
    ["device", null, known.device ?? null],
    ["model", asked?.model ? baseName(asked.model) : null, known.model ? baseName(known.model) : null],
  ];
  return rows
    .filter(([, a, b]) => a !== null || b !== null)
    .map(([name, a, b]) => ({
      name,
      asked: a,
      runs: b,
      differs: (name === "GPU layers" ? fewer : name === "model" ? differs : less)(a, b),
    }));
}

// Of figures: llama-server rounds a context up, which is no want.
function less(asked, has) {
  return asked !== null && has !== null && Number(has.replaceAll(",", "")) < Number(asked.replaceAll(",", ""));
}

function differs(a, b) {
  return a !== null && b !== null && a !== b;
}

// `asked` is a number, `all` or `auto`, `has` is `N/M`: fewer than asked for, as far as the model has so many.
function fewer(asked, has) {
  if (asked === null || has === null || asked === "auto") return false;
  const [on, all] = has.split("/").map(Number);
  const wanted = asked === "all" || Number(asked) < 0 ? Infinity : Number(asked);
  return on < Math.min(wanted, all ?? wanted);
}

function figure(value) {
  return value === null || value === undefined ? null : number(value, 0);
}

function layers(value) {
  return value === null || value === undefined ? null : String(value);
}

// One line: `ctx 4,096 × 2`, with what was asked for before an arrow where that is another.
export function contextLine(item) {
  const { asked, effective } = item.status;
  const wanted = asked?.ctxPerSlot ?? null;
  const has = effective?.ctxPerSlot ?? null;
  const slots = effective?.slots ?? asked?.slots ?? null;
  if (wanted === null && has === null && !asked?.ctx) return null;
  const fewer = wanted !== null && has !== null && has < wanted;
  const shown = fewer ? `${figure(wanted)} → ${figure(has)}` : figure(has ?? wanted ?? asked.ctx);
  return { text: `${shown}${slots > 1 ? `\u00a0×\u00a0${slots}` : ""}`, differs: fewer };
}

export function layersLine(item) {
  const asked = layers(item.status.asked?.gpuLayers);
  const has = layers(item.status.effective?.gpuLayers);
  if (asked === null && has === null) return null;
  const other = fewer(asked, has);
  return { text: other ? `${asked} → ${has}` : (has ?? asked), differs: other };
}

export function percent(value) {
  return value === null || value === undefined ? "–" : `${Math.round(value)} %`;
}
