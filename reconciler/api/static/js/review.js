// An edit before it is made: what would be written, what would follow, and the button that does it.

import { html } from "../vendor/preact-htm.js";
import { Button, Dialog } from "./components.js";
import { EditPreview } from "./plan.js";
import { useStore } from "./store.js";

export function Review({ path, edit, apply, danger = false, close }) {
  const { session } = useStore("session");
  const actions = html`<${Button} onClick=${close}>Back<//>
    <${Button} kind=${danger ? "danger" : "primary"} autofocus onClick=${apply}>${danger ? "Delete" : "Apply"}<//>`;
  return html`<${Dialog} title=${danger ? `Delete ${path}` : `Changes of ${path}`} wide onClose=${close} actions=${actions}>
    <${EditPreview} edit=${edit} />
    ${session.actable ? null : html`<p class="faint">This browser has no session yet: to apply, you will be asked for one.</p>`}
  <//>`;
}
