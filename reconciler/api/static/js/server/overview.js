// The first part of a server's page.

import { html, useMemo } from "../../vendor/preact-htm.js";
import { Badge, Section, Facts, Time, useAsked } from "../components.js";
import { bytes, count, duration, milliseconds, number } from "../format.js";
import { merged, sameEvent } from "../known.js";
import { serverPath } from "../router.js";
import { useStore, useUsage } from "../store.js";
import { comparison, modelSize, percent } from "../words.js";
import { Diagnosis } from "./diagnosis.js";
import { Timeline } from "./timeline.js";
import { useRestarts } from "./restarts.js";

export function Overview({ item }) {
  return html`<div class="overview">
    <${Diagnosis} item=${item} />
    <${Figures} item=${item} />
    <${Picture} item=${item} />
    <div class="columns">
      <div class="column"><${Asked} item=${item} /><${Conditions} item=${item} /></div>
      <div class="column"><${About} item=${item} /><${Events} name=${item.metadata.name} /></div>
    </div>
  </div>`;
}

function Figures({ item }) {
  const usage = useUsage(item.metadata.name);
  if (!item.status.instance) return null;
  const figure = (name, value) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
  return html`<dl class="figures">
    ${figure("memory", bytes(usage?.memoryBytes))}
    ${usage?.gpuBytes ? figure("GPU memory", bytes(usage.gpuBytes)) : null}
    ${figure("CPU", percent(usage?.cpuPercent))}
    ${figure("tokens/s", number(usage?.tokensPerSecond))}
    ${figure("slots busy", usage?.slots ? `${usage.slotsBusy ?? "–"} of ${usage.slots}` : "–")}
    ${figure("waiting", number(usage?.requestsWaiting, 0))}
    ${figure("health answers in", milliseconds(usage?.healthSeconds))}
  </dl>`;
}

function Picture({ item }) {
  const { name } = item.metadata;
  const { restarts } = useRestarts(name);
  if (!restarts.length) return null;
  return html`<${Section} title="What happened" tools=${html`<a href=${serverPath(name, "history")}>All starts</a>`}>
    <${Timeline} restarts=${restarts} /><//>`;
}

function Asked({ item }) {
  const rows = comparison(item);
  if (!rows.length) return null;
  return html`<${Section} title="Asked for, and running"><table class="compare">
    <thead><tr><td></td><th scope="col">asked for</th><th scope="col">runs</th></tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${row.name} class=${row.differs ? "differs" : ""}><th scope="row">
      ${row.name}</th><td>${row.asked ?? html`<span class="faint">not said</span>`}</td><td>${row.runs ?? "–"}</td>
      </tr>`)}</tbody>
  </table>${item.status.effective?.unverified ? html`<p class="pad faint">${item.status.effective.unverified}
    </p>` : null}<//>`;
}

const WANTED = { Degraded: "False", Progressing: "False" };

// Whether a condition is as one likes it: good, else warn; what only tells is at rest.
function liking(one) {
  if (one.type === "Progressing") return one.status === "True" ? "busy" : "rest";
  if (one.status === "Unknown") return "rest";
  return one.status === (WANTED[one.type] ?? "True") ? "good" : "warn";
}

function Conditions({ item }) {
  return html`<${Section} title="Conditions"><ul class="conditions">${item.status.conditions.map(
    (one) => html`<li key=${one.type}>
    <span class="condition-head"><${Badge} word=${`${one.type}: ${one.status}`}
      as=${liking(one)} />${one.reason !== one.type && html`<b>${one.reason}</b>`}<span class="since">
      <${Time} at=${one.lastTransitionTime} ago /></span></span>
    ${one.message && html`<p>${one.message}</p>`}</li>`,
  )}</ul><//>`;
}

function About({ item }) {
  const { metadata, spec, status } = item;
  const { instance } = status;
  const model = status.models?.[0];
  const readyAfter = instance?.readyAt ? (Date.parse(instance.readyAt) - Date.parse(instance.startedAt)) / 1000 : null;
  const source = metadata.source;
  return html`<${Section} title="About"><${Facts} rows=${[
    [
      "model",
      status.effective || spec.model ? html`<span class="mono">${status.effective?.model ?? spec.model}</span>` : null,
    ],
    [
      "size",
      model
        ? `${bytes(modelSize(item))} of weights, ${count(model.parameters)} parameters, trained for ${number(model.trainedContext, 0)}`
        : null,
    ],
    [
      "manifest",
      html`<a href=${serverPath(metadata.name, "manifest")} class="mono">${
        source ? `${source.file}:${source.line}` : "see its file"
      }</a>`,
    ],
    ["labels", pairs(metadata.labels)],
    ["annotations", pairs(metadata.annotations)],
    ["from defaults", pairs(status.fromDefaults)],
    ["process", instance ? html`<span class="number">pid ${instance.pid}, instance ${instance.uid}</span>` : null],
    ["started", instance ? html`<${Time} at=${instance.startedAt} /> (${instance.trigger})` : null],
    ["ready after", readyAfter === null ? null : duration(readyAfter)],
    [
      "restarts",
      `${status.restarts} so far${status.maxRestarts === null ? "" : `, at most ${status.maxRestarts} in a row`}`,
    ],
    ["generation", status.generation || null],
  ]} /><//>`;
}

function pairs(held) {
  const found = Object.entries(held ?? {});
  return found.length
    ? html`<span class="pairs">${found.map(([key, value]) => html`<span key=${key} class="pair">${key}<b>${value}</b>
      </span>`)}</span>`
    : null;
}

const MOST_EVENTS = 12;

function Events({ name }) {
  // The stream begins with the newest of all servers, of which this one may have none.
  const asked = useAsked(`/api/v1/events?server=${encodeURIComponent(name)}&limit=${MOST_EVENTS}`);
  const live = useStore("events").events;
  const events = useMemo(() => {
    const mine = live.filter((one) => one.server === name);
    return merged(asked.data?.items ?? [], mine, sameEvent, "lastAt").slice(0, MOST_EVENTS);
  }, [asked.data, live, name]);
  return html`<${Section} title="Events" tools=${html`<a
    href=${`/events?server=${encodeURIComponent(name)}`}>All events</a>`}>
    ${!events.length && html`<p class="pad faint">${asked.loading ? "Looking…" : "None"}</p>`}
    <ul class="happenings">${events.map(
      (one) => html`<li key=${one.reason + one.firstAt + one.message} class=${one.type === "Warning" ? "warn" : ""}>
      <${Time} at=${one.lastAt} /><span><b>${one.reason}</b>${one.count > 1 ? html`<span class="faint"> × ${one.count}
        </span>` : null} ${one.message}</span></li>`,
    )}</ul><//>`;
}
