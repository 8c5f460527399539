// Paths of the dashboard → pages. The table of pages is pages.js; links are ordinary ones and are caught here.

import { useEffect, useState } from "../vendor/preact-htm.js";

let current = read();
let moved = false;
const listeners = new Set();

// `{path: "/servers/chat", query: {tab: "log"}}`
export function route() {
  return current;
}

// Whether another page was shown before this one.
export function hasMoved() {
  return moved;
}

export function useRoute() {
  const [here, setHere] = useState(current);
  useEffect(() => {
    setHere(current);
    listeners.add(setHere);
    return () => listeners.delete(setHere);
  }, []);
  return here;
}

// `replace`: without a step in the history, for what is typed into a search field.
export function navigate(target, { replace = false } = {}) {
  if (target === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", target);
  const before = current.path;
  tell();
  if (current.path !== before) scrollTo(0, 0);
}

// The same page with other questions: `setQuery({q: "chat", sort: null})`, null for none.
export function setQuery(changes, options = { replace: true }) {
  const asked = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") asked.delete(key);
    else asked.set(key, value);
  }
  const text = asked.toString();
  navigate(location.pathname + (text ? `?${text}` : ""), options);
}

// The parameters when `pattern` (`/servers/:name`) is the path, else null.
export function match(pattern, path) {
  const wanted = split(pattern);
  const parts = split(path);
  if (wanted.length !== parts.length) return null;
  const found = {};
  for (const [at, one] of wanted.entries()) {
    if (one.startsWith(":")) found[one.slice(1)] = decode(parts[at]);
    else if (one !== parts[at]) return null;
  }
  return found;
}

export function serverPath(name, tab = "") {
  return `/servers/${encodeURIComponent(name)}${tab ? `?tab=${tab}` : ""}`;
}

export function listen() {
  addEventListener("popstate", tell);
  addEventListener("click", caught);
}

function caught(event) {
  const link = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
  if (!link || !plain || event.defaultPrevented || link.target || link.origin !== location.origin) return;
  if (link.hasAttribute("download") || link.dataset.outside !== undefined) return;
  event.preventDefault();
  navigate(link.pathname + link.search);
}

function tell() {
  const before = current.path;
  current = read();
  moved ||= current.path !== before;
  for (const listener of [...listeners]) listener(current);
}

function read() {
  return { path: location.pathname, query: Object.fromEntries(new URLSearchParams(location.search)) };
}

function split(path) {
  return path.split("/").filter(Boolean);
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
