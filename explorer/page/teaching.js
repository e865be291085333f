// A direction from a dozen clicks: pictures are marked as more or less of something.

import { EMPTY } from "./look.js";
import { element } from "./panel.js";
import { thumb } from "./slots.js";

const SLOT = 40; // of the first picture
const COUNT = 9;
const LEAST = 3; // marks of each kind
const MARKS = [0, 1, -1]; // of clicks: none, more, less

export class Teaching {
  /** `room` is where pictures are marked; `learned(answer)` gets the directions with the new one. */
  constructor(about, room, { small, tasks, toggle, learned }) {
    Object.assign(this, { about, room, small, open: false, marks: new Map() });
    this.name = element("input", { type: "text", className: "seeds", id: "teach-name", ariaLabel: "Name of what is taught", placeholder: "what it is, such as smile", maxLength: 60 });
    this.button = element("button", { type: "button", id: "teach", textContent: "Mark pictures", ariaPressed: false, onclick: () => toggle(!this.open) });
    this.others = element("button", { type: "button", id: "teach-others", textContent: "Others", hidden: true, onclick: () => this.deal() });
    this.done = element("button", { type: "button", id: "teach-done", className: "main", textContent: "Make a slider", hidden: true, onclick: async () => {
      const of = (mark) => [...this.marks.values()].filter((each) => each.mark === mark).map(({ state }) => state);
      if (learned(await tasks.run({ do: "learn", name: this.name.value.trim(), more: of(1), less: of(-1) }), this.name.value.trim())) {
        this.marks.clear();
        this.name.value = "";
        toggle(false);
      }
    } });
    this.count = element("p", { className: "hint" });
    this.element = element("div", { className: "row", id: "row-teach" }, element("h2", { textContent: "Teach a direction" }), this.name,
      this.count, element("div", { className: "buttons" }, this.button, this.others, this.done));
    this.name.addEventListener("input", () => this.tell());
    this.tell();
  }

  /** Open or close the room. */
  show(open) {
    this.open = open;
    this.button.ariaPressed = open;
    this.button.textContent = open ? "Hide pictures" : "Mark pictures";
    this.others.hidden = !open;
    if (open) this.deal();
    this.tell();
  }

  update(state) {
    this.state = state;
  }

  /** Nine pictures that were not marked yet. */
  deal() {
    const { seeds: _, ...rest } = { ...EMPTY, ...this.state };
    const cells = Array.from({ length: COUNT }, () => {
      const seed = Math.floor(Math.random() * 1_000_000), state = { ...rest, seeds: [[seed, 1]] }, canvas = thumb(this.about);
      const mark = element("span", { className: "mark-of" });
      const button = element("button", { type: "button", className: "child", onclick: () => this.mark(seed, state, button, mark) }, canvas, mark);
      this.paint(seed, button, mark);
      return { state, canvas, button };
    });
    this.room.style.gridTemplateColumns = "repeat(3, 1fr)";
    this.room.replaceChildren(...cells.map(({ button }) => button));
    this.small.show(SLOT, cells);
  }

  mark(seed, state, button, sign) {
    const before = this.marks.get(seed)?.mark ?? 0;
    this.marks.set(seed, { state, mark: MARKS[(MARKS.indexOf(before) + 1) % MARKS.length] });
    this.paint(seed, button, sign);
    this.tell();
  }

  paint(seed, button, sign) {
    const mark = this.marks.get(seed)?.mark ?? 0;
    button.dataset.mark = mark;
    sign.textContent = { 0: "", 1: "more", [-1]: "less" }[mark];
    button.ariaLabel = `Seed ${seed}, ${sign.textContent || "not marked"}`;
  }

  tell() {
    const count = (mark) => [...this.marks.values()].filter((each) => each.mark === mark).length, more = count(1), less = count(-1);
    const lacking = more < LEAST || less < LEAST;
    this.count.textContent = this.open || more + less
      ? `${more} more, ${less} less. ${lacking ? "Click once for more of it, twice for less; some of each are needed." : this.name.value.trim() ? "" : "Give it a name."}`
      : "Mark a dozen pictures as more or less of something, and a slider for it appears.";
    this.done.hidden = !this.open;
    this.done.disabled = lacking || !this.name.value.trim();
  }
}
