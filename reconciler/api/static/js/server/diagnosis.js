// What is wrong, what was tried, and what can be done: a button where the interface can do it, else a command to copy.

import { html, useState } from "../../vendor/preact-htm.js";
import { restart } from "../acts.js";
import { act, show } from "../api.js";
import { Button, Copy, useAsked, WaysOut } from "../components.js";
import { confirm } from "../dialog.js";
import { manifestPath, setFields } from "../edits.js";
import { number, serverTone } from "../format.js";
import { Review } from "../review.js";
import { serverPath } from "../router.js";
import { toast } from "../store.js";
import { runs } from "../words.js";

export function Diagnosis({ item }) {
  const told = item.status.explanation;
  if (!told) return null;
  return html`<section class=${`diagnosis ${serverTone(item)}`} aria-label="Diagnosis">
    <h2>${told.state}${told.reason && told.reason !== told.state ? html`: ${told.reason}` : null}</h2>
    <p class="happened">${told.happened || told.headline}</p>
    ${told.reason === "Unknown" ? html`<${OfModel} name=${item.metadata.name} />` : null}
    ${told.reason === "InvalidManifest" ? html`<${Errors} name=${item.metadata.name} told=${told.happened} />` : null}
    ${told.tried?.length ? html`<div><h3>What was tried</h3><ul class="tried">
      ${told.tried.map((line) => html`<li key=${line}>${line}</li>`)}</ul></div>` : null}
    ${told.canDo?.length ? html`<div><h3>What you can do</h3>${told.actions ? html`<${Actions}
      item=${item} actions=${told.actions} />` : html`<${WaysOut} lines=${told.canDo} />`}</div>` : null}
  </section>`;
}

// What a look at the model's file says, where the log of what failed did not say enough.
function OfModel({ name }) {
  const { data } = useAsked("/api/v1/models");
  const found = (data?.items ?? []).find((model) => model.problem && model.usedBy.includes(name));
  return found ? html`<p>The model's file: ${found.problem} (<a href="/models">Models</a>)</p>` : null;
}

// What else is wrong in its manifest, each a link to its place.
function Errors({ name, told }) {
  const { data } = useAsked("/api/v1/manifests");
  const found = (data?.items ?? [])
    .flatMap((file) => file.problems ?? [])
    .filter((problem) => problem.server === name && problem.text !== told);
  if (!found.length) return null;
  return html`<ul class="tried">${found.map(
    (one) => html`<li key=${one.text}><a href=${manifestPath(one.file, one.line)}>${one.file}:${one.line}</a>
      ${one.field ? `${one.field}: ` : ""}${one.message}</li>`,
  )}</ul>`;
}

function Actions({ item, actions }) {
  return html`<ul class="ways">${actions.map(
    (one) => html`<li key=${one.text} class="way"><${Way} item=${item} one=${one} /></li>`,
  )}</ul>`;
}

const EDIT = /^reconciler edit (?:server\/)?([a-z0-9.-]+)$/;
const PLACE = /^(edit )(\S+\.ya?ml):(\d+)(.*)$/s;

function Way({ item, one }) {
  const edited = EDIT.exec(one.command ?? "")?.[1] ?? (one.command === "reconciler validate" ? item.metadata.name : "");
  const place = PLACE.exec(one.text);
  if (edited)
    return html`<a class="button plain" href=${serverPath(edited, "manifest")}>Edit</a><span class="way-text">
      ${one.text}</span>`;
  if (one.request?.method === "PATCH") return html`<${Fix} one=${one} />`;
  if (one.request)
    return html`<${Button} kind="primary" onClick=${() => perform(one, item)} data-remedy=${one.request.path}>
      ${title(one, item)}<//><span class="way-text">${one.text}</span>`;
  if (place)
    return html`<span>${place[1]}<a href=${manifestPath(place[2], Number(place[3]))}>${place[2]}:${place[3]}</a>
      ${place[4]}</span>`;
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

function title({ request }, item) {
  if (request.body?.primary) return "Try what was asked for";
  const verb = request.path.split("/").pop();
  return verb === "restart" && !runs(item) ? "Try again" : (TITLES[verb] ?? "Do it");
}

async function perform(one, item) {
  const { method, path, body } = one.request;
  if (path === `/api/v1/servers/${item.metadata.name}/restart` && !body?.primary) return restart(item);
  const what = title(one, item);
  if (!(await confirm({ title: `${what}: ${item.metadata.name}?`, text: one.text, yes: what }))) return;
  const answer = await act(method, path, body ?? {});
  if (answer) toast(`Done: ${one.command ?? one.text}`, { kind: "good" });
}

// An edit of a manifest, shown before it is made as any other.
function Fix({ one }) {
  const [review, setReview] = useState(null);
  const name = decodeURIComponent(one.request.path.split("/").pop());
  const { set = {}, unset = [] } = one.request.body;
  const ask = async (dryRun) => {
    const answer = await setFields(name, set, unset, { dryRun }).catch(show);
    if (answer?.problems) toast(answer.problem.message, { kind: "bad", canDo: answer.problem.canDo });
    return answer?.edit;
  };
  const open = async () => {
    const edit = await ask(true);
    if (edit) setReview(edit);
  };
  const apply = async () => {
    const edit = await ask(false);
    setReview(null);
    if (edit) toast(`${edit.path ?? name} is written`, { kind: "good" });
  };
  return html`<${Button} kind="primary" onClick=${open} data-remedy=${one.request.path}>${edits(set, unset)}<//>
    <span class="way-text">${one.text === one.command ? html`in its manifest; in a terminal: <${Copy}
      text=${one.command} />` : one.text}</span>
    ${review ? html`<${Review} path=${name} edit=${review} apply=${apply} close=${() => setReview(null)} />` : null}`;
}

// `Set ctx to 262,144`
function edits(set, unset) {
  const name = (path) => path.replace(/^spec\./, "");
  const told = (value) => (typeof value === "number" && value > 65535 ? number(value, 0) : String(value));
  const made = Object.entries(set).map(([path, value]) => `set ${name(path)} to ${told(value)}`);
  const text = [...made, ...unset.map((path) => `take out ${name(path)}`)].join(", ");
  return text[0].toUpperCase() + text.slice(1);
}
