// One server: what it is like, what happened to it, how it does, what it says, and its manifest.

import { html } from "../../vendor/preact-htm.js";
import { Acts } from "../acts.js";
import { LoadingBar, PortLink, StateBadge, Ticks } from "../card.js";
import { Empty, Icon, Loading, Page, Tabs } from "../components.js";
import { later } from "../later.js";
import { serverPath } from "../router.js";
import { Overview } from "../server/overview.js";
import { useServer, useStore } from "../store.js";
import { modelName } from "../words.js";

const TABS = [
  ["", "Overview"],
  ["history", "Restarts"],
  ["charts", "Charts"],
  ["log", "Log"],
  ["manifest", "Manifest"],
];

const PARTS = {
  "": Overview,
  history: later(() => import("../server/history.js")),
  charts: later(() => import("../server/charts.js")),
  log: later(() => import("../server/log.js")),
  manifest: later(() => import("./manifest.js")),
};

export default function Server({ params, query }) {
  const item = useServer(params.name);
  const { loaded } = useStore("loaded");
  const tab = query.tab in PARTS ? query.tab : "";
  const back = html`<a class="button quiet" href="/" data-back aria-label="All servers" title="All servers (Esc)">
    <${Icon} name="back" /></a>`;
  if (!item) {
    return html`<${Page} title=${params.name} before=${back}>${loaded ? html`<${Gone}
      name=${params.name} />` : html`<${Loading} />`}<//>`;
  }
  const Part = PARTS[tab];
  const tabs = TABS.map(([key, name]) => [key, name, key === "history" ? item.status.restarts : 0]);
  return html`<${Page} title=${item.metadata.name} before=${back} tools=${html`<${Acts} item=${item} />`}>
    <div class="standing">
      <span class="state"><${StateBadge} item=${item} /></span>
      <span class="faint model" title=${item.spec.model}>${modelName(item)}</span><${PortLink} item=${item} />
        <${Ticks} item=${item} />
      <${LoadingBar} item=${item} />
    </div>
    <${Tabs} tabs=${tabs} value=${tab} href=${(key) => serverPath(item.metadata.name, key)} />
    <${Part} item=${item} name=${item.metadata.name} query=${query} />
  <//>`;
}

function Gone({ name }) {
  return html`<${Empty} title=${`There is no server ${name}`}>It was removed, or never declared. <a
    href="/">All servers</a><//>`;
}
