// The class of the picture, or a mixture of classes with a weight for each.

import { element } from "./panel.js";

const MOST = 16; // classes of a mixture
const FEW = 6; // classes that a mixture begins with

export class ClassRow {
  /** `changed(patch, done)` changes the state's `label` and `classes`. */
  constructor(about, changed, named) {
    this.about = about;
    this.changed = changed;
    this.rows = new Map(); // class -> { range, typed }
    const reset = () => changed({ label: null, classes: [] }, true);
    this.select = this.choices("class", "by the seed", (label) => changed({ label, classes: [] }, true));
    const head = element("div", { className: "head" }, named("class", "class", "What the picture shows.", reset), this.select);
    this.parts = element("div", { className: "parts" });
    this.more = this.choices("more-classes", "one more class", (label) => label !== null && this.weigh(label, 1, true));
    this.more.ariaLabel = "One more class for the mixture";
    this.mix = element("button", { type: "button", id: "blend", className: "quiet", textContent: "mix classes", onclick: () => this.toggle() });
    this.element = element("div", { className: "row", id: "row-class" }, head, this.parts, this.more);
    if (about.blending && about.classes.length > 1) this.element.append(this.mix);
  }

  choices(id, none, chosen) {
    const select = element("select", { id, onchange: () => chosen(select.value === "" ? null : Number(select.value)) },
      element("option", { value: "", textContent: none }));
    select.append(...this.about.classes.map((name, k) => element("option", { value: k, textContent: name })));
    return select;
  }

  /** A mixture of the first classes with the present one alone, or the heaviest class alone. */
  toggle() {
    const { classes, label, seeds } = this.state, { learned } = this.about;
    if (classes.length) {
      const [heaviest] = classes.reduce((a, b) => (b[1] > a[1] ? b : a));
      return this.changed({ label: heaviest, classes: [] }, true);
    }
    const now = label ?? learned[seeds[0][0] % learned.length];
    const others = learned.filter((k) => k !== now).slice(0, FEW - 1);
    this.changed({ classes: [[now, 1], ...others.map((k) => [k, 0])].sort((a, b) => a[0] - b[0]) }, true);
  }

  weigh(label, weight, done) {
    const rest = this.state.classes.filter(([k]) => k !== label);
    const classes = [...rest, [label, Math.max(0, Math.round(weight * 100) / 100)]].sort((a, b) => a[0] - b[0]);
    if (classes.some(([, share]) => share > 0) && classes.length <= MOST) this.changed({ classes }, done);
    else this.show(this.state);
  }

  show(state) {
    this.state = state;
    const { classes } = state, mixed = classes.length > 0;
    this.select.value = mixed ? "" : state.label ?? "";
    this.select.firstChild.textContent = mixed ? "a mixture" : "by the seed";
    this.mix.textContent = mixed ? "one class alone" : "mix classes";
    this.more.hidden = !mixed || classes.length >= Math.min(MOST, this.about.classes.length);
    this.more.value = "";
    for (const option of [...this.more.options].slice(1)) option.hidden = classes.some(([k]) => k === Number(option.value));
    const kept = new Set(classes.map(([k]) => k));
    for (const [k, { row }] of this.rows) if (!kept.has(k)) row.remove(), this.rows.delete(k);
    for (const [k, weight] of classes) this.part(k).show(weight);
  }

  part(label) {
    if (this.rows.has(label)) return this.rows.get(label);
    const name = this.about.classes[label] ?? `class ${label}`;
    const range = element("input", { type: "range", min: 0, max: 1, step: 0.01, ariaLabel: name,
      oninput: () => this.weigh(label, range.valueAsNumber, false), onchange: () => this.weigh(label, range.valueAsNumber, true),
      ondblclick: () => this.weigh(label, 0, true) });
    const typed = element("input", { type: "number", min: 0, max: 1000, step: "any", ariaLabel: `Weight of ${name}`,
      onchange: () => this.weigh(label, typed.value === "" ? 0 : typed.valueAsNumber, true) });
    const row = element("div", { className: "part" }, element("span", { textContent: name, title: name }), range, typed);
    const after = [...this.rows].filter(([k]) => k > label).sort((a, b) => a[0] - b[0])[0];
    this.parts.insertBefore(row, after ? after[1].row : null);
    const made = { row, show(weight) {
      range.value = weight;
      if (document.activeElement !== typed) typed.value = weight;
    } };
    this.rows.set(label, made);
    return made;
  }
}
