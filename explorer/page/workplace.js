// The tabs beside the settings, of what the network can do, and what they show at the picture's place.

import { Directions } from "./directions.js";
import { EMPTY } from "./look.js";
import { Map2D } from "./map.js";
import { Mixing } from "./mixing.js";
import { small } from "./picture.js";
import { Photo } from "./photo.js";
import { Sheet } from "./sheet.js";
import { seldom, Small } from "./slots.js";
import { Tabs } from "./tabs.js";
import { Tasks } from "./tasks.js";
import { Teaching } from "./teaching.js";

const FILMED = 238; // the first of two slots of key frames
const at = (id) => document.getElementById(id);

export class Workplace {
  /** `page` has ask(slot, state), set(name, value, done), change(state, done), stage(shown), film(entries) and more. */
  constructor(about, page) {
    Object.assign(this, { about, page, tools: [], boards: new Map() });
    this.small = new Small(page.ask);
    this.tabs = new Tabs(at("tabs"));
    this.tabs.add("Settings", at("settings"));
    for (const control of about.controls.filter(({ kind }) => kind === "styles")) this.styles(control);
    for (const control of about.controls.filter(({ kind }) => kind === "moves" && about.tools)) this.directions(control);
    if (about.tools) this.photograph();
    this.refresh = seldom(() => this.tools.forEach((tool) => tool.update(this.state, this.own)), 100);
  }

  /** Show a state in every tab; `own` is the state whose class may be that of its seed. */
  update(state, own) {
    Object.assign(this, { state, own });
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

  photograph() {
    const { about, small, page: { post, tell, copy, change, keep } } = this;
    this.photo = new Photo(about, { small, tell, copy, tasks: new Tasks("photo", post, tell), found: (latent) => {
      change({ ...EMPTY, latent }, true);
      keep();
    } });
    this.tools.push(this.photo);
    this.tab("Photo", this.photo.element);
  }

  /** A picture without settings was dropped on the page; returns whether it can be searched for. */
  dropped(file) {
    if (!this.photo) return false;
    this.tabs.go("photo");
    this.photo.open(file);
    return true;
  }

  /** A film through states, with their small pictures. */
  film(states) {
    const entries = states.map((state) => ({ state }));
    this.small.show(FILMED, entries.map((entry) => ({ state: entry.state, draw: (bitmap) => {
      entry.small = small(bitmap);
      if (entries.every((each) => each.small)) this.page.film(entries);
    } })));
  }

  directions(control) {
    const { about, small, page: { set, post, tell, note, change, kept } } = this, tasks = new Tasks("tool", post, tell);
    const directions = new Directions(about, control, { set, small, tasks });
    const teaching = new Teaching(about, at("marking"), { small, tasks, toggle: this.toggle("marking"),
      learned: (answer, name) => directions.take(answer) && (note(`the slider ${name} is in the list`), true) });
    directions.head.after(teaching.element);
    this.boards.set("marking", teaching);
    this.tools.push(directions, teaching);
    this.tab("Directions", directions.element, () => directions.appeared());
    const map = new Map2D(about, control, { tasks, directions, change, kept, film: (states) => this.film(states) });
    this.tools.push(map);
    this.tab("Map", map.element, () => map.appeared());
  }
}
