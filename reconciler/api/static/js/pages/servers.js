// All servers, as cards or as a table.

import { html } from "../../vendor/preact-htm.js";
import { Acts } from "../acts.js";
import { Card, gaveUp, LoadingBar, PortLink, StateBadge } from "../card.js";
import { Choice, Empty, Loading, Page, Search, Table, WaysOut } from "../components.js";
import { bytes, compare, number, PHASES, plural, serverTone, ticking, tone } from "../format.js";
import { serverPath, setQuery } from "../router.js";
import { state, useClock, useStore, useUsage } from "../store.js";
import {
  contextLine,
  layersLine,
  modelName,
  modelSize,
  port,
  reason,
  retry,
  standing,
  trouble,
  uptime,
} from "../words.js";

const VIEW = "reconciler.view";
const ORDERS = [
  ["trouble", "trouble first"],
  ["name", "by name"],
  ["age", "newest first"],
];

export default function Servers({ query }) {
  const { servers, loaded, summary } = useStore("servers", "loaded", "summary");
  const items = [...servers.values()];
  const view = query.view ?? kept();
  const shown = chosen(items, query);
  const choose = (value) => (keep(value), setQuery({ view: value }));
  const tools = html`<${Search} value=${query.q ?? ""} onInput=${(q) => setQuery({ q })}
    label="Name, model, label, reason" />
    ${
      view === "cards" &&
      html`<select aria-label="Order" value=${query.order ?? "trouble"}
        onChange=${(event) => setQuery({ order: event.target.value })}>
      ${ORDERS.map(([value, name]) => html`<option value=${value}>${name}</option>`)}</select>`
    }
    <${Choice} label="View" value=${view} onChange=${choose} options=${[
      ["cards", "Cards"],
      ["table", "Table"],
    ]} />`;
  return html`<${Page} title="Servers" tools=${tools}>
    <${Problems} summary=${summary} />
    <${Phases} items=${items} query=${query} />
    ${!loaded && html`<${Loading} />`}
    ${loaded && !items.length && html`<${None} />`}
    ${items.length > 0 && !shown.length && html`<${Empty} title="No server is like that">
      <a href="/">Show all ${items.length}</a><//>`}
    ${shown.length > 0 && (view === "table" ? html`<${ServerTable} items=${shown} query=${query} />` : html`<${Cards}
      items=${shown} />`)}
  <//>`;
}

function kept() {
  try {
    return localStorage.getItem(VIEW) === "table" ? "table" : "cards";
  } catch {
    return "cards";
  }
}

function keep(view) {
  try {
    localStorage.setItem(VIEW, view);
  } catch {
    // Storage is forbidden here: the address keeps it.
  }
}

// Those that the search and the phase leave, in order.
export function chosen(items, { q = "", phase = "", order = "trouble" }) {
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const left = items.filter(
    (item) => (!phase || item.status.phase === phase) && words.every((word) => told(item).includes(word)),
  );
  const name = (a, b) => compare(a.metadata.name, b.metadata.name);
  if (order === "age") return left.sort((a, b) => began(b) - began(a) || name(a, b));
  if (order === "name") return left.sort(name);
  return left.sort((a, b) => rank(a) - rank(b) || name(a, b));
}

function told(item) {
  const { name, labels } = item.metadata;
  const pairs = Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return [name, standing(item), modelName(item), reason(item), `:${port(item)}`, ...pairs].join(" ").toLowerCase();
}

function began(item) {
  return Date.parse(item.status.instance?.startedAt ?? 0);
}

// Trouble first, what loads next, then what is well, then what rests.
function rank(item) {
  return ["bad", "warn", "busy", "good", "rest"].indexOf(serverTone(item));
}

function Phases({ items, query }) {
  const counts = new Map();
  for (const item of items) counts.set(item.status.phase, (counts.get(item.status.phase) ?? 0) + 1);
  if (!items.length) return null;
  const phases = PHASES.filter((phase) => counts.has(phase));
  const chip = (
    phase,
    name,
    amount,
  ) => html`<button type="button" key=${phase} class=${`chip ${phase ? tone(phase) : ""}`}
    aria-pressed=${(query.phase ?? "") === phase}
    onClick=${() => setQuery({ phase: query.phase === phase ? "" : phase })}>${phase && html`<i aria-hidden="true">
      </i>`}${name} <b>${amount}</b></button>`;
  return html`<div class="chips" role="group" aria-label="Phases">
    ${chip("", "All", items.length)}${phases.map((phase) => chip(phase, phase, counts.get(phase)))}</div>`;
}

function Problems({ summary }) {
  const found = summary?.problems?.length ?? 0;
  if (!summary || (!found && !summary.folderProblem)) return null;
  const what =
    summary.folderProblem || `${plural(found, "error")} in the manifests: what runs goes on as it was accepted last.`;
  return html`<a class="notice warn" href="/manifests"><b>Manifests</b> ${what}</a>`;
}

const FIRST_STEPS = [
  "see which models there are: reconciler models",
  "write a manifest: reconciler create server chat --model hf:ggml-org/gemma-3-1b-it-GGUF",
  "learn its fields: reconciler explain spec",
];

function None() {
  return html`<${Empty} title="No servers yet">
    <${WaysOut} lines=${FIRST_STEPS} />
  <//>`;
}

