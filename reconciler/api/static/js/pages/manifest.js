// A manifest with its errors in place, edited as text or by its fields; what would follow is shown before it is applied.

import { html, useEffect, useRef, useState } from "../../vendor/preact-htm.js";
import { show } from "../api.js";
import { Button, Choice, Loading, ProblemBox, useAsked } from "../components.js";
import { drafts } from "../drafts.js";
import { readManifest, removeManifest, writeManifest } from "../edits.js";
import { Editor, Problems, problemsOf } from "../editor.js";
import { FieldsForm } from "../fields_form.js";
import { Review } from "../review.js";
import { toast } from "../store.js";

const QUIET_MS = 400; // a pause in typing, after which the draft is checked

/** The tab of a server's page. */
export default function Manifest({ item }) {
  const [how, setHow] = useState("text");
  const files = useAsked("/api/v1/manifests");
  const { name, source: accepted } = item.metadata;
  if (files.problem) return html`<${ProblemBox} problem=${files.problem} again=${files.again} />`;
  if (!files.data) return html`<${Loading} />`;
  const source = accepted ?? placeOf(files.data.items, name);
  if (!source) return html`<p class="faint pad">No file declares this server any more: see <a href="/manifests">Manifests</a>.</p>`;
  return html`<div class="manifest-tab">
    <div class="manifest-head">
      ${accepted ? html`<${Choice} label="Edit as" options=${[["text", "Text"], ["fields", "Fields"]]} value=${how} onChange=${setHow} />` : null}
      <span class="faint"><code>${source.file}</code> line ${source.line}${accepted ? `, generation ${item.status.generation}` : ": nothing of it was accepted yet"}</span>
    </div>
    ${how === "text" || !accepted
      ? html`<${ManifestEditor} key=${source.file} path=${nameOf(files.data.items, source.file)} line=${source.line} />`
      : html`<${FieldsForm} item=${item} />`}
  </div>`;
}

/** Where a server stands of which nothing was ever accepted: {file, line} of what declares it, or is wrong with it. */
function placeOf(files, name) {
  for (const { file, documents = [], problems = [] } of files) {
    const wrong = problems.find((problem) => problem.server === name);
    const found = wrong ?? documents.find((one) => one.kind === "LlamaServer" && one.name === name);
    if (found) return { file, line: found.line };
  }
  return null;
}

/** A file as the interface names it; `file` is that, or what problems and documents call it. */
export function nameOf(files, file) {
  return files.find((one) => one.file === file)?.path ?? file;
}

