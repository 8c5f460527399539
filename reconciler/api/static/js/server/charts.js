// Charts of the last hour: what was measured before one looked, and what the stream brings.

import { html, useEffect, useMemo, useRef, useState } from "../../vendor/preact-htm.js";
import { Choice, Loading, ProblemBox, useAsked } from "../components.js";
import { bytes, milliseconds, number, places } from "../format.js";
import { state, subscribe, useStore } from "../store.js";
import { draw } from "./plot.js";

const CHARTS = [
  { key: "memoryBytes", title: "Memory", show: bytes, colour: "--busy" },
  { key: "gpuBytes", title: "GPU memory", show: bytes, colour: "--busy", optional: true },
  { key: "tokensPerSecond", title: "Tokens per second", show: (value, step) => number(value, places(step, 1)), colour: "--accent" },
  { key: "slotsBusy", title: "Slots at work", show: (value) => number(value, 0), colour: "--accent", whole: true },
  { key: "cpuPercent", title: "CPU, % of one core", show: percent, colour: "--warn" },
  { key: "healthSeconds", title: "Health answers in", show: milliseconds, colour: "--warn" },
  {
    key: "ready",
    title: "Ready",
    show: (value) => (value === null || value === undefined ? "–" : value ? "ready" : "not ready"),
    colour: "--good",
    share: true,
  },
];

const SPANS = [
  [300, "5 min"],
  [900, "15 min"],
  [3600, "1 h"],
];

// On the axis as its steps ask for; a value with as much as says something.
function percent(value, step) {
  return number(value, step ? places(step) : value < 10 ? 1 : 0);
}

export default function Charts({ item }) {
  const { name } = item.metadata;
  const { data, problem, again } = useAsked(`/api/v1/servers/${encodeURIComponent(name)}/usage`);
  const [chosen, choose] = useState(0);
  const { theme } = useStore("theme");
  const held = useMemo(() => data && new Held(data), [data]);
  useLive(name, held);
  if (problem && !data) return html`<${ProblemBox} problem=${problem} again=${again} />`;
  if (!held) return html`<${Loading} />`;
  const span = chosen || held.fitting;
  const shown = CHARTS.filter((chart) => !chart.optional || held.has(chart.key));
  return html`<div class="charts-head"><p
    class="faint">Measured every ${data.interval} s; while you look, every 2 s.</p>
    <${Choice} label="Span" options=${SPANS} value=${span} onChange=${choose} /></div>
    <div class="charts">${shown.map((chart) => html`<${Chart} key=${chart.key} chart=${chart} held=${held} span=${span}
      theme=${theme} />`)}</div>`;
}

// The figures by time, to which newer ones are put.
class Held {
  constructor({ at, series }) {
    this.at = [...at];
    this.series = Object.fromEntries(CHARTS.map(({ key }) => [key, [...(series[key] ?? at.map(() => null))]]));
    this.listeners = new Set();
    // What to show at first: no more than there is something to see of, as far as the choice goes.
    const known = this.at[this.series.ready.findIndex((value) => value !== null)] ?? Infinity;
    this.fitting = (this.at.at(-1) ?? 0) - known > SPANS[0][0] ? SPANS[1][0] : SPANS[0][0];
  }

  has(key) {
    return this.series[key].some((value) => value !== null && value !== undefined);
  }

  add(at, usage, ready) {
    if (at <= (this.at.at(-1) ?? 0)) return;
    this.at.push(at);
    for (const { key } of CHARTS) this.series[key].push(key === "ready" ? ready : (usage?.[key] ?? null));
    if (this.at.length > 4000) for (const values of [this.at, ...Object.values(this.series)]) values.splice(0, 500);
    for (const listener of this.listeners) listener();
  }

  // The values of the newest `span` seconds.
  newest(key, span) {
    const now = Math.max(this.at.at(-1) ?? 0, Date.now() / 1000 - 5);
    const first = Math.max(
      0,
      this.at.findIndex((at) => at >= now - span),
    );
    return { from: now - span, to: now, at: this.at.slice(first), values: this.series[key].slice(first) };
  }
}

function useLive(name, held) {
  useEffect(() => {
    if (!held) return undefined;
    return subscribe(["usage"], () => {
      const { at, servers } = state.usage;
      const item = state.servers.get(name);
      const ready = item?.status.conditions.some((one) => one.type === "Ready" && one.status === "True");
      held.add(at, servers[name], ready ? 1 : 0);
    });
  }, [name, held]);
}

function Chart({ chart, held, span, theme }) {
  const box = useRef();
  const [value, setValue] = useState(null);
  useEffect(() => {
    let gone = false;
    let drawn = null;
    const newest = () => {
      const found = held.newest(chart.key, span);
      setValue(told(chart, found.values));
      return found;
    };
    const first = newest();
    draw(box.current, {
      chart,
      found: first,
      pointed: (at) => setValue(at === null ? told(chart, held.newest(chart.key, span).values) : chart.show(at)),
    }).then((plot) => {
      if (gone) plot.destroy();
      else drawn = plot;
    });
    const update = () => document.hidden || drawn?.update(newest());
    held.listeners.add(update);
    return () => ((gone = true), held.listeners.delete(update), drawn?.destroy());
  }, [chart, held, span, theme]);
  return html`<figure class="section chart"><figcaption><span>${chart.title}</span><b class="number">${value}</b>
    </figcaption><div class="plot" ref=${box}></div></figure>`;
}

function told(chart, values) {
  if (!chart.share) return chart.show(values.at(-1) ?? null);
  const known = values.filter((value) => value !== null);
  return known.length ? `${number((known.filter(Boolean).length / known.length) * 100, 1)} % of the time` : "–";
}
