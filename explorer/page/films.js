// Films: key frames from the strips, a preview that is computed while it plays, and a file that the server renders.

import { element } from "./panel.js";
import { paint } from "./picture.js";
import { choice, field, room, size, stored } from "./room.js";

export const FILM = 240; // the slot of the preview
const MOST_KEYS = 64;
const POLL = 400; // milliseconds between two looks how far the film is
const WIDE_ENOUGH = 256; // pixels that a film should have

export class Films {
  /** `ask(slot, state, how)` asks for a frame, `post(path, body)` the server; `present()` is { state, small }. */
  constructor(section, { about, ask, post, copy, present, go, name }) {
    Object.assign(this, { section, about, ask, post, present, go, name });
    this.memory = stored(`film ${about.network}`, (kept) => Array.isArray(kept?.keys));
    const kept = this.memory.load() ?? { keys: [], choices: {} };
    this.keys = kept.keys.slice(0, MOST_KEYS);
    this.build(copy);
    this.choose(kept.choices ?? {});
    document.addEventListener("film-key", (event) => this.add(event.detail));
    this.show();
    if (about.walkable) this.follow();
  }

  build(copy) {
    const [width, height] = this.about.size;
    const scales = [1, 2, 4, 8, 16].filter((scale) => scale === 1 || Math.max(width, height) * scale <= 2048);
    const usual = scales.find((scale) => Math.min(width, height) * scale >= WIDE_ENOUGH) ?? scales.at(-1);
    this.canvas = element("canvas", { id: "film-picture", width, height, role: "img", ariaLabel: "Preview of the film" });
    this.play = element("button", { type: "button", id: "film-play", textContent: "Play", title: "Play or stop (Space)", onclick: () => this.toggle() });
    this.time = element("input", { type: "range", id: "film-time", min: 0, step: "any", value: 0, ariaLabel: "Time", oninput: () => this.frame() });
    this.clock = element("output", { className: "clock", htmlFor: "film-time" });
    this.list = element("ol", { className: "strip", id: "film-keys" });
    const changed = () => this.changed();
    this.inputs = {
      seconds: element("input", { type: "number", id: "film-seconds", min: 0.1, max: 60, step: 0.1, value: 2, onchange: changed }),
      fps: choice("film-fps", [12, 24, 25, 30, 50, 60].map((rate) => [rate, `${rate}`]), 30, changed),
      easing: choice("film-easing", [["none", "steady"], ["smooth", "slower at pictures"]], "none", changed),
      loop: element("input", { type: "checkbox", id: "film-loop", checked: true, onchange: changed }),
      scale: choice("film-scale", scales.map((scale) => [scale, `${width * scale} × ${height * scale}`]), usual, changed),
      format: choice("film-format", ["mp4", "gif", "webp"].map((kind) => [kind, kind]), "mp4", changed),
    };
    const { seconds, fps, easing, loop, scale, format } = this.inputs;
    this.add_ = element("button", { type: "button", id: "film-add", textContent: "Add this picture", onclick: () => this.add(this.present()) });
    this.clear = element("button", { type: "button", id: "film-clear", className: "quiet", textContent: "Clear", onclick: () => this.set([]) });
    this.render = element("button", { type: "button", id: "film-render", className: "main", textContent: "Render", onclick: () => this.begin() });
    this.cancel = element("button", { type: "button", id: "film-cancel", textContent: "Cancel", hidden: true, onclick: () => this.stop() });
    this.bar = element("progress", { id: "film-progress", max: 1, hidden: true, ariaLabel: "Frames rendered" });
    this.said = element("span", { id: "film-said", role: "status" });
    this.file = element("a", { id: "film-file", className: "button", hidden: true });
    this.line = element("code", { id: "film-command", tabIndex: 0 });
    this.lined = element("div", { className: "line" }, this.line, element("button", { type: "button", textContent: "Copy", title: "Copy the command line of the film",
      onclick: () => copy(this.line.textContent, "command line") }));
    room(this.section, "Film", [
      element("div", { className: "player" }, this.canvas, element("div", { className: "transport" }, this.play, this.time, this.clock)),
      element("div", { className: "making" }, this.list,
        element("div", { className: "tools left" }, this.add_, this.clear),
        element("div", { className: "fields" }, field("Seconds a step", seconds), field("Frames a second", fps), field("Speed", easing),
          field("Size", scale), field("Format", format), field("Loop", loop)),
        element("div", { className: "tools left" }, this.render, this.cancel, this.file, this.bar, this.said)),
    ]);
    this.section.append(this.lined);
  }

