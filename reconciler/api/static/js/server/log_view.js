// Lines of a log in the page: made by hand, for thousands of them come at once. Text nodes only.

const KEPT = 5000;
const LEVEL = /^\S+ ([IWED]) /; // llama-server's own: time, level, place
// Colours and other control characters of terminals, and what turns the direction of writing.
// eslint-disable-next-line no-control-regex
const UNSEEN =
  /\u001b(?:\[[0-9;?]*[A-Za-z]|\][^\u0007]*\u0007)|[\u0000-\u0008\u000b-\u001f\u007f\u202a-\u202e\u2066-\u2069]/g;

export class LogView {
  // `tell({lines, hits, at, away})`: how many there are, are found, which one is looked at, how many came below.
  constructor(place, tell) {
    Object.assign(this, {
      place,
      tell,
      lines: [],
      waiting: [],
      words: "",
      only: false,
      at: 0,
      away: 0,
      frame: 0,
      atEnd: true,
    });
    this.scrolled = () => {
      this.atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 30;
      if (this.atEnd && this.away) ((this.away = 0), this.told());
    };
    place.addEventListener("scroll", this.scrolled, { passive: true });
  }

  end() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.frame);
    this.place.removeEventListener("scroll", this.scrolled);
  }

  clear() {
    Object.assign(this, { lines: [], waiting: [], at: 0, away: 0, atEnd: true });
    this.place.replaceChildren();
    this.told();
  }

  add(text) {
    this.take({ text: text.replace(UNSEEN, ""), kind: kindOf(text) });
  }

  // A line of ours between those of the server.
  mark(text) {
    this.take({ text: `— ${text} —`, kind: "mark-line" });
  }

  take(line) {
    this.waiting.push(line);
    this.frame ||= document.hidden ? setTimeout(() => this.draw(), 500) : requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    const fresh = this.waiting.splice(0).slice(-KEPT);
    const piece = document.createDocumentFragment();
    for (const line of fresh) {
      this.lines.push(line);
      this.paint(line);
      piece.append(line.element);
    }
    this.place.append(piece);
    for (const line of this.lines.splice(0, Math.max(0, this.lines.length - KEPT))) line.element.remove();
    if (this.atEnd) this.toNewest();
    else this.away += fresh.length;
    this.told();
  }

  search(words, only) {
    Object.assign(this, { words: words.toLowerCase(), only, at: 0 });
    for (const line of this.lines) this.paint(line);
    this.place.querySelectorAll(".here").forEach((one) => one.classList.remove("here"));
    if (words) this.step(-1);
    else if (this.atEnd) this.toNewest();
    this.told();
  }

  // To the next or previous line that was found, around the end.
  step(by) {
    const found = this.lines.filter((line) => line.found);
    if (!found.length) return;
    found[this.at - 1]?.element.classList.remove("here");
    this.at = ((this.at - 1 + by + (this.at ? 0 : by > 0 ? 1 : 1) + found.length) % found.length) + 1;
    const { element } = found[this.at - 1];
    element.classList.add("here");
    element.scrollIntoView({ block: "nearest" });
    this.told();
  }

  toNewest() {
    this.place.scrollTop = this.place.scrollHeight;
    this.atEnd = true;
    this.away = 0;
    this.told();
  }

  told() {
    const hits = this.words ? this.lines.filter((line) => line.found).length : 0;
    this.tell({ lines: this.lines.length, hits, at: this.at, away: this.away });
  }

  // The line's element, with what is searched for marked in it.
  paint(line) {
    line.element ??= document.createElement("div");
    line.element.className = line.kind;
    const parts = this.words ? split(line.text, this.words) : [line.text];
    line.found = parts.length > 1;
    line.element.hidden = this.only && this.words !== "" && !line.found;
    line.element.replaceChildren(...parts.map((part, at) => (at % 2 ? marked(part) : part)));
  }
}

function kindOf(text) {
  return (
    { E: "bad", W: "warn", D: "faint" }[LEVEL.exec(text)?.[1]] ?? (/\berror\b|failed to\b/i.test(text) ? "bad" : "")
  );
}

// Text around and within the words, by turns.
function split(text, words) {
  const lower = text.toLowerCase();
  const parts = [];
  let from = 0;
  for (let at = lower.indexOf(words); at >= 0; at = lower.indexOf(words, from)) {
    parts.push(text.slice(from, at), text.slice(at, at + words.length));
    from = at + words.length;
  }
  return [...parts, text.slice(from)];
}

function marked(text) {
  return Object.assign(document.createElement("mark"), { textContent: text });
}