/** One file. `draft` is what a new one begins with. */
export function ManifestEditor({ path, line = 0, draft = null, onRemoved, onMade }) {
  const [kept, setKept] = useState(draft === null ? null : { text: "", etag: null, problems: [] });
  const [text, setText] = useState(drafts.get(path)?.text ?? draft ?? "");
  const [problem, setProblem] = useState(null);
  const [review, setReview] = useState(null);
  const isGit = path.startsWith("git:");
  const load = async () => {
    try {
      const found = await readManifest(path);
      const mine = drafts.get(path);
      // A draft goes on from the file that it was begun with, so that what others wrote since is told.
      setKept(mine?.etag ? { ...found, etag: mine.etag } : found);
      setText(mine?.text ?? found.text);
      setProblem(null);
    } catch (error) {
      setProblem(error);
    }
  };
  useEffect(() => void (draft === null && load()), [path]);
  const { problems, blocked, overtaken, setChecked } = useChecked(path, text, kept, isGit);
  const isOwn = (file) => (kept?.file ? file === kept.file : file === path || file.endsWith(`/${path}`));
  if (problem) return html`<${ProblemBox} problem=${problem} again=${load} />`;
  if (!kept) return html`<${Loading} />`;

  const changed = text !== kept.text;
  const type = (typed) => {
    setText(typed);
    if (typed === kept.text) drafts.delete(path);
    else drafts.set(path, { text: typed, etag: kept.etag });
  };
  const takeTheirs = () => {
    drafts.delete(path);
    return load();
  };
  const openReview = async () => {
    if (!changed || isGit) return;
    const answer = await writeManifest(path, text, { etag: kept.etag, dryRun: true }).catch(show);
    if (answer) setChecked(answer);
    if (answer?.edit) setReview({ edit: answer.edit, apply });
  };
  const apply = async () => {
    const answer = await writeManifest(path, text, { etag: kept.etag }).catch(show);
    if (!answer) return;
    setReview(null);
    setChecked(answer);
    if (!answer.edit) return;
    drafts.delete(path);
    toast(`${path} is written`, { kind: "good" });
    if (draft !== null) onMade?.();
    else await load();
  };
  const openRemoval = async () => {
    const answer = await removeManifest(path, { etag: kept.etag, dryRun: true }).catch(show);
    if (answer?.edit) setReview({ edit: answer.edit, apply: remove, danger: true });
    else if (answer) setChecked(answer);
  };
  const remove = async () => {
    const answer = await removeManifest(path, { etag: kept.etag }).catch(show);
    if (!answer?.edit) return;
    setReview(null);
    drafts.delete(path);
    toast(`${path} is deleted`, { kind: "good" });
    if (onRemoved) onRemoved();
    else setKept({ text: "", etag: null, problems: [] });
  };
  return html`
    ${isGit ? html`<${Problems} problems=${problemsOf(kept.problems)} /><p class="problem note"><span>This file is of the Git repository: change it there, and look again with Sync under <a href="/sources">Sources</a>.</span></p>` : null}
    ${overtaken
      ? html`<div class="problem warn" role="alert"><p class="problem-head">Somebody else has written this file meanwhile.</p>
          <p>Your text is still here. <${Button} onClick=${takeTheirs}>Take theirs<//> <${Button} onClick=${() => rebase(path, setKept, setChecked)}>Compare mine with theirs<//></p></div>`
      : null}
    ${isGit && !text ? null : html`<${Editor} text=${text} problems=${problemsOf(problems, isOwn)} at=${line} onInput=${isGit ? undefined : type} onReview=${openReview} label=${`Text of ${path}`} />`}
    ${isGit
      ? null
      : html`<footer class="editor-foot">
          <span class="faint" role="status">${changed ? (problems.length ? "It has errors; nothing that runs is touched by them." : blocked || "Changed, not written yet.") : "As it is in the file."}</span>
          ${draft === null ? html`<${Button} kind="quiet" icon="trash" onClick=${openRemoval}>Delete<//>` : null}
          <${Button} disabled=${!changed} onClick=${() => type(kept.text)}>Discard<//>
          <${Button} kind="primary" disabled=${!changed} title="Ctrl+S" onClick=${openReview}>Review changes<//>
        </footer>`}
    ${review ? html`<${Review} path=${path} ...${review} close=${() => setReview(null)} />` : null}
  `;
}

/** What is wrong with a text: at first what the file had, after a pause in typing what the interface says of the draft. */
function useChecked(path, text, kept, isGit) {
  const [checked, setChecked] = useState(null);
  const newest = useRef(0);
  useEffect(() => {
    const mine = ++newest.current;
    if (!kept || isGit || text === kept.text) return void setChecked(null);
    const timer = setTimeout(async () => {
      const answer = await check(path, text, kept.etag);
      if (mine === newest.current && answer) setChecked(answer);
    }, QUIET_MS);
    return () => clearTimeout(timer);
  }, [text, kept]);
  const problems = checked ? (checked.problems ?? ofFile(checked.edit?.plan?.problems, kept?.file, path)) : (kept?.problems ?? []);
  return { problems, blocked: blockedBy(checked?.edit?.plan), overtaken: checked?.overtaken ?? false, setChecked };
}

// Without a session nothing can be checked on the way; one is asked for when the changes are reviewed.
async function check(path, text, etag) {
  try {
    return await writeManifest(path, text, { etag, dryRun: true });
  } catch {
    return null;
  }
}

function ofFile(problems, file, path) {
  const isOwn = (one) => (file ? one === file : one.endsWith(path));
  return (problems ?? []).filter((problem) => !problem.file || isOwn(problem.file));
}

// What is valid, and yet would not start: a flag, say, that this llama-server does not know.
function blockedBy(plan) {
  const found = (plan?.changes ?? []).find((change) => change.blocked && change.fields?.length);
  return found ? `Changed, not written yet. ${found.server} would be blocked: ${found.blocked}` : "";
}

async function rebase(path, setKept, setChecked) {
  const theirs = await readManifest(path).catch(show);
  if (!theirs) return;
  setKept(theirs);
  setChecked(null);
}
