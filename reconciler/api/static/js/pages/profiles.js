// Sets of servers of which one may be active, and the switch between them.

import { html, useState } from "../../vendor/preact-htm.js";
import { act } from "../api.js";
import { Badge, Button, Dialog, Empty, Facts, Loading, Page, Section } from "../components.js";
import { manifestPath } from "../edits.js";
import { serverTone } from "../format.js";
import { Plan } from "../plan.js";
import { serverPath } from "../router.js";
import { toast, useStore } from "../store.js";
import { standing } from "../words.js";

export default function Profiles() {
  const { profiles, loaded, servers } = useStore("profiles", "loaded", "servers");
  const [asked, setAsked] = useState(null);
  const active = profiles.find((profile) => profile.status.active);
  const choose = async (name) => {
    const edit = await use(name, true);
    if (edit) setAsked({ name, edit });
  };
  const tools = active ? html`<${Button} onClick=${() => choose("")}>Use none<//>` : null;
  return html`<${Page} title="Profiles" tools=${tools}>
    ${!loaded
      ? html`<${Loading} />`
      : profiles.length
        ? html`
            <p class="lead">${active
              ? html`<b>${active.metadata.name}</b> decides which servers run: ${active.status.ready} of ${active.status.total} ready.`
              : "No profile is active: every server runs."}</p>
            <div class="tiles">${profiles.map((profile) => html`<${Tile} key=${profile.metadata.name} profile=${profile} servers=${servers} choose=${choose} />`)}</div>
          `
        : html`<${Empty} title="No profiles">A Profile names servers that run together, such as one set by day and another by night.
            See docs/profiles.md, or write one under Manifests.<//>`}
    ${asked ? html`<${Switch} ...${asked} close=${() => setAsked(null)} />` : null}
  <//>`;
}

function Tile({ profile, servers, choose }) {
  const { name, source } = profile.metadata;
  const { active, selected, ready, total, switch: how, held, problems } = profile.status;
  const tools = active
    ? html`<${Badge} word="active" as="good" />`
    : html`<${Button} kind="primary" aria-label=${`Use profile ${name}`} onClick=${() => choose(name)}>Use<//>`;
  return html`<${Section} title=${name} tools=${tools} data-row class=${`section tile ${active ? "chosen" : ""}`}>
    <${Facts} rows=${[
      ["Ready", `${ready} of ${total}`],
      ["Switch", how === "StartFirst" ? "StartFirst: what leaves ends when all are ready" : "StopFirst: what leaves ends at once"],
      source && ["Written in", html`<a href=${manifestPath(source.file, source.line)}>${source.file}:${source.line}</a>`],
      held && ["Held", held],
    ]} />
    ${selected.length
      ? html`<ul class="names">${selected.map((one) => html`<li key=${one}><a href=${serverPath(one)}>${one}</a> ${phaseOf(servers, one)}</li>`)}</ul>`
      : html`<p class="faint">It selects no server.</p>`}
    ${(problems ?? []).map((problem) => html`<p class="problem bad" key=${problem}>${typeof problem === "string" ? problem : problem.text}</p>`)}
  <//>`;
}

function phaseOf(servers, name) {
  const item = servers.get(name);
  return item ? html`<${Badge} word=${standing(item)} as=${serverTone(item)} />` : null;
}

function Switch({ name, edit, close }) {
  const title = name ? `Use profile ${name}` : "Use no profile";
  const go = async () => {
    const done = await use(name, false);
    if (!done) return;
    close();
    toast(name ? `Profile ${name} is chosen` : "No profile is chosen: every server runs", { kind: "good" });
  };
  const actions = html`<${Button} onClick=${close}>Cancel<//><${Button} kind="primary" autofocus onClick=${go}>${name ? `Use ${name}` : "Use none"}<//>`;
  return html`<${Dialog} title=${title} onClose=${close} actions=${actions}><${Plan} plan=${edit.plan ?? {}} /><//>`;
}

function use(name, dryRun) {
  const asked = dryRun ? "?dryRun=true" : "";
  return name
    ? act("POST", `/api/v1/profiles/${encodeURIComponent(name)}/use${asked}`)
    : act("POST", `/api/v1/profiles/use${asked}`, { name: "" });
}
