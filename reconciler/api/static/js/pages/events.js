// What happened, the newest first, as it happens.

import { html, useMemo, useState } from "../../vendor/preact-htm.js";
import { Badge, Button, Choice, Empty, Loading, Page, ProblemBox, Search, Table, Time, useAsked } from "../components.js";
import { plural } from "../format.js";
import { serverPath, setQuery } from "../router.js";
import { KEPT, useStore } from "../store.js";

const MOST = 2000;
const PAGE = 100;

const KINDS = [["", "All"], ["Warning", "Warnings"], ["Normal", "Normal"]];

const COLUMNS = [
  { key: "at", title: "Last", className: "when", cell: (event) => html`<${Time} at=${event.lastAt} />` },
  { key: "type", title: "Type", cell: (event) => html`<${Badge} word=${event.type} as=${event.type === "Warning" ? "warn" : "rest"} />` },
  { key: "server", title: "About", cell: (event) => about(event.server) },
  { key: "reason", title: "Reason", cell: (event) => html`<b>${event.reason}</b>` },
  { key: "message", title: "Message", className: "message", cell: (event) => event.message },
  { key: "count", title: "Count", number: true, cell: (event) => (event.count > 1 ? html`<span title=${`since ${new Date(event.firstAt).toLocaleString()}`}>${event.count}×</span>` : "") },
];

export default function Events({ query }) {
  const { events, loaded } = useStore("events", "loaded");
  const [older, setOlder] = useState(false);
  const asked = useAsked(older ? `/api/v1/events?limit=${MOST}` : null);
  const [most, setMost] = useState(PAGE);
  const all = useMemo(() => merged(events, asked.data?.items ?? []), [events, asked.data]);
  const found = useMemo(() => all.filter((event) => matches(event, query)), [all, query.q, query.type, query.server]);
  const tools = html`
    <${Choice} label="Type" options=${KINDS} value=${query.type ?? ""} onChange=${(type) => setQuery({ type })} />
    <${Search} value=${query.q ?? ""} onInput=${(q) => setQuery({ q })} label="Search events" />
  `;
  return html`<${Page} title="Events" tools=${tools}>
    ${query.server
      ? html`<p class="filter">About <b>${query.server}</b> <${Button} kind="quiet" icon="close" title="Show all" onClick=${() => setQuery({ server: null })} /></p>`
      : null}
    ${asked.problem && older ? html`<${ProblemBox} problem=${asked.problem} again=${asked.again} />` : null}
    ${!loaded
      ? html`<${Loading} />`
      : found.length
        ? html`<${Table} label="Events" rows=${found.slice(0, most)} columns=${COLUMNS} rowKey=${keyOf} rowClass=${(event) => (event.type === "Warning" ? "warned" : undefined)} />`
        : html`<${Empty} title=${all.length ? "Nothing matches" : "Nothing has happened yet"}>${all.length ? "Search for less, or choose all types." : "Starts, crashes and edits will stand here."}<//>`}
    ${loaded && all.length ? html`<p class="more">
      <span class="faint">${plural(Math.min(found.length, most), "event")} of ${found.length}</span>
      ${found.length > most ? html`<${Button} onClick=${() => setMost(most + 400)}>Show more<//>` : null}
      ${!older && events.length >= 100 ? html`<${Button} onClick=${() => setOlder(true)}>Load older ones<//>` : null}
    </p>` : null}
  <//>`;
}

function about(name) {
  if (!name) return html`<span class="faint">manifests</span>`;
  if (name.includes("/")) return html`<a href=${name.startsWith("source/") ? "/sources" : name.startsWith("profile/") ? "/profiles" : "/manifests"}>${name}</a>`;
  return html`<a href=${serverPath(name)}>${name}</a>`;
}

/** What came by the stream (newest first, and newer) and what was asked for (oldest first), each once. */
function merged(live, asked) {
  const known = new Map();
  for (const event of asked) known.set(keyOf(event), event);
  for (const event of live.slice(0, KEPT)) known.set(keyOf(event), event);
  return [...known.values()].sort((a, b) => (a.lastAt < b.lastAt ? 1 : a.lastAt > b.lastAt ? -1 : 0));
}

function keyOf(event) {
  return `${event.server}\n${event.reason}\n${event.message}\n${event.firstAt}`;
}

function matches(event, { q = "", type = "", server = "" }) {
  if (type && event.type !== type) return false;
  if (server && event.server !== server) return false;
  const text = `${event.server} ${event.reason} ${event.message}`.toLowerCase();
  return q.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}
