// The settings in force with where each came from, the llama-server that is used, and this browser's session.

import { html } from "../../vendor/preact-htm.js";
import { Badge, Button, Choice, Copy, Facts, Loading, Page, ProblemBox, Search, Section, Table, Time, useAsked } from "../components.js";
import { number } from "../format.js";
import { shown } from "../plan.js";
import { setQuery } from "../router.js";
import { askForSession, endSession } from "../session.js";
import { useStore } from "../store.js";
import { choose } from "../theme.js";

const COLUMNS = [
  { key: "key", title: "Setting", className: "name", sort: (row) => row.key, cell: (row) => html`<code>${row.key}</code>` },
  { key: "value", title: "Value", className: "message", cell: (row) => html`<${Value} row=${row} />` },
  { key: "source", title: "From", sort: (row) => row.source, cell: (row) => html`<${Badge} word=${row.source} as=${/^default/.test(row.source) ? "rest" : "busy"} />` },
];

export default function Settings({ query }) {
  const { data, problem, loading, again } = useAsked("/api/v1/settings");
  const { summary } = useStore("summary");
  const q = (query.q ?? "").toLowerCase();
  const rows = rowsOf(data).filter((row) => `${row.key} ${shown(row.value)} ${row.source}`.toLowerCase().includes(q));
  const tools = html`<${Search} value=${query.q ?? ""} onInput=${(text) => setQuery({ q: text })} label="Search settings" />`;
  return html`<${Page} title="Settings" tools=${tools}>
    ${problem ? html`<${ProblemBox} problem=${problem} again=${again} />` : null}
    ${loading ? html`<${Loading} />` : null}
    <div class="tiles">
      <${Section} title="llama-server"><${Binary} found=${data?.llamaServer} /><//>
      <${Section} title="Controller"><${Controller} summary=${summary} /><//>
      <${Section} title="This browser"><${Browser} /><//>
    </div>
    ${data ? html`<${Section} title="Settings in force"><${Table} label="Settings" rows=${rows} columns=${COLUMNS} rowKey=${(row) => row.key} empty="No setting matches" /><//>` : null}
    <p class="faint">Settings are read when the controller starts: change ${data?.file ? html`<code>${data.file}</code>` : "reconciler.toml"} or the environment, and start it again. The servers go on meanwhile.</p>
  <//>`;
}

/** Those that somebody has set come first. */
function rowsOf(data) {
  const rows = Object.entries(data?.settings ?? {}).map(([key, { value, from }]) => ({ key, value, source: from }));
  return rows.sort((a, b) => (a.source === "default") - (b.source === "default"));
}

// What the absence of a value means, where that is not that there is none.
const ABSENT = [
  [/^policy\.\w+\.ports$/, "any"],
  [/^(loads|policy\.\w+\.max_\w+)$/, "no limit"],
  [/^http\.listen$/, "off"],
  [/^llama_server$/, "looked for"],
  [/^source\.git\.branch$/, "main, unless a tag is set"],
  [/^source\.git\.path$/, "all of it"],
  [/^notify$/, "nobody"],
];
const UNITS = [
  [/^tick$/, "s"],
  [/max_mib$/, "MiB"],
];

function Value({ row: { key, value } }) {
  const isAbsent = value === "" || value === 0 || value === null || (Array.isArray(value) && !value.length);
  const of = (pairs) => pairs.find(([pattern]) => pattern.test(key))?.[1];
  if (isAbsent && (value !== 0 || of(ABSENT))) return html`<span class="faint">${of(ABSENT) ?? "none"}</span>`;
  if (typeof value === "boolean") return html`<code>${value ? "yes" : "no"}</code>`;
  const every = Array.isArray(value) && value.length === 1 && value[0] === "*";
  if (every) return html`<code>*</code> <span class="faint">any</span>`;
  return html`<code>${told(value, key)}</code> ${of(UNITS)}`;
}

function told(value, key) {
  if (Array.isArray(value)) return value.map(shown).join(", ");
  return typeof value === "number" && !/port/.test(key) ? number(value, 1) : shown(value);
}

function Binary({ found }) {
  if (!found) return html`<p class="faint">None was found. See what was looked at: <${Copy} text="reconciler doctor" /></p>`;
  return html`<${Facts} rows=${[
    ["Program", found.path ? html`<${Copy} text=${found.path} />` : "none was found"],
    ["Found by", found.from],
    ["Version", found.version ?? "not known"],
  ]} />`;
}

function Controller({ summary }) {
  if (!summary) return html`<${Loading} />`;
  const { pid, startedAt, passes } = summary.controller ?? {};
  return html`<${Facts} rows=${[
    ["Installation", html`<code>${summary.installation}</code>`],
    ["Version", summary.version],
    ["Process", pid && html`pid ${pid}`],
    ["Started", startedAt && html`<${Time} at=${startedAt} ago />`],
    ["Passes", passes !== undefined && number(passes, 0)],
  ]} />`;
}

function Browser() {
  const { session, theme } = useStore("session", "theme");
  const may = session.actable ? html`<${Badge} word="may look and act" as="good" />` : html`<${Badge} word="may look only" as="rest" />`;
  return html`<${Facts} rows=${[
      ["Session", session.known ? may : "not known yet"],
      ["Until", session.expiresAt && html`<${Time} at=${session.expiresAt} />`],
      ["Colours", html`<${Choice} label="Colours" options=${[["auto", "System"], ["light", "Light"], ["dark", "Dark"]]} value=${theme} onChange=${choose} />`],
    ]} />
    ${session.expiresAt
      ? html`<${Button} onClick=${endSession}>End the session<//>`
      : session.actable
        ? null
        : html`<${Button} onClick=${askForSession}>Begin a session<//>`}`;
}
