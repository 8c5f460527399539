// A server's starts: those on record, and those that the stream brings.

import { useMemo } from "../../vendor/preact-htm.js";
import { useAsked } from "../components.js";
import { merged } from "../live.js";
import { useStore } from "../store.js";

// `{restarts (the newest first), problem}`
export function useRestarts(name) {
  const asked = useAsked(`/api/v1/restarts?server=${encodeURIComponent(name)}&limit=100`);
  const live = useStore("restarts").restarts;
  const restarts = useMemo(() => {
    const mine = live.filter((one) => one.server === name);
    return merged(asked.data?.items ?? [], mine, (one) => one.uid, "startedAt");
  }, [asked.data, live, name]);
  return { restarts, problem: asked.problem, loading: asked.loading };
}

// How an instance ended: `{word, tone, text}`; null while it runs.
export function ending(one) {
  if (!one.endedAt) return null;
  if (one.stopReason) return { word: one.stopReason, tone: "rest", text: "stopped" };
  const how = one.signal
    ? `signal ${one.signal}`
    : one.exitCode === null || one.exitCode === undefined
      ? ""
      : `exit ${one.exitCode}`;
  return { word: one.diagnosis || "Ended", tone: one.exitCode === 0 && !one.diagnosis ? "rest" : "bad", text: how };
}
