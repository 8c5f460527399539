// The shell: navigation, what the connection is like, and the page of the address.

import { html, render, useEffect, useErrorBoundary, useState } from "../vendor/preact-htm.js";
import { Button, Copy, Empty, Icon, Loading, Page, ProblemBox, Toasts } from "./components.js";
import { Dialog } from "./dialog.js";
import { clock, commandIn, ticking } from "./format.js";
import { KEYS, listen as listenToKeys } from "./keys.js";
import { begin as beginLive } from "./live.js";
import { pages } from "./pages.js";
import { listen as listenToLinks, match, useRoute } from "./router.js";
import { beginSession } from "./session.js";
import { SessionDialog } from "./session_dialog.js";
import { set, useClock, useStore } from "./store.js";
import { begin as beginTheme, cycle } from "./theme.js";

const loaded = new Map(); // page → its component

function App() {
  const { connection, loaded: known } = useStore("connection", "loaded");
  const isOld = known && (connection.phase === "lost" || connection.phase === "stale");
  const { path, query } = useRoute();
  const { help } = useStore("help");
  useEffect(showCurrent, [path, query]);
  const found = pages.map((page) => ({ page, params: match(page.path, path) })).find((one) => one.params);
  return html`<a class="skip" href="#main" data-outside>To the page</a>
    <${Navigation} path=${path} page=${found?.page} />
    <div class="content"><${Connection} />
      <main id="main" tabindex="-1" class=${isOld ? "old" : ""}>
        ${found ? html`<${Lazy} key=${found.page.path + JSON.stringify(found.params)} page=${found.page}
          params=${found.params} query=${query} />` : html`<${NoPage} path=${path} />`}
      </main>
    </div>
    <${Toasts} /><${SessionDialog} />
    ${help && html`<${Keys} />`}`;
}

// Where the links do not fit side by side: the current one is to be seen.
function showCurrent() {
  for (const row of document.querySelectorAll(".side ul, .tabs")) {
    const link = row.querySelector("[aria-current]");
    if (link) row.scrollLeft = Math.max(0, link.offsetLeft - row.offsetLeft - (row.clientWidth - link.offsetWidth) / 2);
  }
}

function Lazy({ page, params, query }) {
  const [Part, setPart] = useState(() => loaded.get(page));
  const [failed, forget] = useErrorBoundary((error) => console.error(error));
  const [missing, setMissing] = useState(null);
  const { connection } = useStore("connection");
  const isLive = connection.phase === "live";
  useEffect(() => {
    if (Part) return;
    load(page).then(
      (found) => (setMissing(null), setPart(() => found)),
      (error) => setMissing(error),
    );
  }, [Part, isLive]);
  const error = failed ?? missing;
  if (missing && !isLive) {
    const message = "This page is not loaded yet, and the controller does not answer. It is loaded as soon as it does.";
    return html`<${ProblemBox} problem=${{ message, canDo: ["see whether the controller runs: reconciler doctor"] }} />`;
  }
  if (error) {
    const canDo = ["load the page again", "if that does not help: reconciler doctor"];
    return html`<${ProblemBox} problem=${{ message: `This page could not be shown: ${error.message}`, canDo }}
      again=${() => (missing ? location.reload() : forget())} />`;
  }
  return Part ? html`<${Part} params=${params} query=${query} />` : html`<${Loading} />`;
}

async function load(page) {
  if (!loaded.has(page)) loaded.set(page, (await page.load()).default);
  return loaded.get(page);
}

const LEISURE_MS = 4000;

// The other pages, when all that is seen is there: they are shown then also without the controller.
function loadOthers() {
  setTimeout(() => {
    if (!document.hidden) for (const page of pages) load(page).catch(() => {});
  }, LEISURE_MS);
}

function NoPage({ path }) {
  return html`<${Page} title="No such page"><${Empty} title=${`There is nothing at ${path}`}>
    <a href="/">All servers</a><//><//>`;
}

