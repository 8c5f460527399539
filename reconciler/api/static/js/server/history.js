// All starts of a server, with what ended them and what they said last.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { Badge, Button, Loading, ProblemBox, Section, Time } from "../components.js";
import { duration, ticking } from "../format.js";
import { setQuery } from "../router.js";
import { useClock } from "../store.js";
import { ending, useRestarts } from "./restarts.js";
import { Timeline } from "./timeline.js";

export default function History({ item }) {
  const { restarts, problem, loading } = useRestarts(item.metadata.name);
  const [chosen, setChosen] = useState("");
  useEffect(() => {
    if (chosen) document.getElementById(`start-${chosen}`)?.scrollIntoView({ block: "center" });
  }, [chosen]);
  if (problem && !restarts.length) return html`<${ProblemBox} problem=${problem} />`;
  if (!restarts.length) return loading ? html`<${Loading} />` : html`<p class="faint pad">It was never started.</p>`;
  return html`<${Section} title="What happened"><${Timeline} restarts=${restarts} chosen=${chosen}
    onChoose=${setChosen} /><//>
    <${Section} title=${`Starts, the newest first (${restarts.length})`}><ol class="starts">
      ${restarts.map((one) => html`<${Start} key=${one.uid} one=${one} chosen=${chosen === one.uid} />`)}</ol><//>`;
}

function Start({ one, chosen }) {
  const end = ending(one);
  const now = useClock(one.endedAt ? 60000 : 1000);
  const ran = ((one.endedAt ? Date.parse(one.endedAt) : now) - Date.parse(one.startedAt)) / 1000;
  const ready = one.readyAt ? (Date.parse(one.readyAt) - Date.parse(one.startedAt)) / 1000 : null;
  const told = `${ready === null ? "never ready" : `ready after ${duration(ready)}`}, ${end ? `ran ${duration(ran)}` : `runs for ${ticking(ran)}`}`;
  return html`<li id=${`start-${one.uid}`} data-row tabindex="-1" class=${chosen ? "chosen" : ""}>
    <div class="start-head"><${Time} at=${one.startedAt} />
      <span><b>${one.adopted ? "Adopted" : one.trigger}</b>${one.told ? html` <span
        class="warn-text">step ${one.step}: ${one.told}</span>` : null}${one.attempt ? html` <span
        class="faint">try ${one.attempt + 1}${one.delay ? `, after ${duration(one.delay)}` : ""}</span>` : null}</span>
      <span class="faint">${told}</span>
      ${end ? html`<${Badge} word=${end.word} as=${end.tone} title=${end.text} />` : html`<${Badge} word="runs"
        as="good" />`}
      <span class="faint">${end?.text}</span>
      <span class="start-tools"><${Button} kind="quiet"
        onClick=${() => setQuery({ tab: "log", uid: one.uid }, { replace: false })}>Log<//></span></div>
    ${one.evidence && html`<p class="evidence">${one.evidence}</p>`}
    ${one.logTail && html`<details open=${chosen}><summary>Its last lines</summary><pre class="tail" tabindex="0">
      ${one.logTail}</pre></details>`}
  </li>`;
}
