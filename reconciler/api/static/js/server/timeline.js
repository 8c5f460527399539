// The picture of a server's starts: one lane of time. Loading, ready and waiting have their colours, ends their causes.

import { html, useEffect, useRef, useState } from "../../vendor/preact-htm.js";
import { Choice } from "../components.js";
import { clock, day, duration, moment } from "../format.js";
import { useClock } from "../store.js";
import { ending } from "./restarts.js";

const SPANS = [
  ["auto", "Newest"],
  ["900", "15 min"],
  ["3600", "1 h"],
  ["86400", "1 d"],
  ["604800", "7 d"],
];
const NEWEST = 8; // starts in the first view
const [LABELS, TOP, BAR, HEIGHT] = [34, 40, 24, 92];
const LEAST_MS = 20_000;
const [STRONG, PLAIN] = ["600 12px", "12px"];

export function Timeline({ restarts, chosen, onChoose }) {
  const [span, setSpan] = useState("auto");
  const [width, box] = useWidth();
  const now = useClock(span === "auto" || span === "900" ? 1000 : 5000);
  const first = Date.parse(restarts[Math.min(restarts.length, NEWEST) - 1].startedAt);
  const from = span === "auto" ? Math.min(first, now - LEAST_MS) : now - span * 1000;
  const length = (now - from) * 1.02;
  const x = (when) => ((when - from) / length) * width;
  const shown = restarts
    .map(timed(now))
    .filter((one) => one.end >= from)
    .reverse();
  return html`<div class="timeline">
    <div class="timeline-head"><${Legend} /><${Choice} label="Span" options=${SPANS} value=${span}
      onChange=${setSpan} /></div>
    <div ref=${box} class="timeline-box">${
      width > 0 &&
      html`<svg width=${width} height=${HEIGHT} role="group" aria-label="Starts and ends">
      <defs><pattern id="waiting" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <path d="M0 0V6" class="hatch" /></pattern></defs>
      <rect class="lane" x="0" y=${TOP} width=${width} height=${BAR} rx="3" />
      ${shown.map((one, at) => html`<${Gap} key=${`gap${one.uid}`} one=${one} before=${shown[at - 1]} x=${x} />`)}
      ${shown.map((one) => html`<${Instance} key=${one.uid} one=${one} x=${x} chosen=${one.uid === chosen}
        choose=${onChoose} />`)}
      <${Causes} shown=${shown} x=${x} width=${width} />
      <${Axis} from=${from} length=${length} x=${x} width=${width} />
    </svg>`
    }</div>
  </div>`;
}

function timed(now) {
  return (one) => ({
    ...one,
    start: Date.parse(one.startedAt),
    ready: one.readyAt ? Date.parse(one.readyAt) : null,
    end: one.endedAt ? Date.parse(one.endedAt) : now,
    ending: ending(one),
  });
}

function useWidth() {
  const box = useRef();
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  return [width, box];
}

// Between an end and the next start: it waited to be tried again.
function Gap({ one, before, x }) {
  if (!before?.ending || before.ending.tone === "rest") return null;
  const [from, to] = [Math.max(0, x(before.end)), x(one.start)];
  return to - from > 1
    ? html`<rect class="gap" x=${from} y=${TOP} width=${to - from} height=${BAR}>
      <title>waited ${duration((one.start - before.end) / 1000)}</title></rect>`
    : null;
}

function Instance({ one, x, chosen, choose }) {
  const left = Math.max(0, x(one.start));
  const right = Math.max(left + 2, x(one.end));
  const ready = one.ready === null ? right : Math.min(right, Math.max(left, x(one.ready)));
  const keys = (event) => event.key === "Enter" && choose?.(one.uid);
  const seconds = (one.end - one.start) / 1000;
  const parts = [one.trigger, one.told, `ran ${duration(seconds)}`, one.ending?.word];
  const told = `${moment(one.start)}: ${parts.filter(Boolean).join(", ")}`;
  const more = choose
    ? { tabindex: 0, role: "button", onClick: () => choose(one.uid), onKeyDown: keys }
    : { role: "img" };
  return html`<g class=${`instance ${chosen ? "chosen" : ""}`} aria-label=${told} ...${more}><title>${told}</title>
    <rect class="starting" x=${left} y=${TOP} width=${Math.max(1, ready - left)} height=${BAR} />
    ${right - ready > 0.5 && html`<rect class=${one.step ? "stepped" : "ready"} x=${ready} y=${TOP}
      width=${right - ready} height=${BAR} />`}
    ${one.ending && html`<rect class=${`end ${one.ending.tone}`} x=${right - 2} y=${TOP - 5} width="3"
      height=${BAR + 10} rx="1" />`}
  </g>`;
}

// Words of the ends, the newest first, in two rows, as far as there is room; else only the mark is there.
function Causes({ shown, x, width }) {
  const free = [width, width];
  const drawn = [];
  for (const one of [...shown].reverse()) {
    if (!one.ending || x(one.end) < 0) continue;
    const length = measured(one.ending.word, STRONG) + 8;
    const right = Math.max(length, Math.min(width, x(one.end) + length / 2));
    const row = free.findIndex((edge) => right <= edge);
    if (row < 0) continue;
    free[row] = right - length;
    drawn.push(
      html`<text key=${one.uid} class=${`cause ${one.ending.tone}`} x=${right - length / 2} y=${LABELS - 4 - row * 15}
        text-anchor="middle">${one.ending.word}</text>`,
    );
  }
  return drawn;
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400, 172800];

function Axis({ from, length, x, width }) {
  const step = (STEPS.find((one) => (one * 1000 * width) / length > 84) ?? 604800) * 1000;
  const zone = new Date(from).getTimezoneOffset() * 60_000;
  const ticks = [];
  for (let at = Math.ceil((from - zone) / step) * step + zone; at < from + length; at += step) ticks.push(at);
  const half = measured("00:00:00", PLAIN) / 2 + 1;
  const text = (at) => (step >= 86_400_000 ? day(at) : step < 60_000 ? clock(at) : clock(at).slice(0, 5));
  return ticks.map(
    (at) =>
      html`<g key=${at} class="tick"><path d=${`M${x(at)} ${TOP + BAR}v5`} />
        <text x=${Math.min(width - half, Math.max(half, x(at)))} y=${TOP + BAR + 18} text-anchor="middle">${text(at)}</text>
        </g>`,
  );
}

let pen = null;

// The width of a label in px, as it will be drawn.
function measured(text, font) {
  pen ??= document.createElement("canvas").getContext("2d");
  pen.font = `${font} ${getComputedStyle(document.body).fontFamily}`;
  return Math.ceil(pen.measureText(text).width);
}

const KINDS = [
  ["starting", "loading"],
  ["ready", "ready"],
  ["stepped", "ready on a fallback step"],
  ["gap", "waiting"],
  ["end", "failed"],
];

function Legend() {
  const one = (kind, name) => html`<span class=${`legend ${kind}`}><i aria-hidden="true"></i>${name}</span>`;
  return html`<div class="legends">${KINDS.map(([kind, name]) => one(kind, name))}</div>`;
}
