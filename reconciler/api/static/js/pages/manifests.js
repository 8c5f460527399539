// The files that declare everything: which there are, what is wrong with them, and one of them to be edited.

import { html, useState } from "../../vendor/preact-htm.js";
import { Badge, Button, Dialog, Empty, Loading, Page, ProblemBox, Search, Table, useAsked } from "../components.js";
import { manifestPath } from "../edits.js";
import { navigate, setQuery } from "../router.js";
import { useStore } from "../store.js";
import { ManifestEditor, nameOf } from "./manifest.js";

const EXAMPLE = `apiVersion: llama.reconciler/v1alpha1
kind: LlamaServer
metadata:
  name: NAME
spec:
  model: MODEL.gguf
  ctx: 8192
`;

export default function Manifests({ query }) {
  return query.file ? html`<${One} key=${`${query.file} ${query.new ?? ""}`} file=${query.file} line=${Number(query.line ?? 0)} isNew=${query.new === "1"} />` : html`<${All} q=${query.q ?? ""} />`;
}

function All({ q }) {
  const { summary } = useStore("summary");
  const { data, problem, loading, again } = useAsked("/api/v1/manifests", { every: 5000 });
  const [naming, setNaming] = useState(false);
  const files = data?.items ?? [];
  const found = files.filter((file) => `${file.path} ${names(file).join(" ")}`.toLowerCase().includes(q.toLowerCase()));
  const tools = html`
    <${Search} value=${q} onInput=${(text) => setQuery({ q: text })} label="Search manifests" />
    <${Button} kind="primary" icon="plus" onClick=${() => setNaming(true)}>New<//>
  `;
  return html`<${Page} title="Manifests" tools=${tools}>
    ${summary?.folderProblem ? html`<p class="problem bad" role="alert">${summary.folderProblem}</p>` : null}
    ${problem ? html`<${ProblemBox} problem=${problem} again=${again} />` : null}
    ${loading ? html`<${Loading} />` : null}
    ${data && !files.length ? html`<${Empty} title="No manifests yet">Each YAML file in the manifests folder declares servers. Make the first one with New.<//>` : null}
    ${files.length ? html`<${Table} label="Manifests" rows=${found} columns=${COLUMNS} rowKey=${(file) => file.path} initial=${{ key: "file", down: false }} empty="No manifest matches" />` : null}
    ${naming ? html`<${Naming} files=${files} close=${() => setNaming(false)} />` : null}
  <//>`;
}

const COLUMNS = [
  { key: "file", title: "File", className: "name", sort: (file) => file.path, cell: (file) => html`<a href=${manifestPath(file.path)}><b>${file.path}</b></a>` },
  { key: "documents", title: "Declares", cell: (file) => html`<span class="names">${(file.documents ?? []).map((one) => html`<span key=${`${one.kind}/${one.name}`} title=${one.kind}>${kindName(one)} </span>`)}</span>` },
  { key: "origin", title: "Origin", sort: (file) => file.origin, cell: (file) => (file.origin === "git" ? "Git" : "this machine") },
  {
    key: "problems", title: "State", sort: (file) => file.problems?.length ?? 0,
    cell: (file) => (file.problems?.length ? html`<${Badge} word=${`${file.problems.length} wrong`} as="bad" title=${told(file.problems[0])} />` : html`<${Badge} word="valid" as="good" />`),
  },
];

function names(file) {
  return (file.documents ?? []).map((one) => one.name ?? "");
}

function kindName({ kind, name }) {
  return kind === "LlamaServer" ? name : `${kind}/${name}`;
}

function told(problem) {
  return typeof problem === "string" ? problem : problem.text ?? problem.message;
}

function Naming({ files, close }) {
  const [name, setName] = useState("");
  const wrong = wrongName(name, files);
  const make = () => {
    if (!name || wrong) return;
    close();
    navigate(`${manifestPath(withEnd(name))}&new=1`);
  };
  const actions = html`<${Button} onClick=${close}>Cancel<//><${Button} kind="primary" disabled=${!name || wrong} onClick=${make}>Write it<//>`;
  return html`<${Dialog} title="New manifest" onClose=${close} actions=${actions}>
    <label class="field"><span>File, below the manifests folder</span>
      <input type="text" autofocus autocomplete="off" spellcheck=${false} placeholder="coder.yaml" value=${name}
        onInput=${(event) => setName(event.target.value)} onKeyDown=${(event) => event.key === "Enter" && make()} /></label>
    <p class="faint" role="status">${wrong || "Nothing is written before you have seen what would follow."}</p>
  <//>`;
}

function withEnd(name) {
  return /\.ya?ml$/.test(name) ? name : `${name}.yaml`;
}

function wrongName(name, files) {
  if (!name) return "";
  if (!/^[\w][\w.-]*(\/[\w][\w.-]*)*$/.test(name)) return "Letters, digits, '-', '_', '.' and '/' only, and no part may begin with a dot.";
  return files.some((file) => file.path === withEnd(name)) ? `${withEnd(name)} is there already.` : "";
}

function One({ file, line, isNew }) {
  const name = file.split("/").pop().replace(/\.ya?ml$/, "");
  const { data, problem, again } = useAsked("/api/v1/manifests");
  const before = html`<a class="back" href="/manifests" data-back>Manifests</a>`;
  const leave = () => navigate("/manifests");
  return html`<${Page} title=${file} before=${before}>
    ${problem ? html`<${ProblemBox} problem=${problem} again=${again} />` : null}
    ${data
      ? html`<${ManifestEditor} path=${nameOf(data.items, file)} line=${line} draft=${isNew ? EXAMPLE.replace("NAME", name) : null} onRemoved=${leave}
          onMade=${() => navigate(manifestPath(file), { replace: true })} />`
      : null}
  <//>`;
}
