// The settings: a control for every option that the network's family has. Nothing here names a family.

import { ClassRow } from "./classes.js";
import { EMPTY, wrapped } from "./look.js";

export function element(tag, properties = {}, ...inside) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...inside);
  return made;
}

const decimals = (step) => Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
const rounded = (value, step) => Number((Math.round(value / step) * step).toFixed(decimals(step)));

/** The kinds of controls that a row of the panel edits, each by a method; texts of other kinds have a tab. */
const KINDS = { choice: "choice", switch: "toggle", pair: "pair", number: "number", whole: "number" };

export class Panel {
  /** `changed(patch, done)` is called while a control moves, and with `done` when it rests; `near(name)` before. */
  constructor(form, about, changed, near) {
    this.about = about;
    this.changed = changed;
    this.near = near;
    this.rows = new Map(); // name -> { show(value), bar(reason) }
    this.last = about.controls.find((control) => control.slider && control.kind !== "pair")?.name;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.append(this.seedRow());
    if (about.classes.length) {
      this.classes = new ClassRow(about, changed, this.name);
      form.append(this.classes.element);
    }
    for (const control of about.controls) if (control.kind in KINDS) form.append(this.row(control));
    form.append(element("button", { type: "button", id: "reset", className: "quiet", textContent: "Reset all",
      onclick: () => this.changed({ ...EMPTY }, true) }));
  }

  value(name) {
    const control = this.about.controls.find((each) => each.name === name);
    return name in this.state.options ? this.state.options[name] : control.default;
  }

  set(name, value, done) {
    this.last = name;
    const control = this.about.controls.find((each) => each.name === name);
    const options = { ...this.state.options, [name]: value };
    if (value === control.default) delete options[name];
    this.changed({ options }, done);
  }

  /** Move the control that was used last by steps: the keys [ and ]. */
  nudge(steps) {
    const control = this.about.controls.find((each) => each.name === this.last);
    if (!control?.slider || control.kind === "pair") return;
    const value = this.value(control.name) ?? control.slider[0];
    this.set(control.name, limited(rounded(value + steps * control.step, control.step), control), true);
  }

  show(state) {
    this.state = state;
    const several = state.seeds.length > 1, { latent } = state;
    if (document.activeElement !== this.seed) this.seed.value = state.seeds[0][0];
    this.mixture.hidden = !several && !latent;
    this.mixed.textContent = latent ? `latents of ${latent.replace("-", " ")}` : several ? state.seeds.map(([seed, weight]) => `${seed} × ${weight}`).join(" + ") : "";
    this.classes?.show(state);
    for (const [name, row] of this.rows) row.show(this.value(name));
  }

  /** Gray out the controls that have no effect now; `reasons` are by name. */
  bar(reasons) {
    for (const [name, row] of this.rows) row.bar(reasons[name] ?? "");
  }

  /** Mark the control that an error speaks of. */
  blame(error) {
    for (const { name, flag } of this.about.controls) {
      document.getElementById(`row-${name}`)?.classList.toggle("wrong", new RegExp(`${flag}(?![\\w-])`).test(error ?? ""));
    }
  }

  seedRow() {
    const go = (seed, done = true) => this.changed({ seeds: [[wrapped(seed), 1]] }, done);
    this.seed = element("input", { type: "number", id: "seed", min: 0, max: 2 ** 32 - 1, step: 1,
      oninput: () => this.seed.value !== "" && go(this.seed.valueAsNumber, false),
      onchange: () => go(this.seed.value === "" ? 0 : this.seed.valueAsNumber) });
    const step = (by, name) => element("button", { type: "button", textContent: by < 0 ? "−" : "+", title: name, ariaLabel: name,
      onclick: () => go(this.state.seeds[0][0] + by) });
    this.mixed = element("span");
    this.mixture = element("p", { id: "mixture", hidden: true }, this.mixed, element("button", { type: "button",
      className: "quiet", textContent: "first seed alone", onclick: () => go(this.state.seeds[0][0]) }));
    const head = element("div", { className: "head" }, this.name("seed", "seed", "The number a picture begins with.", () => go(0)));
    head.append(element("span", { className: "stepper" }, step(-1, "Seed before (left arrow)"), this.seed, step(1, "Next seed (right arrow)")));
    return element("div", { className: "row", id: "row-seed" }, head, this.mixture);
  }

