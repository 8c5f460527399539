// A table that sorts by its heads. On narrow screens each row becomes a block, with `data-title` before each cell.

import { html, useMemo, useState } from "../vendor/preact-htm.js";
import { compare } from "./format.js";

// `columns`: [{key, title, cell(row), sort?(row) → value, number?, className?}]; rows that stay the same are drawn anew
// only when that array is another. `rowKey(row)` tells rows apart, `rowClass(row)` colours them.
// `initial`: {key, down}. `onSort(order)` and `order` hold the order outside.
export function Table({ rows, columns, rowKey, label, initial = null, order, onSort, rowClass, empty = "None" }) {
  const [own, setOwn] = useState(initial);
  const by = order === undefined ? own : order;
  const choose = (column) => (onSort ?? setOwn)(next(by, column));
  const shown = sorted(rows, columns, by);
  if (!rows.length) return html`<p class="faint pad">${empty}</p>`;
  return html`<div class="table-wrap"><table class="table" aria-label=${label}>
    <thead><tr>${columns.map((column) => html`<${Head} key=${column.key} column=${column} by=${by}
      choose=${choose} />`)}</tr></thead>
    <tbody>${shown.map((row) => html`<${Row} key=${rowKey(row)} row=${row} columns=${columns}
      className=${rowClass?.(row)} />`)}</tbody>
  </table></div>`;
}

// Drawn anew only when its row, or the columns, are others.
function Row({ row, columns, className }) {
  return useMemo(
    () =>
      html`<tr data-row class=${className} tabindex="-1">${columns.map(
        (column) =>
          html`<td key=${column.key} data-title=${column.title} class=${kind(column)}>${column.cell(row)}</td>`,
      )}</tr>`,
    [row, columns, className],
  );
}

function Head({ column, by, choose }) {
  const mine = by?.key === column.key;
  const sort = mine ? (by.down ? "descending" : "ascending") : undefined;
  if (!column.sort) return html`<th scope="col" class=${kind(column)}>${column.title}</th>`;
  return html`<th scope="col" class=${kind(column)} aria-sort=${sort}>
    <button type="button" onClick=${() => choose(column)}>${column.title}<i aria-hidden="true">
      ${mine ? (by.down ? "↓" : "↑") : ""}</i></button>
  </th>`;
}

function kind(column) {
  return `${column.number ? "number" : ""} ${column.className ?? ""}`.trim() || undefined;
}

// Numbers are first wanted from the greatest, words from A.
function next(by, column) {
  return { key: column.key, down: by?.key === column.key ? !by.down : Boolean(column.number) };
}

export function sorted(rows, columns, by) {
  const sort = by && columns.find((column) => column.key === by.key)?.sort;
  if (!sort) return rows;
  const marked = rows.map((row, at) => [sort(row), at, row]);
  marked.sort(([a, i], [b, j]) => missing(a) - missing(b) || compare(a, b) * (by.down ? -1 : 1) || i - j);
  return marked.map(([, , row]) => row);
}

// What is not known is last in either order.
function missing(value) {
  return value === null || value === undefined ? 1 : 0;
}
