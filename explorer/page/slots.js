// Small pictures in many places of the page. Each place has a slot, of which the newest answer counts.

import { element } from "./panel.js";
import { paint } from "./picture.js";

export class Small {
  /** `ask(slot, state)` asks for a draft, and returns the number of the question. */
  constructor(ask) {
    this.ask = ask;
    this.places = new Map(); // slot -> { number, draw }
  }

  /** Ask for pictures in the slots from `first` on; `wanted` are { state, canvas }, or { state, draw }. */
  show(first, wanted) {
    wanted.forEach(({ state, canvas, draw }, k) => {
      const number = this.ask(first + k, state);
      this.places.set(first + k, { number, draw: draw ?? ((bitmap) => fill(canvas, bitmap)) });
    });
  }

  async answered(told, blob) {
    const place = this.places.get(told.slot);
    if (!place || !blob || told.number < place.number) return;
    place.draw(await createImageBitmap(blob));
  }
}

/** Draw a bitmap on a canvas of its size. */
export function fill(canvas, bitmap) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  paint(canvas, bitmap);
}

/** A canvas of a small picture, of the network's proportions. */
export const thumb = ({ size: [width, height] }) => element("canvas", { className: "thumb", width, height });

/** A function that runs `work` at once, and then at most every `pause` milliseconds, the last time included. */
export function seldom(work, pause) {
  let timer = 0, again = false;
  const run = () => {
    again = false;
    work();
    timer = setTimeout(() => {
      timer = 0;
      if (again) run();
    }, pause);
  };
  return () => {
    if (timer) again = true;
    else run();
  };
}
