// The same latent through all snapshots of a run: a slider over kimg, and a strip of small pictures.

import { same } from "./look.js";
import { element } from "./panel.js";
import { small } from "./picture.js";
import { choice, field } from "./room.js";

export const SNAPSHOT = 242; // the slot of their pictures

export class Snapshots {
  /** `present()` is the state; `shown(bitmap)` shows a snapshot's picture in the comparison; `changed()` tells of another one. */
  constructor(section, { ask, present, shown, changed }) {
    Object.assign(this, { ask, present, shown, changed });
    this.runs = [];
    this.bitmaps = new Map(); // number of a snapshot -> bitmap of the present state
    this.run = choice("runs-run", [], "", () => this.open());
    this.slider = element("input", { type: "range", id: "runs-kimg", min: 0, step: 1, value: 0, ariaLabel: "Snapshot, by kimg", oninput: () => this.choose(this.slider.valueAsNumber) });
    this.kimg = element("output", { id: "runs-at", htmlFor: "runs-kimg" });
    this.strip = element("ol", { className: "strip", id: "runs-strip" });
    this.sheet = element("img", { id: "runs-sheet", alt: "The newest samples of the run", hidden: true });
    this.report = element("a", { id: "runs-report", className: "button", target: "_blank", rel: "noopener", textContent: "Report" });
    this.moved = element("small", { textContent: "Move the slider to see this picture through the run." });
    this.hint = element("p", { className: "hint", textContent: "No run with snapshots was found in runs, or beside this network." });
    this.parts = element("div", { className: "through", hidden: true },
      element("div", { className: "making" }, element("div", { className: "fields one" }, field("Run", this.run)),
        element("div", { className: "kimg" }, this.slider, this.kimg), this.strip, this.moved, element("div", { className: "tools left" }, this.report)), this.sheet);
    section.append(element("h2", { className: "second", textContent: "Through a run" }), this.hint, this.parts);
  }

  /** The runs that there are now; a snapshot that is new is appended to those of its run. */
  offer(runs) {
    const before = this.run.value;
    this.runs = runs;
    this.hint.hidden = runs.length > 0;
    this.parts.hidden = runs.length === 0;
    this.run.replaceChildren(...runs.map(({ number, name, snapshots }) => element("option", { value: number, textContent: `${name} (${snapshots.length})` })));
    if (runs.some(({ number }) => `${number}` === before)) this.run.value = before;
    this.open(this.run.value === before);
  }

  get chosen() {
    return this.runs.find(({ number }) => `${number}` === this.run.value);
  }

  get snapshots() {
    return this.chosen?.snapshots ?? [];
  }

  get active() {
    return this.index !== undefined;
  }

  get title() {
    return `kimg ${this.snapshots[this.index]?.kimg}`;
  }

  open(again = false) {
    if (!this.chosen) return;
    const followed = again && this.active && this.index === this.slider.max - 0; // the last one: the new last one is shown
    this.slider.max = Math.max(0, this.snapshots.length - 1);
    if (!again) {
      this.leave();
      this.bitmaps.clear();
      this.slider.value = this.slider.max;
    }
    this.sheet.hidden = !this.chosen.sheet;
    if (this.chosen.sheet) this.sheet.src = `runs/${this.chosen.number}/sheet?${this.snapshots.length}`;
    this.report.href = `runs/${this.chosen.number}/report`;
    this.list();
    if (followed) this.choose(this.snapshots.length - 1);
    this.tell();
  }

  list() {
    this.items = this.snapshots.map(({ number, kimg }, index) => {
      const image = element("img", { alt: "", width: 60, height: 60 });
      return { number, image, item: element("li", {}, element("button", { type: "button", title: `kimg ${kimg}`, ariaLabel: `Snapshot of kimg ${kimg}`,
        onclick: () => this.choose(index) }, image), element("small", { textContent: kimg })) };
    });
    this.strip.replaceChildren(...this.items.map(({ item }) => item));
    for (const [number, bitmap] of this.bitmaps) this.give(number, bitmap);
    this.mark();
  }

  mark() {
    this.strip.hidden = !this.active;
    this.moved.hidden = this.active;
    this.items?.forEach(({ item }, index) => item.classList.toggle("now", index === this.index));
  }

  tell() {
    const at = this.snapshots[this.slider.valueAsNumber];
    this.kimg.textContent = at ? `kimg ${at.kimg}` : "no snapshot yet";
    this.slider.ariaValueText = this.kimg.textContent;
    this.slider.disabled = this.snapshots.length < 2;
  }

  choose(index) {
    this.index = index;
    this.slider.value = index;
    this.tell();
    this.mark();
    this.changed();
    this.follow();
  }

  /** The comparison shows something else. */
  leave() {
    this.index = undefined;
    this.mark();
  }

  /** Show the snapshot for the present state: at once if its picture is there; then make the others, the nearest first. */
  follow(draft = false) {
    const state = this.present();
    if (!this.state || !same(this.state, state)) this.bitmaps.clear();
    this.state = state;
    const number = this.snapshots[this.index]?.number, found = this.bitmaps.get(number);
    if (found) this.shown(found);
    if (draft) return this.demand(number, true);
    const order = this.snapshots.map((each, k) => [Math.abs(k - this.index), each.number]).sort((a, b) => a[0] - b[0]).map(([, each]) => each);
    const next = order.find((each) => !this.bitmaps.has(each));
    if (next !== undefined) this.demand(next);
  }

  demand(network, draft = false) {
    this.asked = { network, draft, number: this.ask(SNAPSHOT, this.state, { draft, network }) };
  }

  answered(told, bitmap) {
    const { asked } = this;
    if (!asked || told.number !== asked.number || !this.active) return;
    if (asked.draft) return bitmap && this.shown(bitmap);
    this.bitmaps.set(asked.network, bitmap); // null if the snapshot cannot be opened
    this.give(asked.network, bitmap);
    if (bitmap && this.snapshots[this.index]?.number === asked.network) this.shown(bitmap);
    this.follow();
  }

  give(number, bitmap) {
    const found = this.items?.find((each) => each.number === number);
    if (found && bitmap) found.image.src = small(bitmap);
  }
}
