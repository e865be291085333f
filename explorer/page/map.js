// A map of pictures in the plane of two directions: a dot for each of the first seeds, the kept pictures, and where we are.

import { spelled, all } from "./layers.js";
import { stepsOf, textOfSteps } from "./directions.js";
import { EMPTY } from "./look.js";
import { element } from "./panel.js";

const SEEDS = 400;
const NEAR = 7; // pixels around a dot in which a click means it
const SIDE = 26; // pixels of a kept picture
const STEP = 0.25; // of the arrow keys, in strengths
const REST = 300; // milliseconds before places are asked for
const KINDS = ["#4d7fae", "#c2703d", "#5b9a63", "#a0609a", "#b89b3c", "#5aa3a8", "#b05a68", "#8a7a68"];

export class Map2D {
  /** `change(state, done)` shows a state, `kept()` are pictures, `film(states)` begins a film, `directions` has sliders. */
  constructor(about, control, { tasks, directions, change, kept, film }) {
    Object.assign(this, { about, control, tasks, directions, change, kept, film, axes: null, cloud: [], pins: [], skew: [0, 0] });
    const choice = (id, k) => element("select", { id, ariaLabel: k ? "Upwards" : "To the right", onchange: () => {
      if (!this.axes) return;
      this.axes[k] = choices[k].value;
      this.locate(true);
    } });
    const choices = (this.choices = [choice("map-x", 0), choice("map-y", 1)]);
    this.canvas = element("canvas", { id: "map-canvas", tabIndex: 0, ariaLabel: "Map of pictures: arrow keys move along the two directions" });
    this.canvas.setAttribute("role", "application");
    this.told = element("p", { className: "hint", textContent: " " });
    this.filmed = element("button", { type: "button", id: "map-film", textContent: "Film of this line", hidden: true, onclick: () => this.film(this.line) });
    this.empty = element("p", { className: "hint", textContent: "The map needs two directions: find some in the tab Directions, such as those of PCA." });
    this.body = element("div", { className: "map" }, element("div", { className: "head" }, choices[0], element("span", { textContent: "→" }), choices[1], element("span", { textContent: "↑" })), this.canvas, this.told, this.filmed);
    this.element = element("section", { id: "map", className: "tab" }, this.empty, this.body);
    directions.changed = () => this.offer();
    this.listen();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  async appeared() {
    await this.directions.appeared();
    this.offer();
  }

  /** The directions to choose from; those of PCA come first, since they are orthogonal. */
  offer() {
    const names = this.directions.found.map(({ name }) => name);
    this.empty.hidden = names.length > 1;
    this.body.hidden = names.length < 2;
    if (names.length < 2) return;
    if (!this.axes?.every((name) => names.includes(name))) {
      const first = names.filter((name) => name.startsWith("pca"));
      this.axes = (first.length > 1 ? first : names).slice(0, 2);
    }
    this.choices.forEach((select, k) => {
      select.replaceChildren(...names.map((name) => element("option", { value: name, textContent: name })));
      select.value = this.axes[k];
    });
    this.locate();
  }

  update(state, own) {
    this.state = state;
    this.byHand = own.label !== null;
    this.draw();
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.locate(), REST);
  }

  /** The state without steps along the axes. */
  get still() {
    const steps = stepsOf(this.state.options[this.control.name]);
    this.axes.forEach((name) => steps.delete(name));
    return this.stepped(steps);
  }

  stepped(steps) {
    const { [this.control.name]: _, ...options } = this.state.options, text = textOfSteps(steps);
    return { ...this.state, network: "", options: text ? { ...options, [this.control.name]: text } : options };
  }

  /** What all seeds of the cloud share with the picture. */
  get shared() {
    const plain = Object.entries(this.state.options).filter(([name]) => !["styles", "moves"].includes(this.about.controls.find((each) => each.name === name)?.kind));
    return { ...EMPTY, label: this.byHand ? this.state.label : null, classes: this.state.classes, options: Object.fromEntries(plain) };
  }

  /** Ask where the picture and the others are, if that is not known. */
  async locate(anew = false) {
    if (this.element.hidden || this.body.hidden || !this.state) return;
    const kept = this.kept(), key = JSON.stringify([this.axes, this.still]), cloud = JSON.stringify([this.axes, this.shared, kept.map(({ state }) => state)]);
    if (!anew && key === this.known && cloud === this.knownCloud) return;
    const fresh = anew || cloud !== this.knownCloud;
    [this.known, this.knownCloud] = [key, cloud];
    const states = [this.still, ...(fresh ? kept.map(({ state }) => ({ ...EMPTY, ...state, network: "" })) : [])];
    const found = await this.tasks.run({ do: "place", axes: this.axes, states, shared: this.shared, seeds: fresh ? SEEDS : 0 });
    if (!found) {
      this.known = this.knownCloud = null;
      return;
    }
    if (fresh) {
      this.cloud = found.points.slice(0, SEEDS);
      this.pins = kept.map((entry, k) => ({ ...entry, at: found.points[SEEDS + 1 + k], image: Object.assign(new Image(), { src: entry.small, onload: () => this.draw() }) }));
      this.reach = 1.12 * Math.max(...this.cloud.flat().map(Math.abs), 1);
    }
    this.base = found.points[fresh ? SEEDS : 0];
    this.skew = found.skew;
    this.draw();
  }

  /** Where the picture is. */
  get here() {
    const steps = stepsOf(this.state.options[this.control.name]);
    const [a, b] = this.axes.map((name) => steps.get(name)?.strength ?? 0);
    return [this.base[0] + a + b * this.skew[0], this.base[1] + b + a * this.skew[1]];
  }

