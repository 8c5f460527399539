// The parts that pages are made of.
//
// How a page is made: one module in pages/ whose default export is a component; its line stands in pages.js.
//
//   import { html, useState } from "../../vendor/preact-htm.js";
//   import { Page, Table, Badge, Empty } from "../components.js";
//   import { useStore } from "../store.js";
//
//   export default function Profiles({ params, query }) {
//     const { profiles, loaded } = useStore("profiles", "loaded");
//     return html`<${Page} title="Profiles" tools=${html`<${Button} onClick=${…}>Use none<//>`}>
//       <${Table} rows=${profiles} columns=${COLUMNS} rowKey=${(row) => row.metadata.name} />
//     <//>`;
//   }
//
// What the stream brings is in the store (useStore); all else is asked with useAsked(path) and done with act().
// Text goes into `${…}` only: htm makes text nodes of it, so names and log lines of others are harmless. Never use
// innerHTML, `dangerouslySetInnerHTML`, nor an address from data without safeAddress(). The page's policy forbids
// inline scripts and `style="…"` in HTML; `style=${{ width: "40%" }}` is allowed (it sets properties).
// Keys: `/` focuses the element with data-search, j/k walk those with data-row (Enter opens the link in it), Esc closes.

import { html, useCallback, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { get } from "./api.js";
import { confirm, Dialog } from "./dialog.js";
import { CodeDiff } from "./diff.js";
import { age, bytes, commandIn, moment, tone } from "./format.js";
import { Icon } from "./icons.js";
import { hasMoved } from "./router.js";
import { closeToast, toast, useClock, useStore } from "./store.js";
import { Table } from "./table.js";

export { CodeDiff, confirm, Dialog, Icon, Table };

// `title` also names the browser's tab; `before` stands over it (a way back), `tools` at its right.
export function Page({ title, before, tools, wide = true, children }) {
  const head = useRef();
  useEffect(() => {
    document.title = `${title} · reconciler`;
  }, [title]);
  useEffect(() => {
    // What one came by has gone with its page: on with the keyboard from the new one's head.
    if (hasMoved() && document.activeElement === document.body) head.current.focus({ preventScroll: true });
  }, []);
  return html`<article class=${`page ${wide ? "" : "narrow"}`}>
    <header class="page-head">
      <div class="page-title">${before}<h1 tabindex="-1" ref=${head}>${title}</h1></div>
      <div class="tools">${tools}</div>
    </header>
    ${children}
  </article>`;
}

export function Section({ title, tools, children, ...more }) {
  return html`<section class="section" ...${more}>
    <div class="section-head"><h2>${title}</h2><div class="tools">${tools}</div></div>
    ${children}
  </section>`;
}

// A word with its colour; `as` chooses another tone (good, busy, warn, bad, rest) than that of the word.
export function Badge({ word, as, title }) {
  return html`<span class=${`badge ${as ?? tone(word)}`} title=${title}><i aria-hidden="true"></i>${word}</span>`;
}

// `kind`: plain | primary | danger | quiet. While what onClick returns is pending the button waits,
// and keeps the focus, as `disabled` would not: a dialog gives it back to where it was.
export function Button({ kind = "plain", onClick, icon, title, disabled, children, ...more }) {
  const [busy, setBusy] = useState(false);
  const press = async (event) => {
    if (busy) return;
    setBusy(true);
    try {
      await onClick?.(event);
    } finally {
      setBusy(false);
    }
  };
  return html`<button type="button" class=${`button ${kind} ${busy ? "busy" : ""}`} title=${title} aria-busy=${busy}
    aria-label=${children ? undefined : title} disabled=${disabled} aria-disabled=${busy || undefined} onClick=${press} ...${more}>
    ${icon && html`<${Icon} name=${icon} />`}${children && html`<span>${children}</span>`}
  </button>`;
}

// A moment: as an age that goes on (`ago`), or as time of day; the whole of it in its title.
export function Time({ at, ago = false }) {
  const now = useClock(ago ? 5000 : 60000);
  if (!at) return html`<span class="faint">–</span>`;
  return html`<time datetime=${at} title=${at}>${ago ? age(at, now) : moment(at, now)}</time>`;
}

export function Bytes({ value }) {
  return html`<span class="number">${bytes(value)}</span>`;
}

export function Empty({ title, children }) {
  return html`<div class="empty"><p class="empty-title">${title}</p>${children && html`<p>${children}</p>`}</div>`;
}

export function Loading({ label = "Loading" }) {
  return html`<div class="loading" role="status"><i class="spinner" aria-hidden="true"></i>${label}…</div>`;
}

// `rows`: pairs of a name and what stands for it; those with null are left out.
export function Facts({ rows }) {
  const shown = rows.filter((row) => row && row[1] !== null && row[1] !== undefined);
  return html`<dl class="facts">${shown.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd>
    </div>`)}</dl>`;
}

// A field with `data-search`, which `/` focuses.
export function Search({ value, onInput, label = "Search", ...more }) {
  const keys = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    if (value) onInput("");
    else event.target.blur();
  };
  return html`<label class="search"><${Icon} name="search" />
    <input type="search" data-search placeholder=${label} aria-label=${label} title="/ to search" autocomplete="off"
      spellcheck=${false}
      value=${value} onInput=${(event) => onInput(event.target.value)} onKeyDown=${keys} ...${more} />
  </label>`;
}

// One of several: `options` are pairs of a value and its name.
export function Choice({ label, options, value, onChange }) {
  const chosen = options.findIndex(([one]) => one === value);
  const keys = (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const at = (Math.max(chosen, 0) + by + options.length) % options.length;
    event.currentTarget.children[at].focus();
    onChange(options[at][0]);
  };
  return html`<div class="choice" role="radiogroup" aria-label=${label} onKeyDown=${keys}>${options.map(
    ([one, name], at) =>
      html`<button type="button" role="radio" key=${one} aria-checked=${one === value}
        tabindex=${at === Math.max(chosen, 0) ? 0 : -1} onClick=${() => onChange(one)}>${name}</button>`,
  )}</div>`;
}

export function Tabs({ tabs, value, href }) {
  return html`<nav class="tabs" aria-label="Parts of this page">${tabs.map(
    ([one, name, mark]) =>
      html`<a key=${one} href=${href(one)} aria-current=${one === value ? "page" : undefined}>${name}${
        mark ? html`<span class="mark">${mark}</span>` : null
      }</a>`,
  )}</nav>`;
}

// Text that can be copied by a press: commands, addresses.
export function Copy({ text, label }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await copyText(text);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return html`<button type="button" class="copy" title="Copy" onClick=${copy}>
    <code>${label ?? text}</code><${Icon} name=${done ? "check" : "copy"} /><span class="unseen" role="status">
      ${done ? "copied" : ""}</span>
  </button>`;
}

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = document.body.appendChild(
      Object.assign(document.createElement("textarea"), { value: text, className: "unseen" }),
    );
    field.select();
    if (!document.execCommand("copy"))
      toast("The browser lets nothing be copied: select the text instead", { kind: "bad" });
    field.remove();
  }
}

// What can be done, a line each; commands in them can be copied.
export function WaysOut({ lines }) {
  return html`<ul class="ways">${lines.map((line) => {
    const command = commandIn(line);
    if (!command) return html`<li key=${line}>${line}</li>`;
    const at = line.indexOf(command);
    return html`<li key=${line}>${line.slice(0, at)}<${Copy} text=${command} />${line.slice(at + command.length)}</li>`;
  })}</ul>`;
}

// A Problem in the page, in its three parts.
export function ProblemBox({ problem, again }) {
  return html`<div class="problem bad" role="alert">
    <p class="problem-head">${problem.message}</p>
    ${problem.canDo?.length ? html`<${WaysOut} lines=${problem.canDo} />` : null}
    ${again && html`<${Button} onClick=${again}>Try again<//>`}
  </div>`;
}

// `{data, problem, loading, again}` of a GET. Asked anew when the path changes, and every `every` ms while it is seen.
export function useAsked(path, { every = 0 } = {}) {
  const [asked, setAsked] = useState({ path, data: null, problem: null, loading: true });
  const ask = useCallback(
    async (signal) => {
      try {
        const data = await get(path, { signal });
        if (!signal?.aborted) setAsked({ path, data, problem: null, loading: false });
      } catch (problem) {
        if (problem.name !== "AbortError")
          setAsked((old) => ({ path, data: old.path === path ? old.data : null, problem, loading: false }));
      }
    },
    [path],
  );
  useEffect(() => {
    if (!path) return undefined;
    const stop = new AbortController();
    ask(stop.signal);
    const timer = every ? setInterval(() => document.hidden || ask(stop.signal), every) : 0;
    return () => (stop.abort(), clearInterval(timer));
  }, [path, every]);
  const mine = asked.path === path ? asked : { data: null, problem: null, loading: true };
  return { ...mine, again: () => ask() };
}

// An address from data as a link's: http and https only, else undefined.
export function safeAddress(text) {
  try {
    return ["http:", "https:"].includes(new URL(text).protocol) ? text : undefined;
  } catch {
    return undefined;
  }
}

export function Toasts() {
  const { toasts } = useStore("toasts");
  return html`<div class="toasts" role="log" aria-live="polite">${toasts.map(
    ({
      id,
      text,
      kind,
      canDo,
    }) => html`<div key=${id} class=${`toast ${kind}`} role=${kind === "bad" ? "alert" : "status"}>
      <div><p>${text}</p>${canDo.length ? html`<${WaysOut} lines=${canDo} />` : null}</div>
      <${Button} kind="quiet" icon="close" title="Close" onClick=${() => closeToast(id)} />
    </div>`,
  )}</div>`;
}
