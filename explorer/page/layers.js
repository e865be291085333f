// Layers of a network, by groups or one by one.

import { element } from "./panel.js";

export const all = (about) => Array.from({ length: about.layers }, (_, k) => k);

const equal = (a, b) => a.length === b.length && a.every((k, n) => k === b[n]);

/** Layers as a text: the name of a group, or ranges such as 0-2,5. */
export function spelled(layers, { groups }) {
  const group = Object.entries(groups).find(([, members]) => equal(members, layers));
  if (group) return group[0];
  const runs = [];
  for (const k of layers) {
    if (runs.length && runs.at(-1)[1] === k - 1) runs.at(-1)[1] = k;
    else runs.push([k, k]);
  }
  return runs.map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`)).join(",");
}

/** The layers of a text; empty if it names none. */
export function layersOf(text, about) {
  const found = about.groups[text.toLowerCase()] ?? text.split(",").flatMap((part) => {
    const [a, b] = part.split("-").map(Number);
    return Number.isInteger(a) ? all(about).filter((k) => k >= a && k <= (b ?? a)) : [];
  });
  return [...new Set(found)].sort((a, b) => a - b);
}

export class LayerBar {
  /** Buttons of groups above a bar of all layers. `changed(layers)` gets at least one layer. */
  constructor(about, title, changed) {
    this.changed = changed;
    this.groups = [["all", all(about)], ...Object.entries(about.groups)].map(([name, layers]) => ({ layers, button:
      element("button", { type: "button", className: "chip", textContent: name, onclick: () => changed(layers) }) }));
    this.cells = all(about).map((k) => element("button", { type: "button", title: `layer ${k}`, ariaLabel: `layer ${k}`,
      onclick: (event) => event.detail === 0 && this.set(k, !this.layers.includes(k)),
      onpointerdown: (event) => {
        event.currentTarget.releasePointerCapture?.(event.pointerId);
        this.painting = !this.layers.includes(k);
        this.set(k, this.painting);
      },
      onpointerenter: (event) => event.buttons === 1 && this.set(k, this.painting) }));
    this.element = element("div", { className: "layers", role: "group", ariaLabel: title },
      element("div", { className: "chips" }, ...this.groups.map(({ button }) => button)),
      element("div", { className: "cells" }, ...this.cells));
  }

  set(k, on) {
    const layers = on ? [...new Set([...this.layers, k])].sort((a, b) => a - b) : this.layers.filter((other) => other !== k);
    if (layers.length) this.changed(layers);
  }

  show(layers) {
    this.layers = layers;
    for (const { button, layers: members } of this.groups) button.ariaPressed = equal(members, layers);
    this.cells.forEach((cell, k) => { cell.ariaPressed = layers.includes(k); });
  }
}
