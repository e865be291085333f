// Steps along directions, a slider for each. In a state they are one text: smile:2;age:-1@0-6.

import { all, LayerBar, layersOf, spelled } from "./layers.js";
import { element } from "./panel.js";
import { fill, thumb } from "./slots.js";

const SLOT = 160; // of the first small picture
const ROWS = 26; // that have small pictures at a time
const REACH = 3; // strength of the small pictures at the ends
const LIMIT = 6; // of the sliders

/** The steps of a text: Map of name -> { strength, layers }, where layers "" are the direction's own. */
export function stepsOf(text) {
  return new Map((text ? text.split(";") : []).map((piece) => {
    const [, name, strength, layers] = /^(.+?):([-+.\de]+)(?:@(.+))?$/.exec(piece);
    return [name, { strength: Number(strength), layers: layers ?? "" }];
  }));
}

export const textOfSteps = (steps) => [...steps].filter(([, { strength }]) => strength !== 0)
  .map(([name, { strength, layers }]) => `${name}:${strength}${layers ? `@${layers}` : ""}`).join(";");

/** The share of a picture that changes: the mean difference of two canvases from a third, in percent. */
function change(canvases) {
  const [low, middle, high] = canvases.map((canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
  let sum = 0;
  for (let i = 0; i < middle.length; i++) sum += Math.abs(low[i] - middle[i]) + Math.abs(high[i] - middle[i]);
  return (100 * sum * 4) / (3 * 2 * 255 * middle.length); // three of four numbers of a pixel are colors
}

export class Directions {
  /** `set(name, text, done)` changes the state; `tasks` finds and keeps directions. */
  constructor(about, control, { set, small, tasks }) {
    Object.assign(this, { about, control, set, small, tasks, rows: new Map(), layers: new Map(), found: [], visible: [] });
    this.methods = element("span", { className: "buttons" });
    this.list = element("ol", { className: "parts-list" });
    this.hint = element("p", { className: "hint", textContent: "A direction is a change that means the same for every picture. SeFa and PCA find some in seconds; your marks teach others." });
    this.name = element("input", { type: "text", className: "seeds", id: "combine-name", ariaLabel: "Name of the combination", placeholder: "a name", maxLength: 60 });
    this.combine = element("div", { className: "row" }, element("h2", { textContent: "All sliders as one" }),
      element("div", { className: "head" }, this.name, element("button", { type: "button", id: "combine", textContent: "Combine", title: "A new direction that does what the sliders do together", onclick: () => this.join() })));
    this.element = element("section", { id: "directions", className: "tab" }, element("div", { className: "row", id: `row-${control.name}` },
      element("div", { className: "head" }, element("label", { textContent: "find" }), this.methods), tasks.bar, this.hint), this.list, this.combine);
    this.head = this.element.firstChild;
    this.observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        this.visible = this.visible.filter((name) => name !== target.dataset.name);
        if (isIntersecting) this.visible.push(target.dataset.name);
      }
      this.strips();
    }, { root: null, rootMargin: "100px" });
  }

  async appeared() {
    if (!this.asked) {
      this.asked = true;
      this.take(await this.tasks.run({ do: "show" }));
    }
    this.strips();
  }

  /** Show the directions of an answer. */
  take(answer) {
    if (!answer) {
      this.asked = this.found.length > 0;
      return false;
    }
    this.found = answer.directions;
    this.methods.replaceChildren(...Object.entries(answer.methods).map(([method, told]) => element("button", { type: "button", id: `find-${method}`, textContent: told.split(":")[0], title: told,
      onclick: async () => this.take(await this.tasks.run({ do: "find", method })) })));
    this.hint.hidden = this.found.length > 0;
    const names = new Set(this.found.map(({ name }) => name));
    for (const [name, { element: item }] of this.rows) if (!names.has(name)) item.remove(), this.observer.unobserve(item), this.rows.delete(name);
    this.list.replaceChildren(...this.found.map((direction) => this.row(direction).element));
    if (this.state) this.update(this.state);
    this.changed?.();
    return true;
  }

  get steps() {
    return stepsOf(this.state.options[this.control.name]);
  }

  put(name, patch, done) {
    const steps = this.steps, before = steps.get(name) ?? { strength: 0, layers: this.layers.get(name) ?? "" };
    steps.set(name, { ...before, ...patch });
    this.set(this.control.name, textOfSteps(steps), done);
  }

  update(state) {
    this.state = state;
    const steps = this.steps;
    for (const [name, row] of this.rows) row.show(steps.get(name) ?? { strength: 0, layers: this.layers.get(name) ?? "" });
    this.combine.hidden = steps.size < 1;
    this.strips();
  }

  /** The small pictures of the rows in sight. */
  strips() {
    if (this.element.hidden || !this.state) return;
    this.visible.slice(0, ROWS).forEach((name, k) => {
      const row = this.rows.get(name), steps = this.steps, now = steps.get(name) ?? { layers: this.layers.get(name) ?? "" };
      if (!row) return;
      let missing = 3;
      this.small.show(SLOT + 3 * k, [-REACH, 0, REACH].map((strength, n) => {
        steps.set(name, { ...now, strength });
        return { state: { ...this.state, options: this.with(textOfSteps(steps)) }, draw: (bitmap) => {
          fill(row.canvases[n], bitmap);
          if (--missing === 0) row.tell(change(row.canvases));
        } };
      }));
    });
  }

  with(text) {
    const { [this.control.name]: _, ...options } = this.state.options;
    return text ? { ...options, [this.control.name]: text } : options;
  }

  async join() {
    const name = this.name.value.trim() || "combination", steps = textOfSteps(this.steps);
    const answer = await this.tasks.run({ do: "combine", name, steps });
    if (!this.take(answer)) return;
    this.name.value = "";
    this.set(this.control.name, `${name}:${answer.strength}`, true);
  }

  async edit(name, patch) {
    const answer = await this.tasks.run({ do: "change", name, ...patch });
    if (!answer) return;
    const steps = this.steps;
    if (patch.new && steps.has(name)) this.set(this.control.name, textOfSteps(new Map([...steps].map(([n, step]) => [n === name ? patch.new : n, step]))), true);
    if (patch.remove && steps.delete(name)) this.set(this.control.name, textOfSteps(steps), true);
    this.take(answer);
  }

  row(direction) {
    const { name, starred, changes } = direction;
    const known = this.rows.get(name);
    if (known) {
      known.star(starred);
      return known;
    }
    const star = element("button", { type: "button", className: "quiet close", onclick: () => this.edit(name, { starred: star.ariaPressed !== "true" }) });
    const title = element("input", { className: "title", value: name, maxLength: 60, ariaLabel: `Name of ${name}`, title: "Type another name",
      onchange: () => (title.value.trim() && title.value.trim() !== name ? this.edit(name, { new: title.value.trim() }) : (title.value = name)) });
    const typed = element("input", { type: "number", min: -1000, max: 1000, step: "any", ariaLabel: `Strength of ${name}, typed`,
      onchange: () => this.put(name, { strength: typed.value === "" ? 0 : typed.valueAsNumber }, true) });
    const range = element("input", { type: "range", min: -LIMIT, max: LIMIT, step: 0.05, ariaLabel: `Strength of ${name}`,
      oninput: () => this.put(name, { strength: range.valueAsNumber }, false), onchange: () => this.put(name, { strength: range.valueAsNumber }, true),
      ondblclick: () => this.put(name, { strength: 0 }, true) });
    const canvases = [-REACH, 0, REACH].map(() => thumb(this.about));
    for (const canvas of canvases) canvas.getContext("2d", { willReadFrequently: true });
    const strip = canvases.map((canvas, n) => element("button", { type: "button", className: "step", title: `strength ${(n - 1) * REACH}`, ariaLabel: `${name} ${(n - 1) * REACH}`,
      onclick: () => this.put(name, { strength: (n - 1) * REACH }, true) }, canvas));
    const most = Math.max(...changes), bars = element("button", { type: "button", className: "bars", ariaLabel: `Layers of ${name}`, title: "How much it changes each layer's styles. Click to choose layers.", ariaExpanded: false,
      onclick: () => { bars.ariaExpanded = !(picker.element.hidden = !picker.element.hidden); } },
      ...changes.map((amount) => element("i", { style: `height: ${Math.round((100 * amount) / most)}%` })));
    const amount = element("small");
    const own = direction.layers.length === this.about.layers ? all(this.about) : direction.layers;
    const picker = new LayerBar(this.about, `Layers of ${name}`, (layers) => {
      const text = spelled(layers, this.about), chosen = layers.length === own.length && layers.every((k, n) => k === own[n]) ? "" : text;
      this.layers.set(name, chosen);
      if (this.steps.has(name)) this.put(name, { layers: chosen }, true);
      else this.update(this.state);
    });
    picker.element.hidden = true;
    const remove = element("button", { type: "button", className: "quiet close", textContent: "×", title: "Remove", ariaLabel: `Remove ${name}`, onclick: () => this.edit(name, { remove: true }) });
    const made = element("li", { className: "direction" }, element("div", { className: "head" }, star, title, typed, remove), range,
      element("div", { className: "judged" }, ...strip, element("div", {}, bars, amount)), picker.element);
    made.dataset.name = name;
    const row = { element: made, canvases, tell: (percent) => { amount.textContent = `changes ${percent < 9.95 ? percent.toFixed(1) : Math.round(percent)} %`; },
      star(on) {
        star.textContent = on ? "★" : "☆";
        star.ariaPressed = on;
        star.ariaLabel = star.title = on ? `Take the star from ${name}` : `Give ${name} a star`;
        star.classList.toggle("on", on);
      },
      show: ({ strength, layers }) => {
        range.value = strength;
        if (document.activeElement !== typed) typed.value = strength;
        made.classList.toggle("moved", strength !== 0);
        const chosen = layers ? layersOf(layers, this.about) : own;
        picker.show(chosen);
        [...bars.children].forEach((bar, k) => bar.classList.toggle("out", !chosen.includes(k)));
      } };
    row.star(starred);
    this.rows.set(name, row);
    this.observer.observe(made);
    return row;
  }
}
