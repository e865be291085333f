// The parts of the side panel, one of which is shown.

import { element } from "./panel.js";

export class Tabs {
  /** `list` gets a button for each part that is added. */
  constructor(list) {
    this.list = list;
    this.parts = []; // { button, part, shown() }
    list.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      const next = this.parts[(this.parts.indexOf(this.now) + by + this.parts.length) % this.parts.length];
      this.open(next);
      next.button.focus();
    });
  }

  /** A part with its title; `shown()` is called when it appears. */
  add(title, part, shown = () => {}) {
    const button = element("button", { type: "button", role: "tab", id: `tab-${part.id}`, textContent: title, onclick: () => this.open(added) });
    button.setAttribute("aria-controls", part.id);
    part.setAttribute("role", "tabpanel");
    part.setAttribute("aria-labelledby", button.id);
    const added = { button, part, shown };
    this.parts.push(added);
    this.list.append(button);
    this.list.hidden = this.parts.length < 2;
    if (this.now) this.mark(added, false);
    else this.open(added);
  }

  mark({ button, part }, on) {
    button.ariaSelected = on;
    button.tabIndex = on ? 0 : -1;
    part.hidden = !on;
  }

  open(chosen) {
    this.now = chosen;
    for (const each of this.parts) this.mark(each, each === chosen);
    chosen.shown();
  }

  /** Open the part with an id. */
  go(id) {
    this.open(this.parts.find(({ part }) => part.id === id));
  }
}
