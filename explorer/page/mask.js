// Regions that are painted over a picture: a number for every pixel, and a brush.

const SIDE = 1024; // pixels of the longer side that regions are painted in, at most
const STEPS = 20; // strokes that can be taken back
const MOVE = 0.04; // of the arrow keys, in widths
export const COLORS = ["#e8873a", "#3f8fd0", "#3fae6b", "#b065c9"];
const TINTS = COLORS.map((color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)));

export class Mask {
  /** `changed()` is called after every stroke. */
  constructor(canvas, changed) {
    Object.assign(this, { canvas, changed, regions: null, before: [], brush: null, radius: 0.1, at: [0.5, 0.5], last: null });
    this.tinted = document.createElement("canvas");
    canvas.addEventListener("pointerdown", (event) => {
      if (this.brush === null || event.button) return;
      canvas.setPointerCapture(event.pointerId);
      this.begin();
      this.move(event);
    });
    canvas.addEventListener("pointermove", (event) => this.brush !== null && this.move(event));
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => this.end());
    canvas.addEventListener("pointerleave", () => this.draw(false));
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  /** Show another picture, without regions. */
  show(image) {
    const scale = Math.min(1, SIDE / Math.max(image.width, image.height)), { canvas, tinted } = this;
    Object.assign(this, { image, regions: null, before: [] });
    canvas.width = tinted.width = Math.max(1, Math.round(image.width * scale));
    canvas.height = tinted.height = Math.max(1, Math.round(image.height * scale));
    this.draw(false);
  }

  /** Paint with the region of this number; null for none. */
  take(brush) {
    this.brush = brush;
    this.canvas.classList.toggle("painting", brush !== null);
    this.draw(brush !== null);
  }

  key(event) {
    const by = { ArrowLeft: [-MOVE, 0], ArrowRight: [MOVE, 0], ArrowUp: [0, -MOVE], ArrowDown: [0, MOVE], " ": [0, 0] }[event.key];
    if (!by || this.brush === null) return;
    event.preventDefault();
    this.at = this.at.map((value, axis) => Math.min(1, Math.max(0, value + by[axis])));
    if (event.key !== " ") return this.draw(true);
    this.begin();
    this.stroke(this.at);
    this.end();
  }

  begin() {
    this.before = [...this.before, this.regions?.slice() ?? null].slice(-STEPS);
    this.regions ??= new Uint8Array(this.canvas.width * this.canvas.height).fill(this.brush === 0 ? 1 : 0);
    this.last = this.at;
    this.begun = true;
  }

  move(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    this.at = [(event.clientX - left) / width, (event.clientY - top) / height];
    if (this.last && event.type === "pointermove") this.stroke(this.at);
    else if (this.last) this.stroke(this.last = this.at);
    else this.draw(true);
  }

  end() {
    this.last = null;
    if (!this.begun) return;
    this.begun = false;
    this.changed();
  }

  /** Paint from the last place to another one; both are shares of width and height. */
  stroke(to) {
    const { width, height } = this.canvas, radius = this.radius * Math.max(width, height);
    const [ax, ay, bx, by] = [this.last[0] * width, this.last[1] * height, to[0] * width, to[1] * height];
    const long = Math.max((bx - ax) ** 2 + (by - ay) ** 2, 1e-9);
    const limit = (value, most) => Math.min(most, Math.max(0, Math.floor(value)));
    for (let y = limit(Math.min(ay, by) - radius, height); y < limit(Math.max(ay, by) + radius + 1, height); y++) {
      for (let x = limit(Math.min(ax, bx) - radius, width); x < limit(Math.max(ax, bx) + radius + 1, width); x++) {
        const along = Math.min(1, Math.max(0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / long));
        if (Math.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)) <= radius) this.regions[y * width + x] = this.brush;
      }
    }
    this.last = to;
    this.draw(true);
  }

  undo() {
    if (!this.before.length) return;
    this.regions = this.before.pop();
    this.draw(false);
    this.changed();
  }

  clear() {
    Object.assign(this, { regions: null, before: [] });
    this.draw(false);
  }

  /** A style left: its region becomes that of the first, and the numbers after it move up. */
  without(number) {
    this.before = [];
    if (this.regions) this.regions = this.regions.map((each) => (each === number ? 0 : each > number ? each - 1 : each));
    this.draw(false);
  }

  /** The numbers of the regions that there are, ascending. */
  get used() {
    return [...new Set(this.regions)].sort((a, b) => a - b);
  }

  /** The regions as a PNG of the picture's size: gray levels from dark to light. */
  async png() {
    const { used } = this, made = document.createElement("canvas");
    const levels = used.map((_, k) => Math.round((255 * k) / Math.max(1, used.length - 1)));
    this.fill((number) => [...Array(3).fill(levels[used.indexOf(number)]), 255]);
    made.width = this.image.width;
    made.height = this.image.height;
    const context = made.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(this.tinted, 0, 0, made.width, made.height);
    this.draw(this.canvas === document.activeElement);
    return new Promise((resolve) => made.toBlob(resolve, "image/png"));
  }

  /** Give every pixel the color [red, green, blue, opacity] of its region, on a canvas of its own. */
  fill(color) {
    const { width, height } = this.tinted, context = this.tinted.getContext("2d");
    const pixels = context.createImageData(width, height), words = new Uint32Array(pixels.data.buffer);
    const table = COLORS.map((_, k) => new Uint32Array(new Uint8Array(this.used.includes(k) ? color(k) : [0, 0, 0, 0]).buffer)[0]);
    for (let k = 0; k < words.length; k++) words[k] = table[this.regions[k]];
    context.putImageData(pixels, 0, 0);
  }

  /** The picture, its regions in color, and with `pointed` the brush. */
  draw(pointed) {
    if (!this.image) return;
    const { canvas, canvas: { width, height } } = this, context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.drawImage(this.image, 0, 0, width, height);
    if (this.regions) {
      this.fill((number) => [...TINTS[number], 110]);
      context.drawImage(this.tinted, 0, 0);
    }
    if (!pointed || this.brush === null) return;
    for (const [color, wide] of [["#000a", 4], [COLORS[this.brush], 2]]) {
      context.beginPath();
      context.arc(this.at[0] * width, this.at[1] * height, this.radius * Math.max(width, height), 0, 7);
      Object.assign(context, { strokeStyle: color, lineWidth: (wide * width) / Math.max(1, canvas.clientWidth) });
      context.stroke();
    }
  }
}
