// Icons as strokes on a 16 × 16 field.

import { html } from "../vendor/preact-htm.js";

const PATHS = {
  servers: "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.01M5 11h.01",
  events: "M3 4h10M3 8h10M3 12h6",
  profiles: "M3 5.5h10M3 10.5h10M6 3.5v4M10.5 8.5v4",
  models: "M8 2l5.5 3v6L8 14l-5.5-3V5zM2.5 5L8 8l5.5-3M8 8v6",
  manifests: "M4 2h5l3 3v9H4zM9 2v3h3M6 8h4M6 10.5h4",
  sources: "M5 2.5v7M5 9.5a2 2 0 100 4 2 2 0 000-4zM11 2.5a2 2 0 100 4 2 2 0 000-4zM11 6.5c0 2.5-3 2.5-6 3.5",
  settings:
    "M8 5.7a2.3 2.3 0 100 4.6 2.3 2.3 0 000-4.6zM8 1.5v2M8 12.5v2M1.5 8h2M12.5 8h2M3.4 3.4l1.4 1.4M11.2 11.2l1.4 1.4M3.4 12.6l1.4-1.4M11.2 4.8l1.4-1.4",
  help: "M8 2a6 6 0 100 12A6 6 0 008 2zM6.2 6.3a1.8 1.8 0 113 1.4c-.7.5-1.2.8-1.2 1.6M8 11.6h.01",
  search: "M7 2.5a4.5 4.5 0 100 9 4.5 4.5 0 000-9zM10.3 10.3l3.2 3.2",
  close: "M4 4l8 8M12 4l-8 8",
  check: "M3 8.5l3.2 3.2L13 4.8",
  copy: "M5.5 5.5h8v8h-8zM3 10.5h-.5v-8h8V3",
  out: "M6.5 3.5h-3v9h9v-3M9 3h4v4M13 3L7.5 8.5",
  restart: "M13 8a5 5 0 11-1.5-3.6L13 6M13 2.5V6H9.5",
  stop: "M4 4h8v8H4z",
  start: "M5 3l8 5-8 5z",
  suspend: "M5.5 3.5v9M10.5 3.5v9",
  cards: "M2.5 2.5h4.5v4.5H2.5zM9 2.5h4.5v4.5H9zM2.5 9h4.5v4.5H2.5zM9 9h4.5v4.5H9z",
  table: "M2.5 3h11v10h-11zM2.5 6.3h11M2.5 9.6h11",
  sun: "M8 5a3 3 0 100 6 3 3 0 000-6zM8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M3.4 12.6l.9-.9M11.7 4.3l.9-.9",
  moon: "M13 9.5A5.5 5.5 0 016.5 3a5.5 5.5 0 106.5 6.5z",
  auto: "M8 2a6 6 0 100 12A6 6 0 008 2zM8 2v12",
  back: "M9.5 3.5L5 8l4.5 4.5",
  warn: "M8 2.5l6 11H2zM8 6.5v3M8 11.5h.01",
  down: "M8 3v9M4 8.5L8 12.5l4-4",
  wrap: "M2.5 4h11M2.5 8h9a2 2 0 010 4H8M9.5 10.5L8 12l1.5 1.5M2.5 12h3",
  save: "M8 2.5v7.5M5 7l3 3 3-3M3 13h10",
  edit: "M3 13l.7-3L10.5 3.2l2.3 2.3L6 12.3z",
  plus: "M8 3v10M3 8h10",
  trash: "M3 4.5h10M6 4.5V3h4v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5",
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
}
