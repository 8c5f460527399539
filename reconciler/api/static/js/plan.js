// What an edit would do, before it is done: the text's diff, and what follows for the servers.

import { html } from "../vendor/preact-htm.js";
import { Badge, CodeDiff, useAsked } from "./components.js";
import { plural } from "./format.js";
import { serverPath } from "./router.js";

const TONES = { start: "good", restart: "warn", update: "busy", stop: "bad", hold: "rest", invalid: "bad" };

/** `edit` as the interface answers: {diff, plan}. Several edits have their diffs one under the other. */
export function EditPreview({ edit }) {
  const plan = edit.plan ?? {};
  return html`
    <${CodeDiff} text=${edit.diff ?? ""} />
    <h3 class="sub">What follows</h3>
    <${Plan} plan=${plan} />
  `;
}

/** Only what this very edit leads to: what is due anyway, such as a server that waits for its model, is left out. */
export function Plan({ plan }) {
  const { data, loading } = useAsked("/api/v1/plan");
  const all = plan.changes ?? [];
  const due = new Set((data?.changes ?? []).map((change) => JSON.stringify(change)));
  const doing = all.filter((change) => change.action !== "unchanged");
  const changes = doing.filter((change) => !due.has(JSON.stringify(change)));
  const others = all.length - changes.length;
  if (loading) return null;
  return html`
    ${plan.refused ? html`<p class="problem bad">${plan.refused}</p>` : null}
    ${plan.folderProblem ? html`<p class="problem bad">${plan.folderProblem}</p>` : null}
    ${changes.length
      ? html`<ul class="plan">${changes.map((change) => html`<${Change} key=${change.server} change=${change} />`)}</ul>`
      : html`<p class="faint">No server starts, stops or restarts for this.</p>`}
    ${changes.length && others ? html`<p class="faint">${plural(others, "other server")} ${others === 1 ? "goes" : "go"} on as without it.</p>` : null}
  `;
}

function Change({ change }) {
  return html`<li>
    <p><${Badge} word=${change.action} as=${TONES[change.action] ?? "rest"} /> <a href=${serverPath(change.server)}>${change.server}</a>
      ${change.reason ? html` <span class="faint">${change.reason}</span>` : null}</p>
    ${change.fields?.length
      ? html`<ul class="fields">${change.fields.map(
          (field) => html`<li key=${field.path}><code>${field.path}</code>: ${shown(field.old)} → <b>${shown(field.new)}</b>${
            field.source ? html` <span class="faint">from ${field.source}</span>` : null
          }</li>`,
        )}</ul>`
      : null}
    ${change.blocked ? html`<p class="blocked">Blocked for now: ${change.blocked}</p>` : null}
  </li>`;
}

/** A value of a manifest in one line. */
export function shown(value) {
  if (value === null || value === undefined) return "not set";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
