// A server as a card.

import { html, useMemo } from "../vendor/preact-htm.js";
import { Acts } from "./acts.js";
import { Badge, Icon } from "./components.js";
import { bytes, moment, number, serverTone, ticking } from "./format.js";
import { serverPath } from "./router.js";
import { useClock, useUsage } from "./store.js";
import {
  address,
  contextLine,
  layersLine,
  modelName,
  modelSize,
  percent,
  port,
  reason,
  retry,
  standing,
  trouble,
  uptime,
} from "./words.js";

export function Card({ item }) {
  // Only what ticks or is measured is drawn anew while the item is the same.
  return useMemo(() => html`<${Face} item=${item} />`, [item]);
}

function Face({ item }) {
  const { name } = item.metadata;
  const tone = serverTone(item);
  const words = tone === "good" ? "" : trouble(item);
  return html`<article class=${`card ${tone}`} data-row data-server=${name} tabindex="-1" aria-label=${name}>
    <header><a class="name" href=${serverPath(name)}>${name}</a><${StateBadge} item=${item} /></header>
    <p class="model" title=${item.status.effective?.model ?? item.spec.model}><span>${modelName(item)}</span>
      <span class="faint" title="its weights">${size(item)}</span></p>
    <${LoadingBar} item=${item} />
    <${Asked} item=${item} />
    <${Measured} item=${item} />
    ${words && html`<p class=${`trouble ${tone}`} title=${words}><span class="clamp">${words}</span></p>`}
    <footer><${PortLink} item=${item} /><${Ticks} item=${item} /><${Acts} item=${item} small /></footer>
  </article>`;
}

function size(item) {
  const found = modelSize(item);
  return found ? bytes(found) : "";
}

// The phase; where it is Ready and something is amiss, that something.
export function StateBadge({ item, always = false }) {
  const tone = serverTone(item);
  const astray = tone === "warn" || tone === "bad" ? always || item.status.phase === "Ready" : false;
  const why = reason(item);
  return html`<${Badge} word=${standing(item)} as=${tone} title=${why} />${astray && why ? html`<span
    class=${`why ${tone}`}>${why}</span>` : null}`;
}

export function LoadingBar({ item }) {
  const { loading, phase } = item.status;
  if (phase !== "Starting") return null;
  const known = loading?.percent ?? null;
  const text = loading
    ? [
        known === null ? "loading" : `${Math.round(known)} %`,
        loading.usualSeconds ? `usually ${ticking(loading.usualSeconds)}` : "",
      ]
        .filter(Boolean)
        .join(" · ")
    : "starting";
  return html`<div class="load"><div class=${`bar ${known === null ? "unsure" : ""}`} role="progressbar"
    aria-label="Loading" aria-valuemin="0" aria-valuemax="100"
      aria-valuenow=${known === null ? undefined : Math.round(known)}><i
        style=${{ width: known === null ? "35%" : `${known}%` }}></i></div><span>${text}</span></div>`;
}

function Asked({ item }) {
  const context = contextLine(item);
  const layers = layersLine(item);
  if (!context && !layers) return null;
  const shown = (label, line) =>
    line && html`<span class=${line.differs ? "differs" : ""}><small>${label}</small> ${line.text}</span>`;
  const step = item.status.fallback?.step;
  return html`<p class="asked">
    ${shown("ctx", context)}${shown("GPU layers", layers)}
    ${step ? html`<span class="differs">step ${step}</span>` : null}
  </p>`;
}

function Measured({ item }) {
  const usage = useUsage(item.metadata.name);
  if (!item.status.instance) return null;
  const slots = usage?.slots ? `${usage.slotsBusy ?? "–"}/${usage.slots}` : "–";
  const figure = (name, value) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
  return html`<dl class="measured">
    ${figure("memory", bytes(usage?.memoryBytes))}
    ${usage?.gpuBytes ? figure("GPU", bytes(usage.gpuBytes)) : null}
    ${figure("tokens/s", number(usage?.tokensPerSecond))}
    ${figure("slots", slots)}
    ${figure("CPU", percent(usage?.cpuPercent))}
  </dl>`;
}

export function PortLink({ item }) {
  const href = address(item);
  const number = port(item);
  if (!number) return html`<span class="port faint">no port</span>`;
  if (!href) return html`<span class="port faint">:${number}</span>`;
  return html`<a class="port" href=${href} target="_blank" rel="noopener noreferrer"
    title="llama-server's own page">:${number}<${Icon} name="out" /></a>`;
}

// What ticks is to be seen; what has ended belongs to the trouble that is told anyway.
export function gaveUp(item) {
  return item.status.phase === "Failed" ? "bad-text" : "warn-text";
}

export function Ticks({ item }) {
  const now = useClock();
  const up = uptime(item, now);
  const again = retry(item, now);
  const { restarts } = item.status;
  return html`<span class="ticks">${up === null ? null : html`<span
    title=${`since ${moment(item.status.instance.startedAt)}`}>up ${ticking(up)}</span>`}
    ${again ? html`<span class=${gaveUp(item)}>${again}</span>` : restarts ? html`<span
      title="restarts in all">↻ ${restarts}</span>` : null}</span>`;
}
