// Dialogs: the browser's own <dialog>, which keeps the focus within and closes with Esc.

import { html, render, useEffect, useRef, useState } from "../vendor/preact-htm.js";

// Shown while it is in the page. `onClose()` for Esc, a press beside it and the cross.
export function Dialog({ title, onClose, actions, wide = false, children }) {
  const box = useRef();
  useEffect(() => {
    const before = document.activeElement;
    const dialog = box.current;
    dialog.showModal();
    dialog.querySelector("[data-focus], [autofocus]")?.focus();
    return () => {
      dialog.close(); // as long as it is open nothing beside it takes the focus
      if (before?.isConnected) before.focus?.();
    };
  }, []);
  const cancel = (event) => (event.preventDefault(), onClose());
  const beside = (event) => event.target === box.current && onClose();
  return html`<dialog ref=${box} class=${`dialog ${wide ? "wide" : ""}`} aria-label=${title} onCancel=${cancel}
    onMouseDown=${beside}>
    <div class="dialog-box">
      <header><h2>${title}</h2><button type="button" class="button quiet" aria-label="Close"
        onClick=${onClose}>✕</button></header>
      <div class="dialog-body">${children}</div>
      ${actions && html`<footer>${actions}</footer>`}
    </div>
  </dialog>`;
}

// Ask before a deed: `await confirm({title, text, yes: "Restart", danger: true})` → true or false.
// With `choices` ([[value, name, kind], …]) in place of `yes` the value that was chosen, or null.
export function confirm({ title, text, yes = "Yes", danger = false, choices }) {
  const place = document.body.appendChild(document.createElement("div"));
  return new Promise((resolve) => {
    const close = (answer) => (render(null, place), place.remove(), resolve(answer));
    const offered = choices ?? [[true, yes, danger ? "danger" : "primary"]];
    render(
      html`<${Question} title=${title} text=${text} offered=${offered} close=${close}
        none=${choices ? null : false} />`,
      place,
    );
  });
}

function Question({ title, text, offered, close, none }) {
  const [done, setDone] = useState(false);
  const answer = (value) => done || (setDone(true), close(value));
  const actions = html`<button type="button" class="button plain" onClick=${() => answer(none)}>Cancel</button>
    ${offered.map(
      (
        [value, name, kind = "plain"],
        at,
      ) => html`<button type="button" key=${name} data-focus=${at === offered.length - 1 || undefined}
      class=${`button ${kind}`} onClick=${() => answer(value)}>${name}</button>`,
    )}`;
  return html`<${Dialog} title=${title} onClose=${() => answer(none)} actions=${actions}>
    ${[text].flat().map((line) => html`<p>${line}</p>`)}<//>`;
}
