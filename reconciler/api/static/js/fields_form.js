// The fields that are changed most, as a form; it makes the edit that `reconciler set` would make.

import { html, useState } from "../vendor/preact-htm.js";
import { show } from "./api.js";
import { Button } from "./components.js";
import { drafts as kept } from "./drafts.js";
import { setFields } from "./edits.js";
import { Problems, problemsOf } from "./editor.js";
import { shown } from "./plan.js";
import { Review } from "./review.js";
import { toast } from "./store.js";

// `kind`: text | number | whole | switch.  `none` says what an empty field means.
const FIELDS = [
  { path: "spec.model", title: "Model", kind: "text", hint: "a path, relative to the models folder" },
  { path: "spec.ctx", title: "Context", kind: "number", none: "what the model was trained with", hint: "tokens over all slots" },
  { path: "spec.parallel", title: "Slots", kind: "number", none: "llama-server decides", hint: "requests at once" },
  { path: "spec.gpuLayers", title: "GPU layers", kind: "whole", none: "llama-server decides", hint: "a number, auto or all" },
  { path: "spec.threads", title: "Threads", kind: "number", none: "llama-server decides" },
  { path: "spec.port", title: "Port", kind: "whole", none: "a free one", hint: "a number or auto" },
  { path: "spec.restart.maxRestarts", title: "Restarts in a row", kind: "number", none: "3" },
  { path: "spec.suspend", title: "Suspended", kind: "switch" },
];

export function FieldsForm({ item }) {
  const key = `fields of ${item.metadata.name}`;
  const [drafts, setOwn] = useState(kept.get(key) ?? {});
  const setDrafts = (changed) => {
    setOwn(changed);
    const { set, unset } = editsOf(item, changed);
    if (Object.keys(set).length || unset.length) kept.set(key, changed);
    else kept.delete(key);
  };
  const [problems, setProblems] = useState([]);
  const [review, setReview] = useState(null);
  const { name, source } = item.metadata;
  const isGit = source?.origin === "git";
  const edits = editsOf(item, drafts);
  const some = Object.keys(edits.set).length + edits.unset.length;
  const ask = async (dryRun) => {
    const answer = await setFields(name, edits.set, edits.unset, { dryRun }).catch(show);
    if (answer) setProblems(problemsOf(answer.problems));
    return answer?.edit;
  };
  const open = async (event) => {
    event?.preventDefault();
    const edit = some ? await ask(true) : null;
    if (edit) setReview({ edit });
  };
  const apply = async () => {
    const edit = await ask(false);
    if (!edit) return void setReview(null);
    setReview(null);
    setDrafts({});
    toast(`${edit.path ?? name} is written`, { kind: "good" });
  };
  return html`<form class="fields-form" onSubmit=${open}>
    ${isGit ? html`<p class="problem note"><span>This server comes from Git: change it there, in <code>${source.file.replace(/^git:/, "")}</code>.</span></p>` : null}
    <fieldset disabled=${isGit}>${FIELDS.map((field) => html`<${Field} key=${field.path} field=${field} value=${valueOf(item, field)} from=${item.status.fromDefaults?.[field.path]}
      draft=${drafts[field.path]} onDraft=${(draft) => setDrafts({ ...drafts, [field.path]: draft })} />`)}</fieldset>
    <${Problems} problems=${problems} />
    ${isGit ? null : html`<footer class="editor-foot">
      <span class="faint" role="status">${some ? `${some} changed, not written yet.` : "As it is in the file. All other fields are edited as text."}</span>
      <${Button} disabled=${!some} onClick=${() => setDrafts({})}>Discard<//>
      <${Button} kind="primary" disabled=${!some} onClick=${open}>Review changes<//>
    </footer>`}
    ${review ? html`<${Review} path=${name} edit=${review.edit} apply=${apply} close=${() => setReview(null)} />` : null}
  </form>`;
}

function Field({ field, value, from, draft, onDraft }) {
  const id = `field-${field.path}`;
  const note = from ? `from ${from}` : (field.hint ?? "");
  const input = field.kind === "switch"
    ? html`<input id=${id} type="checkbox" role="switch" checked=${draft ?? value ?? false} onChange=${(event) => onDraft(event.target.checked)} />`
    : html`<input id=${id} type="text" inputmode=${field.kind === "number" ? "numeric" : undefined} autocomplete="off" spellcheck=${false}
        placeholder=${field.none ? `not set: ${field.none}` : ""} value=${draft ?? (value === undefined ? "" : shown(value))} onInput=${(event) => onDraft(event.target.value)} />`;
  return html`<div class=${`field ${draft === undefined ? "" : "drafted"}`}>
    <label for=${id}>${field.title}</label>${input}<span class="faint"><code>${field.path}</code> ${note}</span>
  </div>`;
}

function valueOf(item, { path }) {
  return path.split(".").slice(1).reduce((value, key) => value?.[key], item.spec) ?? undefined;
}

/** What differs from what is declared, as the interface takes it. */
export function editsOf(item, drafts) {
  const edits = { set: {}, unset: [] };
  for (const field of FIELDS) {
    const draft = drafts[field.path];
    const old = valueOf(item, field);
    if (draft === undefined || draft === (old === undefined ? (field.kind === "switch" ? false : "") : field.kind === "switch" ? old : shown(old))) continue;
    if (draft === "" || (field.kind === "switch" && !draft)) edits.unset.push(field.path);
    else edits.set[field.path] = typed(draft, field, old);
  }
  return edits;
}

// Numbers as numbers; what is none is left to the interface, which says what it expects there.
function typed(draft, field, old) {
  if (field.kind === "switch") return draft;
  if (field.kind !== "text" && /^-?\d+$/.test(draft.trim())) return Number(draft);
  if (typeof old === "object" && draft.startsWith("{")) {
    try {
      return JSON.parse(draft);
    } catch {
      return draft;
    }
  }
  return draft.trim();
}
