// Whether this browser may act. `reconciler ui` puts a one-time code into the fragment; it is given for a session, which is
// kept by api.js. What is known stands in the store's `session`:
//   {known, readable, actable, expiresAt, asking}; `asking` is the problem that a dialog tells, or null.

import { get, onDenied, request, setToken, token } from "./api.js";
import { set, state } from "./store.js";

const KEY = "reconciler.session"; // as in api.js: another tab's session is this one's

let retry = 0;
let exchanging = false;

/** Once, at the start: give the code in the fragment for a session, then ask what this browser may do. */
export async function beginSession() {
  onDenied(denied);
  addEventListener("storage", (event) => event.key === KEY && look());
  addEventListener("hashchange", () => code() && exchange().then(look));
  if (code()) await exchange();
  await look();
}

/** Ask whether the session is still good, and what can be done without one. */
export async function look() {
  clearTimeout(retry);
  const held = token();
  try {
    const told = await get("/api/v1/session");
    if (held && !told.valid && token() === held) setToken("");
    change({ ...told.valid && { asking: null }, known: true, readable: told.valid || !told.readsNeedToken,
      actable: told.valid || !told.actsNeedToken, expiresAt: told.valid && told.expiresAt ? new Date(told.expiresAt * 1000).toISOString() : null });
  } catch (problem) {
    // The controller does not answer: the stream says so. An answer that refuses has come through `denied`.
    if (problem.status === 0) retry = setTimeout(look, 3000);
  }
}

/** Forget the session, in every tab of this browser. */
export function endSession() {
  setToken("");
  return look();
}

/** Show how a session is begun, as for an act that was refused. */
export function askForSession() {
  change({ asking: { reason: "TokenNeeded", canDo: ["reconciler ui"] } });
}

export function closeAsking() {
  change({ asking: null });
}

// What an answer of 401 means: the session is over, or was never begun.
function denied(problem) {
  if (exchanging) return true; // a used-up code says nothing about the session that is kept
  setToken("");
  const isReading = problem.body?.reads === true;
  change({ known: true, actable: false, expiresAt: null, asking: problem, ...isReading && { readable: false } });
  return true;
}

function code() {
  return new URLSearchParams(location.hash.slice(1)).get("code");
}

async function exchange() {
  const given = code();
  // First of all out of sight: of the history, of bookmarks, of whoever looks over a shoulder.
  history.replaceState(history.state, "", location.pathname + location.search);
  exchanging = true;
  try {
    const { data } = await request("POST", "/api/v1/session", { body: { code: given } });
    setToken(data.token);
    change({ asking: null });
  } catch (problem) {
    change({ asking: problem });
  } finally {
    exchanging = false;
  }
}

function change(what) {
  set("session", { ...state.session, ...what });
}
