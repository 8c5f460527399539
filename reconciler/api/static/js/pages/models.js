// The models in the models folder, who uses them, and which cannot be used.

import { html, useMemo } from "../../vendor/preact-htm.js";
import { Badge, Button, Bytes, Empty, Loading, Page, ProblemBox, Search, Table, useAsked } from "../components.js";
import { count, number } from "../format.js";
import { serverPath, setQuery } from "../router.js";

const COLUMNS = [
  { key: "file", title: "File", className: "name", sort: (model) => model.file, cell: (model) => html`<b title=${model.path}>${model.file}</b>${model.parts?.length > 1 ? html` <span class="faint">${model.parts.length} parts</span>` : null}` },
  { key: "kind", title: "Kind", sort: (model) => model.kind, cell: (model) => html`<${Badge} word=${model.kind} as=${model.problem ? "bad" : "rest"} title=${model.problem} />` },
  { key: "title", title: "Name", sort: (model) => model.title ?? "", cell: (model) => model.title ?? html`<span class="faint">–</span>` },
  { key: "architecture", title: "Architecture", sort: (model) => model.architecture ?? "", cell: (model) => model.architecture ?? "–" },
  { key: "size", title: "Size", number: true, sort: (model) => model.size, cell: (model) => html`<${Bytes} value=${model.size} />` },
  { key: "parameters", title: "Parameters", number: true, sort: (model) => model.parameters, cell: (model) => count(model.parameters) },
  { key: "quantization", title: "Quantization", sort: (model) => model.quantization ?? "", cell: (model) => model.quantization ?? "–" },
  { key: "ctx", title: "Trained context", number: true, sort: (model) => model.ctxTrained, cell: (model) => number(model.ctxTrained, 0) },
  { key: "used", title: "Used by", sort: (model) => model.usedBy.length, cell: (model) => html`<span class="names">${model.usedBy.map((name) => html`<a key=${name} href=${serverPath(name)}>${name}</a> `)}</span>` },
];

// Its problem, which need not name it.
function told({ file, problem }) {
  return problem.includes(file) ? problem : `${file}: ${problem}`;
}

export default function Models({ query }) {
  const { data, problem, loading, again } = useAsked("/api/v1/models");
  const q = (query.q ?? "").toLowerCase();
  const all = data?.items ?? [];
  const found = useMemo(() => all.filter((model) => `${model.file} ${model.title ?? ""} ${model.architecture ?? ""} ${model.usedBy.join(" ")}`.toLowerCase().includes(q)), [data, q]);
  const tools = html`
    <${Search} value=${query.q ?? ""} onInput=${(text) => setQuery({ q: text })} label="Search models" />
    <${Button} icon="restart" title="Look again" onClick=${again} />
  `;
  return html`<${Page} title="Models" tools=${tools}>
    ${problem ? html`<${ProblemBox} problem=${problem} again=${again} />` : null}
    ${loading ? html`<${Loading} label="Reading the models' headers" />` : null}
    ${data && !all.length
      ? html`<${Empty} title="No models">Put a GGUF file into the models folder, or let a server fetch one: spec.model with hf.<//>`
      : null}
    ${all.length ? html`<${Table} label="Models" rows=${found} columns=${COLUMNS} rowKey=${(model) => model.path} initial=${{ key: "file", down: false }} empty="No model matches" />` : null}
    ${all.filter((model) => model.problem).map((model) => html`<p class="problem bad" key=${model.path}>${told(model)}</p>`)}
  <//>`;
}
