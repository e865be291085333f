// The sheet of styles, live: each row's picture with the styles of each column's.

import { LayerBar, spelled } from "./layers.js";
import { stateOf, textOf } from "./mixing.js";
import { element } from "./panel.js";
import { seldom, thumb } from "./slots.js";

const SLOT = 40; // of the first cell
const MOST = 10; // rows or columns

const seedsOf = (text) => [...new Set(text.split(/[\s,]+/).filter((part) => /^\d{1,10}$/.test(part)).map(Number))].filter((seed) => seed < 2 ** 32).slice(0, MOST);

export class Sheet {
  /** `room` is where the sheet is shown in place of the picture; `post(path, body)` asks the server. */
  constructor(about, control, room, { small, go, toggle, post, copy }) {
    Object.assign(this, { about, control, room, small, go, toggle, post, open: false });
    this.layers = Object.values(about.groups)[0] ?? [0];
    const field = (id, name, value) => element("input", { id, className: "seeds", value, ariaLabel: `Seeds of the ${name}`, oninput: () => this.changed() });
    this.rows = field("sheet-rows", "rows", "85,100,75");
    this.cols = field("sheet-cols", "columns", "55,821,1789");
    this.bar = new LayerBar(about, "Layers of the columns", (layers) => {
      this.layers = layers;
      this.changed();
    });
    this.bar.show(this.layers);
    this.button = element("button", { type: "button", id: "sheet-show", textContent: "Show grid", ariaPressed: false, onclick: () => toggle(!this.open) });
    this.command = element("code", { className: "line" });
    this.line = element("div", { className: "told", hidden: true }, this.command,
      element("button", { type: "button", textContent: "Copy", onclick: () => copy(this.command.textContent, "command line") }));
    const head = (id, name, input) => element("div", { className: "head" }, element("label", { htmlFor: id, textContent: name }), input);
    this.element = element("div", { className: "row", id: "row-sheet" }, element("h2", { textContent: "Grid" }),
      head("sheet-rows", "rows", this.rows), head("sheet-cols", "columns", this.cols), this.bar.element, this.button, this.line);
    this.drawing = seldom(() => this.draw(), 150);
  }

  changed() {
    this.bar.show(this.layers);
    if (this.open) this.build();
    else this.toggle(true);
  }

  /** Open or close the sheet. */
  show(open) {
    this.open = open;
    this.button.ariaPressed = open;
    this.button.textContent = open ? "Hide grid" : "Show grid";
    this.line.hidden = true;
    if (open) this.build();
  }

  build() {
    const rows = seedsOf(this.rows.value), cols = seedsOf(this.cols.value);
    this.cells = [];
    const cell = (row, col) => {
      const canvas = thumb(this.about), name = row === null ? `column ${col}` : col === null ? `row ${row}` : `${row} with styles of ${col}`;
      const made = element("button", { type: "button", className: row === null || col === null ? "child edge" : "child", title: name, ariaLabel: name,
        onclick: () => this.go(this.state_of(row, col)) }, canvas);
      if (row === null || col === null) made.append(element("small", { textContent: row ?? col }));
      this.cells.push({ row, col, canvas });
      return made;
    };
    this.room.style.gridTemplateColumns = `repeat(${cols.length + 1}, 1fr)`;
    this.room.replaceChildren(element("span"), ...cols.map((col) => cell(null, col)),
      ...rows.flatMap((row) => [cell(row, null), ...cols.map((col) => cell(row, col))]));
    this.drawing();
  }

  state_of(row, col) {
    const { name } = this.control, classes = this.state.label === null ? "" : `${this.state.label}`;
    const own = stateOf({ source: `${row ?? col}`, classes }, this.state, name);
    if (row === null || col === null) return own;
    return { ...own, options: { ...own.options, [name]: textOf([{ source: `${col}`, classes, layers: this.layers, weight: 1 }], this.about) } };
  }

  update(state) {
    this.state = state;
    if (this.open) this.drawing();
  }

  draw() {
    if (!this.open || !this.state) return;
    this.small.show(SLOT, this.cells.map(({ row, col, canvas }) => ({ state: this.state_of(row, col), canvas })));
    this.tell();
  }

  /** The command line that makes the same sheet. */
  async tell() {
    const { name, sheet } = this.control, rows = seedsOf(this.rows.value), cols = seedsOf(this.cols.value);
    if (!sheet.length || !rows.length || !cols.length) return;
    const { options: { [name]: _, ...options }, ...rest } = this.state;
    const body = JSON.stringify({ state: { ...rest, latent: "", options }, rows, cols, layers: spelled(this.layers, this.about) });
    const answer = await this.post("sheet", body);
    if (!answer) return;
    const { command, why } = await answer.json();
    this.command.textContent = command || why;
    this.line.lastChild.hidden = !command;
    this.line.hidden = !this.open;
  }
}
