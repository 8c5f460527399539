// What was typed and not written: kept for whoever looks elsewhere meanwhile or loads the page again; who closes it is asked.

const KEPT_AS = "reconciler.drafts";

const held = new Map(read());

export const drafts = {
  get: (key) => held.get(key),
  set(key, draft) {
    held.set(key, draft);
    write();
  },
  delete(key) {
    if (held.delete(key)) write();
  },
};

addEventListener("beforeunload", (event) => {
  if (!held.size) return;
  event.preventDefault();
  event.returnValue = true;
});

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT_AS)) ?? [];
  } catch {
    return [];
  }
}

// Storage may be forbidden, or full: then what was typed lasts as long as the page.
function write() {
  try {
    sessionStorage.setItem(KEPT_AS, JSON.stringify([...held]));
  } catch {
    return;
  }
}
