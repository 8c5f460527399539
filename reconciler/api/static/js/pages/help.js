// How the dashboard is used, and where more is told.

import { html } from "../../vendor/preact-htm.js";
import { Copy, Page, Section } from "../components.js";
import { KEYS } from "../keys.js";

const COMMANDS = [
  ["reconciler ui", "open this page with a session that may act"],
  ["reconciler get servers -w", "watch the servers in a terminal"],
  ["reconciler describe server NAME", "all about one server"],
  ["reconciler explain REASON", "what a word such as GpuOutOfMemory means, and what helps"],
  ["reconciler explain spec.ctx", "what a field of a manifest means"],
  ["reconciler doctor", "look for what is wrong with this machine"],
  ["reconciler apply -f FILE", "put manifests into the folder"],
];

const WORDS = [
  ["Server", "what a LlamaServer document declares; its processes come and go"],
  ["Pending", "it is to run, and waits for its turn, or has not been looked at yet"],
  ["Starting", "its process is there and loads the model"],
  ["Ready", "it answers, on its own port, with the model that was asked for"],
  ["Ready, degraded", "it serves, but with less than was asked for; its page says why and how to go back"],
  ["Unhealthy", "its process is there and does not answer as it should; if that lasts, it is restarted"],
  ["BackOff", "it ended, and is started again after a pause that grows"],
  ["Failed", "it ended too often in a row; it is tried again later, or when you say so"],
  ["Blocked", "something is missing that it needs; it starts by itself when that is there"],
  ["Invalid", "its document has an error; what ran before goes on"],
  ["Stopping", "it was asked to end; after its grace it is made to"],
  ["Stopped", "it rests: suspended, left out by the profile, stopped by hand, or done"],
  ["Unknown", "its process is there, and no controller looks at it"],
];

export default function Help() {
  return html`<${Page} title="Help" wide=${false}>
    <p class="lead">Servers run as their manifests declare them. This page shows what runs; what you change here is written into the files, and you see what follows before it is.</p>
    <${Section} title="Keys"><dl class="keys">${KEYS.map(
      ([key, what]) => html`<div key=${key}><dt>${key.split(/ +/).map((one) => html`<kbd>${one}</kbd>`)}</dt><dd>${what}</dd></div>`,
    )}<div><dt><kbd>Ctrl</kbd><kbd>S</kbd></dt><dd>review the changes of a manifest</dd></div></dl><//>
    <${Section} title="Words"><dl class="meanings">${WORDS.map(([word, what]) => html`<div key=${word}><dt>${word}</dt><dd>${what}</dd></div>`)}</dl><//>
    <${Section} title="In a terminal"><ul class="ways">${COMMANDS.map(([command, what]) => html`<li key=${command}><${Copy} text=${command} /> ${what}</li>`)}</ul><//>
    <${Section} title="For other programs"><ul class="links">
      <li><a href="/v1/models" target="_blank">/v1/models</a> the servers as a list that OpenAI's clients read, with their base URLs</li>
      <li><a href="/sd/prometheus" target="_blank">/sd/prometheus</a> the running servers, for Prometheus' HTTP discovery</li>
      <li><a href="/metrics" target="_blank">/metrics</a> figures of the controller and the servers</li>
      <li><a href="/api/v1/summary" target="_blank">/api/v1/summary</a> the whole in numbers</li>
    </ul><//>
  <//>`;
}