  choose(choices) {
    for (const [name, value] of Object.entries(choices)) {
      const input = this.inputs[name];
      if (input?.type === "checkbox") input.checked = value === true;
      else if (input && value !== "") input.value = value;
      if (input?.tagName === "SELECT" && input.selectedIndex < 0) input.selectedIndex = 0;
    }
  }

  get choices() {
    return Object.fromEntries(Object.entries(this.inputs).map(([name, input]) => [name, input.type === "checkbox" ? input.checked : input.value]));
  }

  /** The film as the server takes it. */
  get film() {
    const { seconds, fps, easing, loop, scale, format } = this.inputs, rate = Number(fps.value);
    const frames = Math.max(1, Math.min(3600, Math.round((seconds.valueAsNumber || 2) * rate)));
    return { keys: this.keys.map(({ state }) => state), frames, fps: rate, loop: loop.checked, easing: easing.value,
      scale: Number(scale.value), format: format.value };
  }

  get steps() {
    return this.keys.length - (this.inputs.loop.checked ? 0 : 1);
  }

  get seconds() {
    const { frames, fps } = this.film;
    return (Math.max(0, this.steps) * frames) / fps;
  }

  add({ state, small }) {
    if (this.keys.length < MOST_KEYS) this.set([...this.keys, { state, small }]);
  }

  set(keys) {
    this.keys = keys;
    this.changed();
  }

  /** Move a key frame by one place. */
  move(index, by) {
    const keys = [...this.keys], [moved] = keys.splice(index, 1);
    keys.splice(Math.max(0, Math.min(keys.length, index + by)), 0, moved);
    this.set(keys);
    this.list.children[Math.max(0, Math.min(keys.length - 1, index + by))]?.firstChild.focus();
  }

  changed() {
    this.memory.save({ keys: this.keys, choices: this.choices });
    this.show();
    this.frame();
  }

  show() {
    const ready = this.keys.length > 1;
    this.list.replaceChildren(...this.keys.map((entry, index) => this.card(entry, index)));
    if (!ready) {
      this.list.append(element("li", { className: "hint", textContent: this.keys.length
        ? "One more picture, and the film can play." : "Add this picture, or click + on pictures of the history and the kept ones." }));
      this.stopped();
    }
    this.clear.hidden = !this.keys.length;
    this.play.disabled = this.time.disabled = !ready;
    this.render.disabled = !ready || this.rendering;
    this.lined.hidden = !ready;
    this.time.max = Math.max(0.001, this.seconds);
    this.tick();
  }

  card(entry, index) {
    const title = `${this.name(entry.state)}. Alt and an arrow key move it.`;
    const image = element("img", { src: entry.small ?? "", alt: title, draggable: false });
    const button = element("button", { type: "button", title, onclick: () => this.go(entry.state), onkeydown: (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!event.altKey || !by) return;
      event.preventDefault();
      this.move(index, by);
    } }, image);
    const item = element("li", { draggable: true, ondragstart: (event) => {
      this.dragged = index;
      event.dataTransfer.effectAllowed = "move";
    }, ondragover: (event) => {
      if (this.dragged !== undefined) event.stopPropagation();
      event.preventDefault();
    }, ondrop: (event) => {
      if (this.dragged === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.move(this.dragged, index - this.dragged);
      this.dragged = undefined;
    }, ondragend: () => { this.dragged = undefined; } }, button);
    item.append(element("button", { type: "button", className: "remove", textContent: "×", ariaLabel: "Remove from the film", title: "Remove from the film",
      onclick: () => this.set(this.keys.filter((_, k) => k !== index)) }));
    return item;
  }

