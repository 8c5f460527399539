// Light, dark, or as the system has it; kept in this browser.

import { set, state } from "./store.js";

const NEXT = { auto: "light", light: "dark", dark: "auto" };

export function begin() {
  try {
    apply(localStorage.getItem("reconciler.theme") ?? "auto");
  } catch {
    apply("auto");
  }
}

export function cycle() {
  choose(NEXT[state.theme]);
}

export function choose(theme) {
  apply(theme);
  try {
    localStorage.setItem("reconciler.theme", theme);
  } catch {
    // Storage is forbidden here: it lasts as long as the page.
  }
}

function apply(theme) {
  const known = theme in NEXT ? theme : "auto";
  document.documentElement.dataset.theme = known;
  set("theme", known);
}

// Whether the page is dark now: pictures drawn on a canvas ask.
export function isDark() {
  return state.theme === "dark" || (state.theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
}
