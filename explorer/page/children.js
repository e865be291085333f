// Children: small variations around the picture, in the cells of a 3 x 3 grid. Each is a step towards another seed.

import { crossed, varied } from "./look.js";
import { element } from "./panel.js";
import { paint } from "./picture.js";

const COUNT = 8;
const LARGEST = 100_000; // seeds of the steps: short numbers are easier to read

export class Children {
  /** `ask(slot, state)` asks for a draft; `go(state)` makes a state the picture. */
  constructor(grid, about, { ask, go }) {
    this.about = about;
    this.ask = ask;
    this.go = go;
    this.open = false;
    this.step = 0.4;
    this.chosen = null;
    this.cells = Array.from({ length: COUNT + 1 }, (_, slot) => {
      const canvas = element("canvas", { width: 64, height: 64 });
      const button = element("button", { type: "button", className: slot ? "child" : "child parent",
        ariaLabel: slot ? `Child ${slot}` : "The picture itself", title: slot ? `Child ${slot} (key ${slot})` : "",
        onclick: (event) => this.click(slot, event.shiftKey) }, canvas);
      return { canvas, button };
    });
    const places = [1, 2, 3, 4, 0, 5, 6, 7, 8];
    grid.append(...places.map((slot) => this.cells[slot].button));
    this.others();
  }

  /** The slider of the step, and the number beside it. */
  stride(range, shown) {
    range.addEventListener("input", () => {
      this.step = range.valueAsNumber;
      shown.textContent = range.value;
      this.show(this.state);
    });
  }

  /** New directions for the steps. */
  others() {
    this.seeds = Array.from({ length: COUNT }, () => Math.floor(Math.random() * LARGEST));
    if (this.open) this.show(this.state);
  }

  show(state) {
    this.state = state;
    this.choose(null);
    for (let slot = 1; this.open && slot <= COUNT; slot++) this.ask(slot, this.child(slot));
  }

  child(slot) {
    return slot ? varied(this.state, this.seeds[slot - 1], this.step, this.about) : this.state;
  }

  click(slot, shifted) {
    const shift = shifted && !this.state.latent; // latents have no seeds to cross
    if (shift && this.chosen === null) return this.choose(slot);
    const other = this.chosen;
    this.choose(null);
    if (shift && other !== slot) return this.go({ ...this.state, seeds: crossed(this.child(other).seeds, this.child(slot).seeds) });
    if (!shift && slot) this.go(this.child(slot));
  }

  choose(slot) {
    this.chosen = slot;
    this.cells.forEach(({ button }, k) => button.classList.toggle("chosen", k === slot));
  }

  draw(slot, bitmap) {
    const { canvas } = this.cells[slot];
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    paint(canvas, bitmap);
  }
}