  /** The state at a place: steps along the two directions, in all layers. */
  at([x, y]) {
    const [s, t] = this.skew, dx = x - this.base[0], dy = y - this.base[1], whole = 1 - s * t || 1;
    const strengths = [(dx - s * dy) / whole, (dy - t * dx) / whole];
    const steps = stepsOf(this.state.options[this.control.name]);
    this.axes.forEach((name, k) => {
      const every = this.directions.found.find((each) => each.name === name).layers.length === this.about.layers;
      steps.set(name, { strength: Math.round(strengths[k] * 100) / 100, layers: every ? "" : spelled(all(this.about), this.about) });
    });
    return this.stepped(steps);
  }

  listen() {
    const { canvas } = this, place = (event) => {
      const half = canvas.clientWidth / 2, scale = this.reach / half;
      return [(event.offsetX - half) * scale, (half - event.offsetY) * scale];
    };
    const near = ([x, y]) => {
      const limit = (NEAR * 2 * this.reach) / canvas.clientWidth;
      const far = ([a, b]) => Math.hypot(a - x, b - y);
      const pin = this.pins.find(({ at }) => far(at) < limit * 1.6);
      if (pin) return { pin };
      const seed = this.cloud.reduce((best, dot, k) => (far(dot) < far(this.cloud[best]) ? k : best), 0);
      return this.cloud.length && far(this.cloud[seed]) < limit ? { seed } : null;
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button || !this.base) return;
      canvas.setPointerCapture(event.pointerId);
      this.from = { place: place(event), moved: false, x: event.offsetX, y: event.offsetY };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.base) return;
      if (!this.from) return this.point(near(place(event)));
      if (!this.from.moved && Math.hypot(event.offsetX - this.from.x, event.offsetY - this.from.y) < 4) return;
      this.from.moved = true;
      this.line = [this.at(this.from.place), this.at(place(event))];
      this.ends = [this.from.place, place(event)];
      this.change(this.line[1], false);
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!this.from) return;
      const { moved } = this.from, hit = near(place(event));
      this.from = null;
      if (!moved) this.ends = this.line = null;
      this.filmed.hidden = !this.line;
      if (moved) this.change(this.line[1], true);
      else if (hit?.pin) this.change({ ...EMPTY, ...hit.pin.state }, true);
      else if (hit) this.change({ ...this.shared, seeds: [[hit.seed, 1]] }, true);
      else this.change(this.at(place(event)), true);
    });
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] }[event.key];
      if (!by || !this.base) return;
      event.preventDefault();
      event.stopPropagation();
      this.change(this.at(this.here.map((value, k) => value + by[k])), true);
    });
  }

  /** Tell what a click at a place would show. */
  point(hit) {
    const { learned, classes } = this.about;
    this.canvas.style.cursor = hit ? "pointer" : "crosshair";
    if (hit?.pin) this.told.textContent = "a picture that you kept";
    else if (hit) this.told.textContent = `seed ${hit.seed}${learned.length && this.shared.label === null ? `, ${classes[learned[hit.seed % learned.length]]}` : ""}`;
    else this.told.textContent = "Click: the picture there. Drag: along a line.";
  }

  draw() {
    const { canvas } = this, side = canvas.clientWidth, ratio = devicePixelRatio;
    if (!side || !this.base || !this.state) return;
    canvas.width = canvas.height = Math.round(side * ratio);
    const context = canvas.getContext("2d"), style = getComputedStyle(canvas);
    const to = ([x, y]) => [side / 2 + (x * side) / (2 * this.reach), side / 2 - (y * side) / (2 * this.reach)];
    context.scale(ratio, ratio);
    context.strokeStyle = style.borderTopColor;
    context.beginPath();
    for (let k = -Math.floor(this.reach); k <= this.reach; k++) {
      const [x, y] = to([k, k]);
      context.globalAlpha = k ? 0.45 : 1;
      context.moveTo(x, 0), context.lineTo(x, side), context.moveTo(0, y), context.lineTo(side, y);
    }
    context.stroke();
    const { learned } = this.about, many = learned.length > 1 && this.shared.label === null && !this.shared.classes.length;
    context.globalAlpha = 0.75;
    this.cloud.forEach((dot, seed) => {
      context.fillStyle = KINDS[many ? (seed % learned.length) % KINDS.length : 0];
      context.beginPath();
      context.arc(...to(dot), 2.4, 0, 7);
      context.fill();
    });
    context.globalAlpha = 1;
    for (const { at, image } of this.pins) {
      const [x, y] = to(at);
      context.save();
      context.beginPath();
      context.roundRect(x - SIDE / 2, y - SIDE / 2, SIDE, SIDE, 5);
      context.clip();
      if (image.complete && image.naturalWidth) context.drawImage(image, x - SIDE / 2, y - SIDE / 2, SIDE, SIDE);
      context.restore();
    }
    context.lineWidth = 2;
    context.strokeStyle = style.color;
    if (this.ends) {
      context.beginPath();
      context.moveTo(...to(this.ends[0])), context.lineTo(...to(this.ends[1]));
      context.stroke();
    }
    context.beginPath();
    context.arc(...to(this.here), 7, 0, 7);
    context.fillStyle = style.backgroundColor;
    context.globalAlpha = 0.8;
    context.fill();
    context.globalAlpha = 1;
    context.stroke();
  }
}
