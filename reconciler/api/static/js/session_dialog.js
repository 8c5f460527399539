// Shown over every page when an act, or a look, needs a session that this browser does not have.

import { html } from "../vendor/preact-htm.js";
import { Button, Copy, Dialog, WaysOut } from "./components.js";
import { closeAsking, look } from "./session.js";
import { state, useStore } from "./store.js";

export function SessionDialog() {
  const { session } = useStore("session");
  const { asking, readable } = session;
  if (!asking && readable) return null;
  const title = TITLES[asking?.reason] ?? (readable ? "This browser may look, but not act" : "This browser needs a session");
  const actions = html`
    ${readable ? html`<${Button} onClick=${closeAsking}>Close<//>` : null}
    <${Button} kind="primary" autofocus onClick=${() => look().then(() => state.session.actable && closeAsking())}>Look again<//>
  `;
  return html`<${Dialog} title=${title} onClose=${closeAsking} actions=${actions}>
    ${asking?.message ? html`<p>${asking.message}</p>` : null}
    <p>In a terminal on the controller's machine, as its user:</p>
    <p><${Copy} text="reconciler ui" /></p>
    <p class="faint">It opens this page with a session of twelve hours, also for the tabs that are open already.
      Without a browser there, <code>reconciler ui --print</code> prints the address to open.</p>
    ${others(asking).length ? html`<${WaysOut} lines=${others(asking)} />` : null}
  <//>`;
}

const TITLES = {
  TokenExpired: "The session has expired",
  CodeUsed: "The code is used up or too old",
  CodeRefused: "The code is used up or too old",
};

function others(asking) {
  return (asking?.canDo ?? []).filter((line) => !/reconciler ui\b/.test(line));
}
