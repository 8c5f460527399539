// Keys: `/` search, j/k rows, Enter opens, g + letter goes to a page, digits choose a tab, ? lists them, Esc closes.

import { pages } from "./pages.js";
import { navigate } from "./router.js";
import { set, state } from "./store.js";

export const KEYS = [
  ["/", "search"],
  ["j  k", "next and previous row"],
  ["Enter", "open the row"],
  ["1 … 9", "parts of the page"],
  ...pages.filter((page) => page.nav).map((page) => [`g ${page.key}`, page.title]),
  ["t", "light, dark or as the system"],
  ["Esc", "close, or leave the search field"],
  ["?", "these keys"],
];

let going = 0; // when `g` was pressed

export function listen(cycleTheme) {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.target.closest?.("input, textarea, select, [contenteditable]")) return;
    if (pressed(event.key, cycleTheme)) event.preventDefault();
  });
}

function pressed(key, cycleTheme) {
  if (Date.now() - going < 1200 && pages.some((page) => page.key === key)) {
    going = 0;
    navigate(pages.find((page) => page.key === key).path);
    return true;
  }
  going = key === "g" ? Date.now() : 0;
  if (key === "/") return focus(document.querySelector("[data-search]"));
  if (key === "j" || key === "k") return walk(key === "j" ? 1 : -1);
  if (key === "Enter") return open();
  if (/^[1-9]$/.test(key)) return click(document.querySelectorAll(".tabs a")[Number(key) - 1]);
  if (key === "t") return (cycleTheme(), true);
  if (key === "?") return (set("help", !state.help), true);
  if (key === "Escape") return back();
  return false;
}

function focus(element) {
  element?.focus();
  element?.select?.();
  return Boolean(element);
}

function click(element) {
  element?.click();
  return Boolean(element);
}

function walk(step) {
  const rows = [...document.querySelectorAll("main [data-row]")];
  if (!rows.length) return false;
  const at = rows.indexOf(document.activeElement?.closest?.("[data-row]"));
  const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + step))];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
  return true;
}

// Enter on a row itself; a link or button in it answers Enter by itself.
function open() {
  const row = document.activeElement;
  return row?.matches?.("[data-row]") ? click(row.querySelector("a[href], button")) : false;
}

function back() {
  if (state.help) return (set("help", false), true);
  const parent = document.querySelector("[data-back]");
  const row = document.activeElement?.closest?.("[data-row]");
  if (row) return (row.blur(), document.activeElement?.blur(), true);
  return click(parent);
}
