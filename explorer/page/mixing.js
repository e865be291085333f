// Styles of other pictures in the layers of this one. In a state they are one text: 85@coarse;7/2@7-9@0.5.

import { all, LayerBar, layersOf, spelled } from "./layers.js";
import { EMPTY, wrapped } from "./look.js";
import { element } from "./panel.js";
import { thumb } from "./slots.js";

const MOST = 24; // parts
const SLOT = 10; // of the first part's picture
const rounded = (weight) => Math.round(weight * 1000) / 1000;

/** The parts of a text: { source, classes, layers, weight }. */
export function partsOf(text, about) {
  return (text ? text.split(";") : []).map((piece) => {
    const [from, layers, weight] = piece.split("@"), [source, classes] = from.split("/");
    return { source, classes: classes ?? "", layers: layersOf(layers ?? "", about), weight: weight === undefined ? 1 : Number(weight) };
  });
}

export const textOf = (parts, about) => parts.map(({ source, classes, layers, weight }) =>
  `${source}${classes ? `/${classes}` : ""}@${spelled(layers, about)}${weight === 1 ? "" : `@${weight}`}`).join(";");

/** The source of a state's own picture. */
function origin({ seeds, label, classes, latent }) {
  if (latent) return { source: latent, classes: "" };
  const weighted = (pairs) => (pairs.length === 1 && pairs[0][1] > 0 ? `${pairs[0][0]}` : pairs.map((pair) => pair.join(":")).join(","));
  return { source: weighted(seeds), classes: classes.length ? weighted(classes) : label === null ? "" : `${label}` };
}

/** The state whose picture is that of a part, with the options of `state`. */
export function stateOf({ source, classes }, state, name) {
  const weighted = (text) => text.split(",").map((pair) => pair.split(":")).map(([n, weight]) => [Number(n), Number(weight ?? 1)]);
  const { [name]: _, ...options } = state.options;
  if (source.startsWith("photo-")) return { ...EMPTY, latent: source, options };
  const mixed = classes ? weighted(classes) : [];
  const kind = mixed.length > 1 ? { classes: mixed } : { label: mixed.length ? mixed[0][0] : null };
  return { ...EMPTY, seeds: weighted(source), ...kind, options };
}

/** Parts that bring a whole state, its own parts included, into some layers of another picture. */
export function brought(state, layers, weight, name, about) {
  const chain = [{ ...origin(state), layers: all(about), weight: 1 }, ...partsOf(state.options[name], about)];
  const found = chain.map((part) => ({ ...part, of: new Map() })); // of: weight -> layers
  for (const layer of layers) {
    let after = 1, rest = 1; // what later parts leave of a part, in the state and here
    for (const part of found.toReversed()) {
      const own = part.layers.includes(layer) ? part.weight : 0;
      const here = rest ? rounded((weight * own * after) / rest) : 0;
      after *= 1 - own;
      rest *= 1 - here;
      if (here) part.of.set(here, [...(part.of.get(here) ?? []), layer]);
    }
  }
  return found.flatMap(({ source, classes, of }) => [...of].map(([share, some]) => ({ source, classes, layers: some, weight: share })));
}

export class Mixing {
  /** `set(name, text, done)` changes the state, `kept()` are the pictures kept, `small` makes small pictures. */
  constructor(about, control, { set, kept, small }) {
    Object.assign(this, { about, control, set, kept, small, rows: [] });
    this.seed = element("input", { type: "number", id: "style-seed", min: 0, max: 2 ** 32 - 1, step: 1, placeholder: "a seed" });
    const add = () => this.add([{ ...this.named(this.seed.value === "" ? Math.floor(Math.random() * 100_000) : wrapped(this.seed.valueAsNumber)),
      layers: this.usual, weight: 1 }]);
    this.seed.addEventListener("keydown", (event) => event.key === "Enter" && add());
    this.list = element("ol", { className: "parts-list" });
    this.strip = element("ol", { className: "strip small-strip" });
    this.none = element("p", { className: "hint", textContent: "Take the styles of another picture in some of the layers: pose and shape from coarse ones, features from middle ones, colors from fine ones." });
    this.element = element("section", { id: "styles", className: "tab" }, element("div", { className: "row", id: `row-${control.name}` },
      element("div", { className: "head" }, element("label", { htmlFor: "style-seed", textContent: "styles of seed" }),
        element("span", { className: "stepper" }, this.seed, element("button", { type: "button", id: "style-add", className: "word", textContent: "Add", title: "Without a number: a random seed", onclick: add }))),
      this.strip, this.none, this.list));
  }