function Cards({ items }) {
  return html`<div class="cards">${items.map((item) => html`<${Card} key=${item.metadata.name} item=${item} />`)}
    </div>`;
}

function ServerTable({ items, query }) {
  const order = query.sort ? { key: query.sort.replace(/^-/, ""), down: query.sort.startsWith("-") } : null;
  // Only an order by what is measured changes with each measure.
  useStore(...(MEASURED.has(order?.key) ? ["usage"] : []));
  return html`<${Table} label="Servers" rows=${items} columns=${COLUMNS} rowKey=${(item) => item.metadata.name}
    order=${order}
    rowClass=${serverTone} onSort=${(by) => setQuery({ sort: (by.down ? "-" : "") + by.key })} />`;
}

const MEASURED = new Set(["memory", "gpu", "tokens"]);
const of = (item) => state.usage.servers[item.metadata.name];

const COLUMNS = [
  {
    key: "name",
    title: "Name",
    className: "strong",
    sort: (item) => item.metadata.name,
    cell: (item) =>
      html`<a class="clamp" title=${item.metadata.name} href=${serverPath(item.metadata.name)}>${item.metadata.name}
        </a><${Tightened} text=${modelName(item)} />`,
  },
  {
    key: "phase",
    title: "Phase",
    sort: rank,
    cell: (item) =>
      html`<span class="state" title=${trouble(item)}><${StateBadge} item=${item} always /></span>
        <${LoadingBar} item=${item} /><${Squeezed} text=${trouble(item)} />`,
  },
  {
    key: "model",
    title: "Model",
    className: "model tight",
    sort: modelName,
    cell: (item) =>
      html`<span title=${item.spec.model}>${modelName(item)}</span>
        <${Squeezed} text=${modelSize(item) && bytes(modelSize(item))} />`,
  },
  {
    key: "size",
    title: "Weights",
    number: true,
    className: "spare",
    sort: modelSize,
    cell: (item) => bytes(modelSize(item)),
  },
  {
    key: "ctx",
    title: "Context",
    number: true,
    className: "fold",
    sort: (item) => item.status.effective?.ctxPerSlot ?? item.status.asked?.ctx,
    cell: (item) =>
      html`<${Line} line=${contextLine(item)} />
        <${Squeezed} text=${layersLine(item) && html`GPU <${Line} line=${layersLine(item)} />`} />`,
  },
  {
    key: "layers",
    title: "GPU layers",
    number: true,
    className: "spare",
    cell: (item) => html`<${Line} line=${layersLine(item)} />`,
  },
  { key: "port", title: "Port", sort: port, cell: (item) => html`<${PortLink} item=${item} /><${Tightened} text=${html`<${Up} item=${item} />`} />` },
  {
    key: "up",
    title: "Uptime",
    number: true,
    className: "tight",
    sort: (item) => uptime(item, Date.now()),
    cell: (item) => html`<${Up} item=${item} />`,
  },
  {
    key: "retries",
    title: "Restarts",
    number: true,
    sort: (item) => item.status.restarts,
    cell: (item) => html`<${Retries} item=${item} />`,
  },
  {
    key: "memory",
    title: "Memory",
    number: true,
    sort: (item) => of(item)?.memoryBytes,
    cell: (item) =>
      html`<${Use} name=${item.metadata.name} show=${(one) => bytes(one?.memoryBytes)} />
        <${Use} name=${item.metadata.name} show=${(one) =>
          one?.gpuBytes ? html`<${Squeezed} text=${`GPU ${bytes(one.gpuBytes)}`} />` : null} />`,
  },
  {
    key: "gpu",
    title: "GPU memory",
    number: true,
    className: "spare",
    sort: (item) => of(item)?.gpuBytes,
    cell: (item) => html`<${Use} name=${item.metadata.name} show=${(one) => bytes(one?.gpuBytes)} />`,
  },
  {
    key: "tokens",
    title: "Tokens/s",
    number: true,
    sort: (item) => of(item)?.tokensPerSecond,
    cell: (item) => html`<${Use} name=${item.metadata.name} show=${(one) => number(one?.tokensPerSecond)} />`,
  },
  {
    key: "trouble",
    title: "Last error",
    className: "words spare",
    cell: (item) => html`<span class="clamp" title=${trouble(item)}>${trouble(item)}</span>`,
  },
  { key: "acts", title: "Act", className: "acts-cell", cell: (item) => html`<${Acts} item=${item} small />` },
];

// What has no column of its own where there is little room stands below something else.
function Squeezed({ text }) {
  return text ? html`<span class="squeezed clamp">${text}</span>` : null;
}

function Tightened({ text }) {
  return text ? html`<span class="tightened clamp">${text}</span>` : null;
}

function Line({ line }) {
  return line
    ? html`<span class=${line.differs ? "differs" : ""}>${line.text}</span>`
    : html`<span class="faint">–</span>`;
}

function Up({ item }) {
  const seconds = uptime(item, useClock());
  return seconds === null ? html`<span class="faint">–</span>` : ticking(seconds);
}

function Retries({ item }) {
  const again = retry(item, useClock());
  return again ? html`<span class=${gaveUp(item)}>${again}</span>` : item.status.restarts;
}

function Use({ name, show }) {
  return show(useUsage(name));
}
