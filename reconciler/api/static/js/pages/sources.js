// Where manifests come from: the folder, and a Git repository.

import { html } from "../../vendor/preact-htm.js";
import { act } from "../api.js";
import { Badge, Button, Copy, Empty, Facts, Loading, Page, Section, Time, safeAddress } from "../components.js";
import { toast, useStore } from "../store.js";

export default function Sources() {
  const { sources, loaded } = useStore("sources", "loaded");
  return html`<${Page} title="Sources">
    ${!loaded ? html`<${Loading} />` : null}
    ${loaded && !sources.length
      ? html`<${Empty} title="No Git source">Manifests come from the manifests folder alone. A repository is named under [source.git]
          in reconciler.toml; see docs/git.md.<//>`
      : null}
    ${sources.map((source) => html`<${Source} key=${source.metadata.name} source=${source} />`)}
  <//>`;
}

function Source({ source }) {
  const { metadata, spec, status } = source;
  const ready = status.conditions.find((one) => one.type === "Ready");
  const sync = async () => {
    const done = await act("POST", "/api/v1/sync");
    if (done) toast("The remote was looked at", { kind: "good" });
  };
  const rest = (verb) => async () => {
    const done = await act("POST", `/api/v1/sources/${encodeURIComponent(metadata.name)}/${verb}`);
    if (done) toast(verb === "suspend" ? "The source rests" : "The source goes on", { kind: "good" });
  };
  const tools = html`
    <${Badge} word=${status.suspended ? "Suspended" : ready?.reason ?? "Unknown"} as=${status.suspended ? "rest" : ready?.status === "True" ? "good" : "warn"} />
    ${status.suspended
      ? html`<${Button} icon="start" onClick=${rest("resume")}>Resume<//>`
      : html`<${Button} icon="restart" onClick=${sync}>Sync<//><${Button} icon="suspend" onClick=${rest("suspend")}>Suspend<//>`}
  `;
  return html`<${Section} title=${metadata.name} tools=${tools}>
    <${Facts} rows=${[
      ["Repository", safeAddress(spec.url) ? html`<a href=${spec.url} target="_blank" rel="noreferrer">${spec.url}</a>` : spec.url],
      ["Follows", `${spec.ref}${spec.path ? `, folder ${spec.path}` : ""}, each ${spec.interval.replace(/(\d)(?=[a-z])|([a-z])(?=\d)/g, "$& ")}`],
      ["In force", status.revision ? html`<${Revision} revision=${status.revision} />` : "nothing yet"],
      ["Since", status.appliedAt && html`<${Time} at=${status.appliedAt} ago />`],
      ["Waiting", status.pending && html`<${Revision} revision=${status.pending} />`],
      ["Looked at", html`<${Time} at=${status.lastCheckedAt} ago />`],
    ]} />
    ${status.lastError ? html`<p class="problem bad">${status.lastError} ${status.errorSince ? html`<span class="faint">since <${Time} at=${status.errorSince} /></span>` : null}</p>` : null}
    ${(status.problems ?? []).length
      ? html`<div class="problem bad"><p class="problem-head">The newest revision is refused</p>
          <ul>${status.problems.map((problem, at) => html`<li key=${at}><code>${typeof problem === "string" ? problem : problem.text}</code></li>`)}</ul></div>`
      : null}
  <//>`;
}

function Revision({ revision }) {
  return html`<span><${Copy} text=${revision.commit} label=${revision.commit.slice(0, 12)} /> ${revision.subject}
    ${revision.committedAt ? html` <span class="faint"><${Time} at=${revision.committedAt} /></span>` : null}</span>`;
}
