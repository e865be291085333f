// The picture: answers are drawn on a canvas, and dragging walks to the neighbors of a seed.

import { walked, wrapped } from "./look.js";

const STILL = 4; // pixels that a pointer may move in a click

export class Picture {
  /** `walk(seeds, done)` is called while a pointer drags, `start()` before. */
  constructor(canvas, { start, walk }) {
    this.canvas = canvas;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      canvas.setPointerCapture(event.pointerId);
      this.from = { x: event.clientX, y: event.clientY, moved: false };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.from) return;
      const dx = event.clientX - this.from.x, dy = event.clientY - this.from.y;
      if (!this.from.moved) {
        if (Math.hypot(dx, dy) < STILL) return;
        this.from.moved = true;
        this.base = start();
        canvas.classList.add("walking");
      }
      this.seeds = this.place(-dx / canvas.clientWidth, -dy / canvas.clientHeight);
      walk(this.seeds, false);
    });
    const end = () => {
      if (this.from?.moved) walk(this.seeds, true);
      this.from = null;
      canvas.classList.remove("walking");
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
  }

  /** The seeds at a distance from where the drag began; a whole width is the next seed, a whole height the hundredth. */
  place(x, y) {
    const right = Math.trunc(x), below = Math.trunc(y);
    const base = right || below ? [[wrapped(Math.abs(this.base[0][0] + right + 100 * below)), 1]] : this.base;
    return walked(base, x - right, y - below);
  }

  draw(bitmap) {
    const { canvas } = this;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    paint(canvas, bitmap);
  }
}

/** Draw a bitmap so that it fills a canvas. */
export function paint(canvas, bitmap) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
}

/** A small copy of a canvas or bitmap, as a data URL. */
export function small(picture) {
  const side = 96, scale = side / Math.max(picture.width, picture.height);
  const made = document.createElement("canvas");
  made.width = Math.max(1, Math.round(picture.width * scale));
  made.height = Math.max(1, Math.round(picture.height * scale));
  made.getContext("2d").imageSmoothingQuality = "high";
  made.getContext("2d").drawImage(picture, 0, 0, made.width, made.height);
  return made.toDataURL("image/webp", 0.85);
}
