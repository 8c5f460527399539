// Numbers, sizes, times and words as people read them. Nothing here touches the page.

// Intl is asked for as little as can be: its first use takes a browser tens of milliseconds.
let names = null;
let dates = null;

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

// `7.4 GiB`; a dash for what is not known.
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  let at = 0;
  while (value >= 1024 && at < UNITS.length - 1) [value, at] = [value / 1024, at + 1];
  return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[at]}`;
}

// `7.2 B`, `127 k`: parameters.
export function count(value) {
  if (value === null || value === undefined) return "–";
  for (const [size, unit] of [
    [1e12, " T"],
    [1e9, " B"],
    [1e6, " M"],
    [1e3, " k"],
  ]) {
    if (value >= size) return (value / size).toFixed(value / size >= 100 ? 0 : 1) + unit;
  }
  return String(value);
}

export function number(value, digits = 1) {
  if (value === null || value === undefined) return "–";
  const [whole, part] = String(Number(value.toFixed(digits))).split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (part ? `.${part}` : "");
}

// Seconds as `0.47 s`, `8 s`, `42 s`, `3 m 5 s`, `2 h 3 m`, `4 d 1 h`.
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  seconds = Math.max(0, seconds);
  if (seconds < 10) return `${Number(seconds.toFixed(seconds < 1 ? 2 : 1))} s`;
  const whole = Math.round(seconds);
  for (const [size, unit, next, below] of [
    [86400, "d", 3600, "h"],
    [3600, "h", 60, "m"],
    [60, "m", 1, "s"],
  ]) {
    if (whole < size) continue;
    const rest = Math.floor((whole % size) / next);
    return `${Math.floor(whole / size)} ${unit}${rest ? ` ${rest} ${below}` : ""}`;
  }
  return `${whole} s`;
}

// Whole seconds only: for what ticks.
export function ticking(seconds) {
  return seconds < 60 ? `${Math.max(0, Math.floor(seconds))} s` : duration(Math.floor(seconds));
}

// `step`: what lies between two values that stand beside each other, which must not look alike.
export function milliseconds(seconds, step) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds >= 1) return `${number(seconds, places(step, 1))} s`;
  return `${number(seconds * 1000, places(step && step * 1000, seconds < 0.01 ? 1 : 0))} ms`;
}

// Digits after the point that tell multiples of `step` apart.
export function places(step, least = 0) {
  const part = step ? (String(Number(step.toPrecision(3))).split(".")[1] ?? "") : "";
  return Math.max(least, Math.min(part.length, 6));
}

export function clock(when) {
  const date = new Date(when);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

// Date and time; the date only when it is not today.
export function moment(when, now = Date.now()) {
  const date = new Date(when);
  const same = date.toDateString() === new Date(now).toDateString();
  const time = clock(date);
  return same ? time : `${day(date)} ${time}`;
}

export function day(when) {
  dates ??= new Intl.DateTimeFormat([], { day: "numeric", month: "short" });
  return dates.format(new Date(when));
}

// For sorting: numbers in names count as numbers.
export function compare(a, b) {
  if (typeof a !== "string") return a < b ? -1 : a > b ? 1 : 0;
  names ??= new Intl.Collator(undefined, { numeric: true });
  return names.compare(a, String(b));
}

export function age(when, now = Date.now()) {
  return when ? `${ticking((now - Date.parse(when)) / 1000)} ago` : "–";
}

export function plural(amount, one, many = `${one}s`) {
  return `${amount} ${amount === 1 ? one : many}`;
}

// The last part of a path: a model's file.
export function baseName(path) {
  return String(path ?? "")
    .split("/")
    .pop();
}

// A command within a way out: what follows `: ` or the whole of what begins with it.
export function commandIn(text) {
  const found = /(?:^|: )(reconciler [^\n]+?)(?: \(.*\))?$/.exec(text);
  return found ? found[1] : null;
}

// From good to bad: how lists are sorted and what is counted as trouble.
export const PHASES = [
  "Failed",
  "Blocked",
  "BackOff",
  "Unhealthy",
  "Invalid",
  "Starting",
  "Pending",
  "Stopping",
  "Ready",
  "Stopped",
  "Unknown",
];

const TONES = {
  Ready: "good",
  Starting: "busy",
  Pending: "busy",
  Stopping: "busy",
  BackOff: "warn",
  Unhealthy: "warn",
  Blocked: "warn",
  Failed: "bad",
  Invalid: "bad",
  Stopped: "rest",
  Unknown: "rest",
  Degraded: "warn",
  True: "good",
  False: "rest",
};

// The colour of a word: good, busy, warn, bad or rest.
export function tone(word) {
  return TONES[word] ?? "rest";
}

export function condition(item, type) {
  return item.status.conditions.find((one) => one.type === type) ?? null;
}

export function holds(item, type) {
  return condition(item, type)?.status === "True";
}

// Degraded while Ready, or not as declared, is worth its own colour.
export function serverTone(item) {
  const phase = tone(item.status.phase);
  const astray = holds(item, "Degraded") || condition(item, "Reconciled")?.status === "False";
  return phase === "good" && (astray || condition(item, "Ready")?.status === "False") ? "warn" : phase;
}
