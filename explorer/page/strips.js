// The history, a tree of all states that were shown, and the pictures that a person keeps.

import { EMPTY, same } from "./look.js";
import { element } from "./panel.js";

const MOST = 300; // steps that are remembered
const MOST_KEPT = 100;

/** One picture of a strip. */
function card(entry, name, go) {
  const image = element("img", { src: entry.small ?? "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==", alt: name, draggable: false });
  const add = element("button", { type: "button", className: "add", textContent: "+", ariaLabel: `Add to the film: ${name}`, title: "Add to the film",
    onclick: () => document.dispatchEvent(new CustomEvent("film-key", { detail: entry })) });
  return element("li", {}, element("button", { type: "button", title: name, onclick: () => go(entry) }, image), add);
}

export class History {
  /** `go(state)` shows a state without a new step. */
  constructor(list, { go, name }) {
    this.list = list;
    this.go = go;
    this.name = name;
    this.steps = []; // { state, parent, small, item }
    this.now = null;
  }

  /** A step from the present state to another one. */
  push(state) {
    if (this.now && same(this.now.state, state)) return;
    const entry = { state, parent: this.now };
    this.steps.push(entry);
    entry.item = card(entry, this.name(state), (chosen) => this.visit(chosen));
    this.list.append(entry.item);
    if (this.steps.length > MOST) this.steps.shift().item.remove();
    this.mark(entry);
  }

  mark(entry) {
    this.now?.item.classList.remove("now");
    this.now?.item.firstChild.removeAttribute("aria-current");
    this.now = entry;
    entry.item.classList.add("now");
    entry.item.firstChild.setAttribute("aria-current", "step");
    this.list.scrollTo({ left: entry.item.offsetLeft - this.list.clientWidth / 2, behavior: "auto" });
  }

  visit(entry) {
    this.mark(entry);
    this.go(entry.state);
  }

  get before() {
    return this.steps.includes(this.now?.parent) ? this.now.parent : null;
  }

  /** The last step that was made from here. */
  get after() {
    return this.steps.findLast((entry) => entry.parent === this.now) ?? null;
  }

  undo() {
    if (this.before) this.visit(this.before);
  }

  redo() {
    if (this.after) this.visit(this.after);
  }

  /** The picture of the present step. */
  picture(state, small) {
    if (this.now && same(this.now.state, state)) this.give(this.now, small);
  }

  give(entry, small) {
    entry.small = small;
    entry.item.querySelector("img").src = small;
  }

  /** The newest step without a picture. */
  get lacking() {
    return this.steps.findLast((entry) => !entry.small) ?? null;
  }
}

export class Kept {
  /** Pictures kept for one network, in the browser's own storage. */
  constructor(list, network, { go, name }) {
    this.list = list;
    this.key = `kept ${network}`;
    this.go = go;
    this.name = name;
    this.entries = this.load();
    this.hint = list.firstElementChild;
    this.show();
  }

  load() {
    try {
      const found = JSON.parse(localStorage.getItem(this.key)) ?? [];
      return found.filter((entry) => Array.isArray(entry?.state?.seeds) && `${entry.small}`.startsWith("data:image/"));
    } catch {
      return [];
    }
  }

  add(state, small) {
    if (this.entries.some((entry) => same(entry.state, state))) return false;
    this.entries.unshift({ state, small });
    this.store(this.entries.slice(0, MOST_KEPT));
    return true;
  }

  store(entries) {
    this.entries = entries;
    try {
      localStorage.setItem(this.key, JSON.stringify(entries));
    } catch {
      // A full or forbidden storage: the pictures stay as long as the page.
    }
    this.show();
  }

  show() {
    const items = this.entries.map((entry) => {
      const item = card(entry, this.name({ ...EMPTY, ...entry.state }), ({ state }) => this.go(state));
      item.append(element("button", { type: "button", className: "remove", textContent: "×", ariaLabel: "Remove", title: "Remove",
        onclick: () => this.store(this.entries.filter((other) => other !== entry)) }));
      return item;
    });
    this.list.replaceChildren(...(items.length ? items : [this.hint]));
  }
}
