// A photograph: chosen or dropped, cropped over the mean of some pictures, and searched for among the latents.

import { EMPTY } from "./look.js";
import { element } from "./panel.js";

const SLOT = 40; // of the first picture of the mean
const MEAN = 16; // pictures
const SIDE = 512; // pixels of the longer side that is sent, at least
const TUNING = 350; // steps, as in the paper
const STEP = 0.02; // of the arrow keys, in sides

export class Photo {
  /** `found(latent)` is called with the name of latents that were found. */
  constructor(about, { small, tasks, tell, copy, found }) {
    Object.assign(this, { about, small, tasks, tell, found, image: null });
    const [width, height] = about.size, scale = Math.max(1, SIDE / Math.max(width, height));
    this.canvas = element("canvas", { id: "photo-canvas", tabIndex: 0, width: Math.round(width * scale), height: Math.round(height * scale), ariaLabel: "The part of the photograph that is searched for: drag it, arrow keys move it" });
    this.canvas.setAttribute("role", "application");
    this.mean = element("canvas", { width, height });
    this.file = element("input", { type: "file", accept: "image/png,image/jpeg,image/webp", hidden: true, ariaLabel: "A photograph", onchange: () => this.file.files[0] && this.open(this.file.files[0]) });
    const slider = (id, name, low, high, step, value) => {
      const input = element("input", { type: "range", id, min: low, max: high, step, value, ariaLabel: name, oninput: () => this.draw(), ondblclick: () => { input.value = value; this.draw(); } });
      return [input, element("div", { className: "part" }, element("span", { textContent: name }), input)];
    };
    const [zoom, zoomRow] = slider("photo-zoom", "size", 0, 3, 0.01, 0), [turn, turnRow] = slider("photo-turn", "turn", -180, 180, 0.5, 0), [ghost, ghostRow] = slider("photo-mean", "mean on top", 0, 1, 0.05, 0.35);
    Object.assign(this, { zoom, turn, ghost });
    this.space = element("select", { id: "photo-space", ariaLabel: "Latents" }, element("option", { value: "w+", textContent: "nearest (w+)" }), element("option", { value: "w", textContent: "easy to edit (w)" }));
    this.steps = element("input", { type: "number", id: "photo-steps", min: 1, max: 5000, step: 1, value: 300, ariaLabel: "Steps" });
    this.tuning = element("input", { type: "checkbox", id: "photo-tuning" });
    this.command = element("code", { className: "line" });
    this.line = element("div", { className: "told", hidden: true }, element("p", { className: "hint", textContent: "The tuned network shows it best. It opens with" }), this.command,
      element("button", { type: "button", textContent: "Copy", onclick: () => copy(this.command.textContent, "command line") }));
    this.go = element("button", { type: "button", id: "photo-find", className: "main", textContent: "Find it", onclick: () => this.search() });
    this.enough = element("button", { type: "button", id: "photo-enough", textContent: "Good enough", hidden: true, onclick: () => tasks.stop() });
    this.seen = element("img", { id: "photo-seen", alt: "What was found so far", hidden: true });
    this.likeness = element("p", { className: "hint", id: "photo-likeness", textContent: " " });
    this.hint = element("p", { className: "hint", textContent: "Choose a photograph, or drop it anywhere on the page. The network finds the latents that show it; they can be mixed, moved and filmed like any others." });
    this.work = element("div", { hidden: true }, element("div", { className: "pair-of" }, this.canvas, this.seen), zoomRow, turnRow, ghostRow,
      element("div", { className: "head" }, element("label", { htmlFor: "photo-space", textContent: "latents" }), this.space),
      element("div", { className: "head" }, element("label", { htmlFor: "photo-steps", textContent: "steps" }), this.steps),
      element("div", { className: "head" }, element("label", { htmlFor: "photo-tuning", textContent: "tune the network to it", title: "Pivotal tuning: a copy of the network that shows the photograph is saved" }), this.tuning),
      element("div", { className: "buttons" }, this.go, this.enough), tasks.bar, this.likeness, this.line);
    this.element = element("section", { id: "photo", className: "tab" }, element("div", { className: "row" }, element("div", { className: "head" },
      element("label", { textContent: "photograph" }), element("button", { type: "button", id: "photo-choose", textContent: "Choose", onclick: () => this.file.click() })), this.file, this.hint), this.work);
    this.listen();
  }

