// What is wrong, what was tried, and what can be done: a button where the interface can do it, else a command to copy.

import { html } from "../../vendor/preact-htm.js";
import { act } from "../api.js";
import { Button, Copy, WaysOut } from "../components.js";
import { confirm } from "../dialog.js";
import { serverTone } from "../format.js";
import { serverPath } from "../router.js";
import { toast } from "../store.js";

export function Diagnosis({ item }) {
  const told = item.status.explanation;
  if (!told) return null;
  return html`<section class=${`diagnosis ${serverTone(item)}`} aria-label="Diagnosis">
    <h2>${told.state}${told.reason && told.reason !== told.state ? html`: ${told.reason}` : null}</h2>
    <p class="happened">${told.happened || told.headline}</p>
    ${told.tried?.length ? html`<div><h3>What was tried</h3><ul class="tried">
      ${told.tried.map((line) => html`<li key=${line}>${line}</li>`)}</ul></div>` : null}
    ${told.canDo?.length ? html`<div><h3>What you can do</h3>${told.actions ? html`<${Actions}
      actions=${told.actions} />` : html`<${WaysOut} lines=${told.canDo} />`}</div>` : null}
  </section>`;
}

function Actions({ actions }) {
  return html`<ul class="ways">${actions.map((one) => html`<li key=${one.text} class="way"><${Way} one=${one} /></li>`)}
    </ul>`;
}

const EDIT = /^reconciler edit (?:server\/)?([a-z0-9.-]+)$/;

function Way({ one }) {
  const edited = EDIT.exec(one.command ?? "");
  if (edited)
    return html`<a class="button plain" href=${serverPath(edited[1], "manifest")}>Edit</a><span class="way-text">
      ${one.text}</span>`;
  if (one.request)
    return html`<${Button} kind="primary" onClick=${() => perform(one)} data-remedy=${one.request.path}>${title(one)}
      <//><span class="way-text">${one.text}</span>`;
  return one.command ? html`<${Sentence} text=${one.text} command=${one.command} />` : html`<span>${one.text}</span>`;
}

// The command within its sentence can be copied; marks around it are left out.
function Sentence({ text, command }) {
  const at = text.indexOf(command);
  const before = text.slice(0, at).replace(/`$/, "");
  return html`<span>${before}<${Copy} text=${command} />${text.slice(at + command.length).replace(/^`/, "")}</span>`;
}

const TITLES = {
  restart: "Restart",
  start: "Start",
  stop: "Stop",
  suspend: "Suspend",
  resume: "Resume",
  sync: "Sync",
  use: "Use the profile",
};

function title({ request }) {
  if (request.method === "PATCH") return "Set it";
  if (request.body?.primary) return "Try what was asked for";
  return TITLES[request.path.split("/").pop()] ?? "Do it";
}

async function perform(one) {
  const { method, path, body } = one.request;
  const question = { title: `${title(one)}?`, text: [one.text, ...(await consequences(one.request))], yes: title(one) };
  if (!(await confirm(question))) return;
  const answer = await act(method, path, body ?? {});
  if (answer) toast(`Done: ${one.command ?? one.text}`, { kind: "good" });
}

// Of an edit: what it would change, told before it is done.
async function consequences({ method, path, body }) {
  if (method !== "PATCH") return [];
  const found = await act(method, `${path}?dryRun=true`, body);
  const changes = (found?.plan?.changes ?? []).filter((one) => one.action !== "unchanged");
  return changes.map((one) => `${one.server}: ${one.action}${one.reason ? `, for ${one.reason}` : ""}`);
}
