// The tabs beside the settings, of what the network can do, and what they show at the picture's place.

import { Directions } from "./directions.js";
import { Mixing } from "./mixing.js";
import { Sheet } from "./sheet.js";
import { seldom, Small } from "./slots.js";
import { Tabs } from "./tabs.js";
import { Tasks } from "./tasks.js";
import { Teaching } from "./teaching.js";

const at = (id) => document.getElementById(id);

export class Workplace {
  /** `page` has ask(slot, state), set(name, value, done), change(state, done), stage(shown), post, copy, tell, note, kept(). */
  constructor(about, page) {
    Object.assign(this, { about, page, tools: [], boards: new Map() });
    this.small = new Small(page.ask);
    this.tabs = new Tabs(at("tabs"));
    this.tabs.add("Settings", at("panel"));
    for (const control of about.controls.filter(({ kind }) => kind === "styles")) this.styles(control);
    for (const control of about.controls.filter(({ kind }) => kind === "moves" && about.tools)) this.directions(control);
    this.refresh = seldom(() => this.tools.forEach((tool) => tool.update(this.state)), 100);
  }

  /** Show a state in every tab. */
  update(state) {
    this.state = state;
    this.refresh();
  }

  /** Tell each board whether it is `shown` at the picture's place. */
  stage(shown) {
    for (const [id, board] of this.boards) {
      at(id).hidden = id !== shown;
      board.show(id === shown);
    }
  }

  toggle(id) {
    return (open) => this.page.stage(open ? id : "picture");
  }

  tab(title, part, shown) {
    at("side").append(part);
    this.tabs.add(title, part, shown);
  }

  styles(control) {
    const { about, small, page: { set, kept, post, copy, change, stage } } = this;
    const mixing = new Mixing(about, control, { set, small, kept }), go = (chosen) => {
      stage("picture");
      change(chosen, true);
    };
    const sheet = new Sheet(about, control, at("mixing"), { small, post, copy, go, toggle: this.toggle("mixing") });
    mixing.element.append(sheet.element);
    this.boards.set("mixing", sheet);
    this.tools.push(mixing, sheet);
    this.tab("Styles", mixing.element, () => mixing.appeared());
  }

  directions(control) {
    const { about, small, page: { set, post, tell, note } } = this, tasks = new Tasks("tool", post, tell);
    const directions = new Directions(about, control, { set, small, tasks });
    const teaching = new Teaching(about, at("marking"), { small, tasks, toggle: this.toggle("marking"),
      learned: (answer, name) => directions.take(answer) && (note(`the slider ${name} is in the list`), true) });
    directions.head.after(teaching.element);
    this.boards.set("marking", teaching);
    this.tools.push(directions, teaching);
    this.tab("Directions", directions.element, () => directions.appeared());
  }
}