function Navigation({ path, page }) {
  const { summary, sources } = useStore("summary", "sources");
  const here = page?.parent ?? path;
  const marks = {
    "/": astray(summary),
    "/manifests": wrong(summary),
    "/sources": degraded(sources),
  };
  return html`<nav class="side" aria-label="Pages">
    <a class="brand" href="/"><i aria-hidden="true"></i><b>reconciler</b></a>
    <ul>${pages
      .filter((one) => one.nav)
      .map(
        (one) => html`<li key=${one.path}>
      <a href=${one.path} aria-current=${here === one.path ? "page" : undefined} title=${`${one.title} (g ${one.key})`}>
        <${Icon} name=${one.icon} /><span>${one.title}</span>${marks[one.path] ? html`<em class="mark">
          ${marks[one.path]}</em>` : null}
      </a></li>`,
      )}</ul>
    <${Foot} summary=${summary} />
  </nav>`;
}

// Errors of documents, and what is wrong with the folder as a whole.
function wrong(summary) {
  return (summary?.problems?.length ?? 0) + (summary?.folderProblem ? 1 : 0);
}

const BAD_PHASES = ["Failed", "Blocked", "BackOff", "Unhealthy", "Invalid"];

function astray(summary) {
  return summary ? BAD_PHASES.reduce((sum, phase) => sum + (summary.phases?.[phase] ?? 0), 0) : 0;
}

function degraded(sources) {
  return sources.filter((one) =>
    one.status.conditions.some((condition) => condition.type === "Degraded" && condition.status === "True"),
  ).length;
}

function Foot({ summary }) {
  const { theme, connection } = useStore("theme", "connection");
  const icon = { auto: "auto", light: "sun", dark: "moon" }[theme];
  const words = { live: "live", stale: "stale", lost: "not connected", connecting: "connecting" };
  return html`<div class="foot">
    <span class=${`pulse ${connection.phase}`} role="status"><i aria-hidden="true"></i>${words[connection.phase]}</span>
    <span class="foot-tools">
      <${Button} kind="quiet" icon=${icon} title=${`Colours: ${theme} (t)`} onClick=${cycle} />
      <${Button} kind="quiet" icon="help" title="Keys (?)" onClick=${() => set("help", true)} />
    </span>
    ${summary && html`<span class="faint version"
      title=${`installation ${summary.installation}, pid ${summary.controller?.pid}`}>version ${summary.version}
      </span>`}
  </div>`;
}

// Nothing while it is well, and nothing for a blink.
function Connection() {
  const { connection, loaded: known, session } = useStore("connection", "loaded", "session");
  const now = useClock(1000, { always: true });
  const { phase, since, error, canDo } = connection;
  if (phase === "live" || (phase === "connecting" && now - since < 4000) || (phase === "lost" && now - since < 1500))
    return null;
  if (!session.readable) return null;
  const shown = known ? `What is shown is of ${clock(since)}, ${ticking((now - since) / 1000)} ago. ` : "";
  const command = canDo?.length ? commandIn(canDo[0]) : null;
  const what = phase === "stale" ? "the controller is silent" : error || "the connection ended";
  return html`<div class="stale" role="alert"><${Icon} name="warn" />
    <p><b>Not connected:</b> ${what}. ${shown}It is tried again by itself. ${command && html`See why: <${Copy}
      text=${command} />`}</p></div>`;
}

function Keys() {
  return html`<${Dialog} title="Keys" onClose=${() => set("help", false)}>
    <dl class="keys">${KEYS.map(([key, what]) => html`<div key=${key}><dt>${key.split(/ +/).map((one) => html`<kbd>
      ${one}</kbd>`)}</dt><dd>${what}</dd></div>`)}</dl>
  <//>`;
}

async function begin() {
  beginTheme();
  listenToLinks();
  listenToKeys(cycle);
  const root = document.getElementById("app");
  root.replaceChildren();
  render(html`<${App} />`, root);
  await beginSession();
  beginLive();
  loadOthers();
}

begin();
