// A server's log, as it is written, with a search.

import { html, useEffect, useRef, useState } from "../../vendor/preact-htm.js";
import { act, get } from "../api.js";
import { Button, ProblemBox, Search } from "../components.js";
import { bytes, moment } from "../format.js";
import { setQuery } from "../router.js";
import { askSeat, readEvents, seen, whenHiddenLong } from "../stream.js";
import { ending, useRestarts } from "./restarts.js";
import { LogView } from "./log_view.js";

const TAIL = 1000; // lines of what was written before one looked
const SEAT_MS = 500; // for the other tabs to say whether there is a seat
const LOOK_MS = 2000;
const MOST = 10_000; // that are saved

export default function Log({ item, query }) {
  const { name } = item.metadata;
  const place = useRef();
  const view = useRef(null);
  const [shown, setShown] = useState({ lines: 0, hits: 0, at: 0, away: 0 });
  const [problem, setProblem] = useState(null);
  const [wrap, setWrap] = useState(true);
  const [only, setOnly] = useState(false);
  const [words, setWords] = useState("");
  const [attempt, setAttempt] = useState(0);
  const uid = query.uid ?? "";
  useEffect(() => {
    view.current = new LogView(place.current, setShown);
    return () => view.current.end();
  }, []);
  useEffect(() => view.current.search(words, only), [words, only]);
  useEffect(() => {
    const stop = new AbortController();
    view.current.clear();
    setProblem(null);
    follow(name, uid, view.current, stop.signal).catch((error) => error.name === "AbortError" || setProblem(error));
    return () => stop.abort();
  }, [name, uid, attempt]);
  const step = (event) => event.key === "Enter" && (event.preventDefault(), view.current.step(event.shiftKey ? -1 : 1));
  return html`<div class="log-tools tools">
      <${Search} value=${words} onInput=${setWords} label="Search the log" onKeyPress=${step} />
      ${words && html`<span class="faint number" role="status">
        ${shown.hits ? `${shown.at || "–"} of ${shown.hits}` : "nothing found"}</span>`}
      <label class="check"><input type="checkbox" checked=${only}
        onChange=${(event) => setOnly(event.target.checked)} />only these lines</label>
      <label class="check"><input type="checkbox" checked=${wrap}
        onChange=${(event) => setWrap(event.target.checked)} />wrap</label>
      <${Instances} name=${name} uid=${uid} />
      <${Button} icon="save" title="Save the log" onClick=${() => save(name, uid)} />
    </div>
    ${problem && html`<${ProblemBox} problem=${problem} again=${() => setAttempt(attempt + 1)} />`}
    <div class="log-box"><div ref=${place} class=${`log ${wrap ? "wrap" : ""}`} tabindex="0" role="log" aria-live="off"
      aria-label=${`Log of ${name}`}></div>
      ${!shown.lines && !problem && html`<p class="log-none">Nothing was written yet.</p>`}
      ${shown.away > 0 && html`<button type="button" class="button primary log-newest"
        onClick=${() => view.current.toNewest()}>${shown.away} newer ↓</button>`}
    </div>`;
}

function Instances({ name, uid }) {
  const { restarts } = useRestarts(name);
  const text = (one) => `${moment(one.startedAt)} ${one.trigger}${one.endedAt ? ` → ${ending(one).word}` : ", runs"}`;
  return html`<select aria-label="Which start" value=${uid}
    onChange=${(event) => setQuery({ uid: event.target.value })}>
    <option value="">newest start, followed</option>${restarts.map((one) => html`<option key=${one.uid}
      value=${one.uid}>${text(one)}</option>`)}</select>`;
}

function path(name, uid, more) {
  const asked = new URLSearchParams({ ...more, ...(uid && { uid }) });
  return `/api/v1/servers/${encodeURIComponent(name)}/logs?${asked}`;
}

// One start's log to its end; without a uid the newest one's, and then that of each that follows.
async function follow(name, uid, view, signal) {
  for (;;) {
    const turn = new AbortController();
    const stop = () => turn.abort(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    const forget = whenHiddenLong(stop);
    const seat = askSeat();
    try {
      await looks(name, uid, view, seat.taken, turn.signal);
      await readEvents(path(name, uid, { follow: "true", tail: TAIL }), {
        on: (event) => heard(event, view),
        signal: turn.signal,
      });
      if (uid) return;
    } catch (error) {
      if (signal.aborted || error.status >= 400) throw error;
    } finally {
      forget();
      seat.leave();
      signal.removeEventListener("abort", stop);
    }
    if (!document.hidden) view.mark("not connected; tried again by itself");
    await seen();
    await pause(2000, signal);
    view.clear();
  }
}

// As long as other tabs have all the seats: what is in the log now and then, added to what was there.
async function looks(name, uid, view, taken, signal) {
  let isTaken = false;
  let before = [];
  taken.then(() => (isTaken = true));
  await Promise.race([taken, pause(SEAT_MS, signal)]);
  if (isTaken) return;
  view.mark(`other tabs follow logs, more would hold up the rest: this one looks every ${LOOK_MS / 1000} s`);
  while (!isTaken) {
    const lines = await written(name, uid, signal);
    for (const line of lines.slice(overlap(before, lines))) view.add(line);
    before = lines;
    await Promise.race([taken, pause(LOOK_MS, signal)]);
  }
  view.clear();
}

async function written(name, uid, signal) {
  try {
    return String(await get(path(name, uid, { tail: TAIL }), { signal })).replace(/\n$/, "").split("\n");
  } catch (error) {
    if (error.reason === "NoLog" && !uid) return []; // none was started yet
    throw error;
  }
}

// How many of the lines were there before: up to the last two of those.
function overlap(before, lines) {
  const [last, other] = [before.at(-1), before.at(-2)];
  for (let at = lines.length - 1; at >= 0; at--)
    if (lines[at] === last && (at === 0 || lines[at - 1] === other)) return at + 1;
  return 0;
}

function heard({ event, data }, view) {
  const told = JSON.parse(data);
  if (event === "line") view.add(told.line);
  else if (event === "instance") view.mark(`${moment(told.startedAt)}: ${told.trigger}, pid ${told.pid}`);
  else if (event === "skipped") view.mark(`${bytes(told.bytes)} were left out here`);
  else if (event === "end") view.mark(ended(told));
}

function ended(start) {
  const end = start.endedAt && start.trigger ? ending(start) : null;
  return end ? `${moment(start.endedAt)}: ended, ${[end.word, end.text].filter(Boolean).join(", ")}` : "ended";
}

function pause(length, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, length);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)));
  });
}

async function save(name, uid) {
  const data = await act("GET", path(name, uid, { tail: MOST }));
  if (data === null) return;
  const href = URL.createObjectURL(new Blob([String(data)], { type: "text/plain" }));
  Object.assign(document.createElement("a"), { href, download: `${name}.log` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}