  update(state) {
    this.state = state;
  }

  async open(file) {
    try {
      this.image = await createImageBitmap(file, { imageOrientation: "from-image" });
    } catch {
      return this.tell("the browser cannot show this file: choose a PNG, JPEG or WebP picture");
    }
    this.at = [0, 0];
    this.zoom.value = this.turn.value = 0;
    this.hint.hidden = this.seen.hidden = true;
    this.work.hidden = false;
    this.likeness.textContent = " ";
    this.average();
    this.draw();
  }

  /** The mean of the first seeds' pictures, which shows where the network expects things. */
  average() {
    let count = 0;
    const context = this.mean.getContext("2d"), { classes, label } = this.state;
    this.small.show(SLOT, Array.from({ length: MEAN }, (_, seed) => ({ state: { ...EMPTY, classes, label, seeds: [[seed, 1]] }, draw: (bitmap) => {
      context.globalAlpha = 1 / ++count;
      context.drawImage(bitmap, 0, 0, this.mean.width, this.mean.height);
      this.draw();
    } })));
  }

  /** Draw the crop on a canvas of any size. */
  crop(canvas) {
    const { width, height } = canvas, context = canvas.getContext("2d"), { image } = this;
    const fit = Math.max(width / image.width, height / image.height) * 2 ** this.zoom.valueAsNumber;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.translate(width * (0.5 + this.at[0]), height * (0.5 + this.at[1]));
    context.rotate((this.turn.valueAsNumber * Math.PI) / 180);
    context.scale(fit, fit);
    context.drawImage(image, -image.width / 2, -image.height / 2);
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  draw() {
    if (!this.image) return;
    this.crop(this.canvas);
    const context = this.canvas.getContext("2d");
    context.globalAlpha = this.ghost.valueAsNumber;
    context.drawImage(this.mean, 0, 0, this.canvas.width, this.canvas.height);
    context.globalAlpha = 1;
  }

  listen() {
    const { canvas } = this, move = (x, y) => {
      this.at = [this.at[0] + x, this.at[1] + y].map((value) => Math.max(-4, Math.min(4, value)));
      this.draw();
    };
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => event.buttons === 1 && move(event.movementX / canvas.clientWidth, event.movementY / canvas.clientHeight));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom.value = this.zoom.valueAsNumber - Math.sign(event.deltaY) * 0.05;
      this.draw();
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      move(...by);
    });
  }

  async search() {
    const sent = element("canvas", { width: this.canvas.width, height: this.canvas.height });
    this.crop(sent);
    const data = await new Promise((resolve) => sent.toBlob(resolve, "image/png"));
    this.go.hidden = true;
    this.enough.hidden = false;
    const task = { do: "project", space: this.space.value, steps: Math.max(1, Math.round(this.steps.valueAsNumber || 300)), tuning: this.tuning.checked ? TUNING : 0 };
    this.line.hidden = true;
    const watch = async ({ likeness }) => {
      if (likeness === undefined) return;
      this.likeness.textContent = `${likeness.toFixed(1)} dB`;
      const answer = await fetch(`${this.tasks.path}/seen`);
      if (!answer.ok) return;
      URL.revokeObjectURL(this.seen.src);
      this.seen.src = URL.createObjectURL(await answer.blob());
      this.seen.hidden = false;
    };
    this.likeness.textContent = "opening the network …";
    const answer = await this.tasks.run(task, { data, watch });
    this.go.hidden = false;
    this.enough.hidden = true;
    this.likeness.textContent = answer ? `${answer.likeness.toFixed(1)} dB: found, shown and kept` : " ";
    if (answer) this.found(answer.latent);
    if (!answer?.command) return;
    this.likeness.textContent = `${answer.likeness.toFixed(1)} dB, ${answer.tuned.toFixed(1)} dB by the tuned network`;
    this.command.textContent = answer.command;
    this.line.hidden = false;
  }
}