  name(id, text, help, reset) {
    return element("label", { htmlFor: id, textContent: text, title: `${help}\nDouble-click resets it.`, ondblclick: reset });
  }

  row(control) {
    const { name, kind } = control, id = `control-${name}`;
    const reset = () => this.set(name, control.default, true);
    const head = element("div", { className: "head" }, this.name(id, control.title, control.help, reset));
    const row = element("div", { className: "row", id: `row-${name}`, onpointerenter: () => this.near(name) }, head);
    row.addEventListener("focusin", () => this.near(name));
    const show = this[KINDS[kind]](control, id, head, row, reset);
    const reason = element("small", { className: "reason", hidden: true });
    row.append(reason);
    this.rows.set(name, { show, bar: (why) => {
      row.classList.toggle("barred", why !== "");
      reason.textContent = row.title = why;
      for (const part of row.querySelectorAll("input, select")) part.disabled = why !== "";
    } });
    return row;
  }

  choice({ name, choices }, id, head) {
    const select = element("select", { id, onchange: () => this.set(name, select.value, true) },
      ...choices.map((value) => element("option", { value, textContent: value })));
    head.append(select);
    return (value) => { select.value = value; };
  }

  toggle({ name }, id, head) {
    const box = element("input", { type: "checkbox", id, onchange: () => this.set(name, box.checked, true) });
    head.append(box);
    return (value) => { box.checked = value; };
  }

  /** Two numbers in one text, such as 0.2:0.8. */
  pair({ name, slider, step, title }, id, head, row, reset) {
    const [low, high] = ["lower", "upper"].map((end) => element("input", { type: "range", ariaLabel: `${title}, ${end} end`,
      min: slider[0], max: slider[1], step, ondblclick: reset }));
    const typed = element("input", { id, className: "pair", onchange: () => this.set(name, typed.value.trim(), true) });
    const send = (moved, other, least, done) => {
      if (least ? moved.valueAsNumber >= other.valueAsNumber : moved.valueAsNumber <= other.valueAsNumber) {
        moved.value = other.valueAsNumber + (least ? -step : Number(step));
      }
      this.set(name, `${low.valueAsNumber}:${high.valueAsNumber}`, done);
    };
    for (const [moved, other, least] of [[low, high, true], [high, low, false]]) {
      moved.oninput = () => send(moved, other, least, false);
      moved.onchange = () => send(moved, other, least, true);
    }
    head.append(typed);
    row.append(element("div", { className: "ends" }, low, high));
    return (value) => {
      [low.value, high.value] = value.split(":");
      if (document.activeElement !== typed) typed.value = value;
    };
  }

  number(control, id, head, row, reset) {
    const { name, step, optional, slider, title } = control;
    const typed = element("input", { type: "number", id, step: control.kind === "whole" ? 1 : "any" });
    if (control.low !== null) typed.min = control.low;
    if (control.high !== null) typed.max = control.high;
    typed.oninput = () => typed.value !== "" && typed.validity.valid && this.set(name, typed.valueAsNumber, false);
    typed.onchange = () => {
      const fallback = optional ? null : control.default;
      this.set(name, typed.value === "" ? fallback : limited(typed.valueAsNumber, control), true);
    };
    head.append(typed);
    if (optional) typed.placeholder = "off";
    if (!slider) return (value) => { if (document.activeElement !== typed) typed.value = value ?? ""; };
    const range = element("input", { type: "range", min: slider[0], max: slider[1], step, ariaLabel: title, ondblclick: reset });
    range.oninput = () => this.set(name, range.valueAsNumber, false);
    range.onchange = () => this.set(name, range.valueAsNumber, true);
    row.append(range);
    return (value) => {
      row.classList.toggle("off", value === null);
      range.value = value ?? slider[1];
      range.ariaValueText = value === null ? "off" : `${value}`;
      if (document.activeElement !== typed) typed.value = value ?? "";
    };
  }
}

function limited(value, { low, high, kind }) {
  const inside = Math.min(high ?? Infinity, Math.max(low ?? -Infinity, value));
  return kind === "whole" ? Math.round(inside) : inside;
}
