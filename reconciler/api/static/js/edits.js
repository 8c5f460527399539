// Edits of manifests: what the interface says of a draft, and the draft put into force.

import { request } from "./api.js";

/** Where a manifest is asked for; `path` is as the list of manifests has it. */
export function manifestUrl(path, dryRun = false) {
  return `/api/v1/manifests/${path.split("/").map(encodeURIComponent).join("/")}${dryRun ? "?dryRun=true" : ""}`;
}

/** The page of a manifest's file. */
export function manifestPath(file, line = 0) {
  return `/manifests?file=${encodeURIComponent(file)}${line ? `&line=${line}` : ""}`;
}

/** {text, etag, problems, file} of a manifest; `file` is what problems call it. */
export async function readManifest(path) {
  const { data, etag } = await request("GET", manifestUrl(path));
  return { text: data.text ?? "", problems: data.problems ?? [], file: data.file, etag };
}

/**
 * Write a manifest, or with `dryRun` see what that would do. Answers {edit} or, of a text with errors, {problems};
 * {overtaken: true} where somebody else has written it meanwhile. `etag` null: it must not be there yet.
 */
export function writeManifest(path, text, { etag, dryRun = false }) {
  const condition = etag === null ? { "If-None-Match": "*" } : etag ? { "If-Match": etag } : {};
  return judged(request("PUT", manifestUrl(path, dryRun), { body: text, type: "text/yaml", headers: condition }));
}

export function removeManifest(path, { etag, dryRun = false }) {
  return judged(request("DELETE", manifestUrl(path, dryRun), { headers: etag ? { "If-Match": etag } : {} }));
}

/** Set and unset fields of a server, as `reconciler set` does. */
export function setFields(name, fields, unset, { dryRun = false } = {}) {
  const path = `/api/v1/servers/${encodeURIComponent(name)}${dryRun ? "?dryRun=true" : ""}`;
  return judged(request("PATCH", path, { body: { set: fields, unset } }));
}

async function judged(asked) {
  try {
    const { data, etag } = await asked;
    return { edit: data, etag };
  } catch (problem) {
    if (problem.status === 412) return { overtaken: true, problem };
    if (problem.status === 422) return { problems: problem.body.problems ?? [{ message: problem.message }], problem };
    throw problem;
  }
}

/** The changes of a plan that do something. */
export function doings(plan) {
  return (plan?.changes ?? []).filter((change) => change.action !== "unchanged");
}