  get usual() {
    return Object.values(this.about.groups)[0] ?? all(this.about);
  }

  named(seed) {
    return origin({ ...EMPTY, seeds: [[seed, 1]], label: this.state.label, classes: this.state.classes });
  }

  get parts() {
    return partsOf(this.state.options[this.control.name], this.about);
  }

  add(more) {
    if (this.parts.length + more.length <= MOST) this.write([...this.parts, ...more], true);
  }

  write(parts, done) {
    this.set(this.control.name, textOf(parts, this.about), done);
  }

  /** The strip of kept pictures, when the part of the page appears. */
  appeared() {
    const items = this.kept().map(({ state, small }) => element("li", {}, element("button", { type: "button", title: "Take its styles", ariaLabel: "Styles of this kept picture",
      onclick: () => this.add(brought({ ...EMPTY, ...state }, this.usual, 1, this.control.name, this.about)) }, element("img", { src: small, alt: "" }))));
    this.strip.replaceChildren(...items);
    this.strip.hidden = !items.length;
  }

  update(state) {
    this.state = state;
    const parts = this.parts;
    while (this.rows.length > parts.length) this.rows.pop().element.remove();
    while (this.rows.length < parts.length) this.list.append(this.row(this.rows.length).element);
    parts.forEach((part, k) => this.rows[k].show(part));
    this.none.hidden = parts.length > 0;
    if (this.element.hidden) return;
    this.small.show(SLOT, parts.map((part, k) => ({ state: stateOf(part, state, this.control.name), canvas: this.rows[k].canvas })));
  }

  row(k) {
    const put = (patch, done) => this.write(this.parts.map((part, n) => (n === k ? { ...part, ...patch } : part)), done);
    const canvas = thumb(this.about), name = element("strong"), bar = new LayerBar(this.about, "Layers", (layers) => put({ layers }, true));
    const range = element("input", { type: "range", min: 0, max: 1, step: 0.01, ariaLabel: "Weight",
      oninput: () => put({ weight: range.valueAsNumber }, false), onchange: () => put({ weight: range.valueAsNumber }, true),
      ondblclick: () => put({ weight: 1 }, true) });
    const typed = element("input", { type: "number", min: -1000, max: 1000, step: "any", ariaLabel: "Weight, typed",
      onchange: () => put({ weight: typed.value === "" ? 1 : typed.valueAsNumber }, true) });
    const remove = element("button", { type: "button", className: "quiet close", textContent: "×", ariaLabel: "Remove these styles", title: "Remove",
      onclick: () => this.write(this.parts.filter((_, n) => n !== k), true) });
    const made = element("li", { className: "style-part" }, canvas,
      element("div", {}, element("div", { className: "head" }, name, remove), bar.element, element("div", { className: "weight" }, range, typed)));
    const row = { element: made, canvas, show: ({ source, classes, layers, weight }) => {
      const kinds = (classes ? classes.split(",") : []).map((pair) => this.about.classes[Number(pair.split(":")[0])]).filter(Boolean).join(" + ");
      name.textContent = `${source.startsWith("photo-") ? "" : /[:,]/.test(source) ? "seeds " : "seed "}${source.replace("photo-", "photo ")}${kinds ? `, ${kinds}` : ""}`;
      bar.show(layers);
      range.value = weight;
      if (document.activeElement !== typed) typed.value = weight;
    } };
    this.rows.push(row);
    return row;
  }
}