  tick() {
    this.clock.textContent = `${this.time.valueAsNumber.toFixed(1)} / ${this.seconds.toFixed(1)} s`;
    this.time.ariaValueText = this.clock.textContent;
  }

  toggle() {
    if (this.keys.length < 2) return;
    if (this.from !== undefined) return this.stopped();
    const begin = this.time.valueAsNumber >= this.seconds - 0.01 ? 0 : this.time.valueAsNumber;
    this.from = performance.now() - 1000 * begin;
    this.play.textContent = "Stop";
    this.advance();
  }

  stopped() {
    this.from = undefined;
    this.play.textContent = "Play";
  }

  /** The picture of this moment, while the film plays. */
  advance() {
    if (this.from === undefined) return;
    const passed = (performance.now() - this.from) / 1000, { seconds } = this;
    this.time.value = this.inputs.loop.checked ? passed % seconds : Math.min(passed, seconds);
    this.frame();
    if (!this.inputs.loop.checked && passed >= seconds) this.stopped();
  }

  /** Ask for the frame of the slider's time: one question at a time. */
  frame() {
    this.tick();
    if (this.section.hidden || this.keys.length < 2) return;
    if (this.busy) this.again = true;
    else this.busy = this.ask(FILM, this.keys[0].state, { draft: true, film: this.film, time: (this.time.valueAsNumber / this.seconds) * this.steps }) > 0;
  }

  answered(told, bitmap) {
    this.busy = false;
    if (told.error) {
      this.stopped();
      this.said.textContent = told.error;
      return;
    }
    size(this.canvas, bitmap);
    paint(this.canvas, bitmap);
    this.line.textContent = told.command || "Only films whose pictures differ in nothing but their seeds have a command line.";
    this.line.classList.toggle("hint", !told.command);
    this.line.nextSibling.hidden = !told.command;
    if (this.from !== undefined) requestAnimationFrame(() => this.advance());
    else if (this.again) this.frame();
    this.again = false;
  }

  /** A new connection: questions on their way are lost. */
  resume() {
    if (!this.about.walkable) return;
    this.busy = false;
    this.follow();
    this.frame();
  }

  async begin() {
    const answer = await this.post("film", JSON.stringify(this.film));
    if (answer) this.follow();
  }

  async stop() {
    await this.post("film/cancel", "");
    this.follow();
  }

  /** Show how far the film is, until it is done. */
  async follow() {
    clearTimeout(this.timer);
    let told;
    try {
      told = await (await fetch("film")).json();
    } catch {
      return; // the page says that there is no connection
    }
    this.rendering = told.state === "rendering";
    this.cancel.hidden = this.bar.hidden = !this.rendering;
    this.render.disabled = this.rendering || this.keys.length < 2;
    this.file.hidden = told.state !== "done";
    this.said.className = told.state === "failed" ? "wrong" : "";
    this.said.textContent = { rendering: told.count ? `${told.done} of ${told.count} frames` : "opening the network",
      failed: told.error, canceled: "canceled" }[told.state] ?? "";
    if (this.rendering) {
      if (told.count) this.bar.value = told.done / told.count;
      else this.bar.removeAttribute("value");
      this.timer = setTimeout(() => this.follow(), POLL);
    }
    if (told.state === "done") {
      Object.assign(this.file, { href: `film/${told.film}`, download: told.name, textContent: `Save ${told.name}, ${sized(told.bytes)}` });
    }
  }

}

const sized = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
