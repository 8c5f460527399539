// A unified diff as coloured lines.

import { html } from "../vendor/preact-htm.js";

const KINDS = { "+": "added", "-": "removed", "@": "place" };

// `text`: the unified diff that an edit answers with.
export function CodeDiff({ text }) {
  if (!text) return html`<p class="faint pad">Nothing would change in the file.</p>`;
  const lines = text.replace(/\n$/, "").split("\n");
  return html`<pre class="diff" tabindex="0" aria-label="Changes">${lines.map((line, at) => html`<span key=${at}
    class=${kindOf(line)}>${line || " "}${"\n"}</span>`)}</pre>`;
}

function kindOf(line) {
  if (/^(\+\+\+|---)/.test(line)) return "file";
  return KINDS[line[0]] ?? "same";
}
