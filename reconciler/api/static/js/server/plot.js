// uPlot, as the charts here want it. Loaded when the first chart is shown.

import { clock } from "../format.js";

let library = null;

function loaded() {
  if (!library) {
    const sheet = Object.assign(document.createElement("link"), {
      rel: "stylesheet",
      href: new URL("../../vendor/uplot.css", import.meta.url).href,
    });
    const styled = new Promise((resolve) => ((sheet.onload = resolve), (sheet.onerror = resolve)));
    document.head.append(sheet);
    library = Promise.all([import("../../vendor/uplot.js"), styled]).then(([module]) => module.default);
    library.catch(() => (library = null));
  }
  return library;
}

// `{update(found), destroy()}`. `found`: {from, to, at, values}; `pointed(value)` for the value under the pointer, or null.
export async function draw(place, { chart, found, pointed }) {
  const Plot = await loaded();
  const span = { from: found.from, to: found.to };
  const plot = new Plot(options(Plot, place, chart, span, pointed), [found.at, found.values], place);
  const observer = new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: plot.height }));
  observer.observe(place);
  return {
    update(next) {
      Object.assign(span, { from: next.from, to: next.to });
      plot.setData([next.at, next.values]);
    },
    destroy() {
      observer.disconnect();
      plot.destroy();
    },
  };
}

function options(Plot, place, chart, span, pointed) {
  const colour = colourOf(place, chart.colour);
  const faint = colourOf(place, "--faint");
  const line = colourOf(place, "--line");
  const font = `11px ${getComputedStyle(place).fontFamily}`;
  const axis = { stroke: faint, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
  return {
    width: place.clientWidth,
    height: chart.share ? 110 : 170,
    legend: { show: false },
    padding: [8, 14, 0, 4],
    cursor: { sync: { key: "server" }, y: false, points: { size: 6 }, drag: { x: false, y: false } },
    scales: {
      x: { range: () => [span.from, span.to] },
      y: { range: (_plot, _low, high) => [0, chart.share ? 1 : ceiling(high, chart.whole)] },
    },
    axes: [
      { ...axis, space: 70, size: 28, values: (_plot, at) => at.map((one) => clockOf(one, span)) },
      {
        ...axis,
        size: 70,
        space: 34,
        show: !chart.share,
        incrs: chart.whole ? [1, 2, 5, 10, 20, 50, 100] : undefined,
        splits: chart.show.name === "bytes" ? byteSplits : undefined,
        values: (_plot, at) => at.map((one) => chart.show(one, at[1] - at[0])),
      },
    ],
    series: [
      {},
      {
        stroke: colour,
        width: 1.6,
        fill: faded(colour),
        spanGaps: false,
        points: { show: false },
        paths: chart.share || chart.whole ? Plot.paths.stepped({ align: 1 }) : undefined,
      },
    ],
    hooks: {
      setCursor: [
        (plot) =>
          pointed(plot.cursor.idx === null || plot.cursor.left < 0 ? null : (plot.data[1][plot.cursor.idx] ?? null)),
      ],
    },
  };
}

// Room above the highest value; a flat nothing gets a scale too.
function ceiling(high, whole) {
  if (!high) return 1;
  return whole ? Math.max(1, Math.ceil(high * 1.1)) : high * 1.15;
}

// Round in the units that are shown: 256 MiB, not 200,000,000 bytes.
function byteSplits(_plot, _axis, low, high) {
  let step = 1;
  while (high / step > 5) step *= 2;
  const found = [];
  for (let at = low; at <= high; at += step) found.push(at);
  return found;
}

function clockOf(at, { from, to }) {
  const text = clock(at * 1000);
  return to - from > 600 ? text.slice(0, 5) : text;
}

// A colour of the page's, as the canvas takes it: variables are resolved by an element that wears it.
function colourOf(place, name) {
  const probe = place.appendChild(document.createElement("i"));
  probe.style.color = `var(${name})`;
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

function faded(colour) {
  return colour.replace(/^rgb\(/, "rgba(").replace(/\)$/, ", 0.14)");
}
