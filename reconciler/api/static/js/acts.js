// What can be done with a server, and the questions that come before.

import { html } from "../vendor/preact-htm.js";
import { act } from "./api.js";
import { Button } from "./components.js";
import { confirm } from "./dialog.js";
import { toast } from "./store.js";
import { runs } from "./words.js";

const DONE = {
  restart: "is being restarted",
  stop: "is being stopped",
  start: "is being started",
  suspend: "is suspended in its manifest",
  resume: "is resumed in its manifest",
};

export async function ask(name, verb, body) {
  const answer = await act("POST", `/api/v1/servers/${encodeURIComponent(name)}/${verb}`, body);
  if (answer) toast(`${name} ${DONE[verb]}`, { kind: "good" });
  return answer;
}

export async function restart(item) {
  const { name } = item.metadata;
  const stepped = (item.status.fallback?.step ?? 0) > 0;
  if (!runs(item) && !stepped) return ask(name, "restart");
  const text = runs(item)
    ? "What it is answering now is cut off, and its model is loaded anew."
    : "It is tried again at once.";
  if (!stepped) return (await confirm({ title: `Restart ${name}?`, text, yes: "Restart" })) && ask(name, "restart");
  const choices = [
    ["same", "Restart as it runs"],
    ["primary", "Try what was asked for", "primary"],
  ];
  const chosen = await confirm({
    title: `Restart ${name}?`,
    text: [text, `It runs on a fallback step: ${item.status.fallback.told}.`],
    choices,
  });
  return chosen && ask(name, "restart", chosen === "primary" ? { primary: true } : undefined);
}

async function stop(item) {
  const { name } = item.metadata;
  const now = runs(item) ? "What it is answering now is cut off." : "It is tried no more.";
  const text = `${now} It stays stopped until it is started here, or by: reconciler start ${name}`;
  return (await confirm({ title: `Stop ${name}?`, text, yes: "Stop", danger: true })) && ask(name, "stop");
}

async function suspend(item) {
  const { name, source } = item.metadata;
  const text = `spec.suspend: true is written to ${source?.file ?? "its manifest"}; it stays down until it is resumed.`;
  return (await confirm({ title: `Suspend ${name}?`, text, yes: "Suspend", danger: true })) && ask(name, "suspend");
}

// The acts that make sense now, the most usual first: {verb, title, icon, kind, run}.
export function acts(item) {
  const { name } = item.metadata;
  const { phase } = item.status;
  if (phase === "Invalid") return []; // nothing of it was ever accepted
  // What changes files is done where they are.
  const disabled = item.metadata.source?.origin === "git" ? "it comes from Git: change spec.suspend there" : "";
  if (item.spec.suspend)
    return [{ verb: "resume", title: "Resume", icon: "start", kind: "primary", disabled, run: () => ask(name, "resume") }];
  const rests = phase === "Stopped";
  return [
    rests && { verb: "start", title: "Start", icon: "start", kind: "primary", run: () => ask(name, "start") },
    !rests && {
      verb: "restart",
      title: runs(item) ? "Restart" : "Try again",
      icon: "restart",
      run: () => restart(item),
    },
    !rests && phase !== "Stopping" && { verb: "stop", title: "Stop", icon: "stop", run: () => stop(item) },
    { verb: "suspend", title: "Suspend", icon: "suspend", disabled, run: () => suspend(item) },
  ].filter(Boolean);
}

// As buttons; `small` without words, and without what changes files.
export function Acts({ item, small = false }) {
  const offered = acts(item).filter((one) => !small || one.verb !== "suspend");
  return html`<span class="acts">${offered.map(
    ({ verb, title, icon, kind, disabled, run }) => html`<${Button} key=${verb} icon=${icon} data-act=${verb}
    kind=${small ? "quiet" : (kind ?? "plain")} disabled=${Boolean(disabled)}
    title=${`${title} ${item.metadata.name}${disabled ? `: ${disabled}` : ""}`} onClick=${run}>
      ${small ? null : title}<//>`,
  )}</span>`;
}
