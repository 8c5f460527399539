// A text with line numbers, and what is wrong with it at the lines where it is.

import { html, useEffect, useLayoutEffect, useRef } from "../vendor/preact-htm.js";
import { manifestPath } from "./edits.js";

const LEAST_LINES = 6;

/**
 * `problems` are {line, column, message}, lines from 1; those with a `file` are of another one. With `onInput` the text can be changed.
 * `onReview` is called for Ctrl+S, `at` is a line to show at first.
 */
export function Editor({ text, problems = [], onInput, onReview, at = 0, label = "Manifest" }) {
  const area = useRef(null);
  const lines = text.split("\n").length;
  const wrong = byLine(problems.filter((problem) => !problem.file), lines);
  useLayoutEffect(() => {
    const box = area.current;
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight + 2}px`;
  }, [text]);
  useEffect(() => {
    if (at > 1) goTo(area.current, at, 1);
  }, [at]);
  const onKeyDown = (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "s") {
      event.preventDefault();
      onReview?.();
    }
    // Tab is left alone: it is how one leaves the text with the keyboard.
  };
  return html`
    <div class="editor">
      <div class="editor-text">
        <div class="editor-gutter" aria-hidden="true">
          ${Array.from({ length: Math.max(lines, LEAST_LINES) }, (_, index) => {
            const told = wrong.get(index + 1);
            return html`<span key=${index} class=${told ? "wrong" : ""} title=${told?.join("\n") ?? ""}
              >${index < lines ? index + 1 : ""}</span>`;
          })}
        </div>
        <textarea
          ref=${area}
          aria-label=${label}
          aria-invalid=${wrong.size > 0}
          spellcheck="false"
          autocomplete="off"
          autocapitalize="off"
          wrap="off"
          rows=${Math.max(lines, LEAST_LINES)}
          readonly=${!onInput}
          value=${text}
          onInput=${(event) => onInput?.(event.target.value)}
          onKeyDown=${onKeyDown}
        />
      </div>
      <${Problems} problems=${problems} onGo=${(line, column) => goTo(area.current, line, column)} />
    </div>
  `;
}

/** What is wrong, each with a button that leads to its place, or a link where that is in another file. */
export function Problems({ problems, onGo }) {
  if (!problems.length) return null;
  return html`
    <ul class="problems" role="alert">
      ${problems.map(
        (problem, index) => html`
          <li key=${index}>
            ${problem.file
              ? html`<a class="place" href=${manifestPath(problem.file, problem.line)}>${problem.file}:${problem.line}</a> `
              : problem.line
              ? html`<button type="button" class="place" onClick=${() => onGo?.(problem.line, problem.column ?? 1)}
                  >line ${problem.line}${problem.column ? `:${problem.column}` : ""}</button> `
              : null}
            <span>${problem.message}</span>
          </li>
        `,
      )}
    </ul>
  `;
}

/** Problems as the interface tells them, of whatever shape, as {line, column, message, file}: those of `isOwn` files first, without it. */
export function problemsOf(told, isOwn = () => true) {
  const found = (told ?? []).map((problem) => {
    if (typeof problem !== "string") {
      const { line = 0, column = 0, file = "" } = problem;
      return { line, column, message: problem.message ?? problem.text ?? "", file: !file || isOwn(file) ? "" : file };
    }
    const found = /^(?:.*?):(\d+):(?:(\d+):)?\s*(.*)$/s.exec(problem);
    return found ? { line: Number(found[1]), column: Number(found[2] ?? 0), message: found[3] } : { line: 0, column: 0, message: problem };
  });
  return [...found.filter((problem) => !problem.file), ...found.filter((problem) => problem.file)];
}

function byLine(problems, lines) {
  const found = new Map();
  for (const { line, message } of problems) {
    const place = Math.min(Math.max(line || 1, 1), lines);
    found.set(place, [...(found.get(place) ?? []), message]);
  }
  return found;
}

function goTo(area, line, column) {
  const before = area.value.split("\n").slice(0, line - 1).join("\n");
  const place = Math.min(before.length + (line > 1 ? 1 : 0) + Math.max(column - 1, 0), area.value.length);
  area.focus({ preventScroll: true });
  area.setSelectionRange(place, place);
  const height = area.scrollHeight / area.value.split("\n").length;
  const top = area.getBoundingClientRect().top + (line - 1) * height;
  if (top < 80 || top > innerHeight - 80) scrollBy({ top: top - innerHeight / 3 });
}
