// A second picture beside the one of the page: another state, network or precision, or any snapshot of a run.

import { element } from "./panel.js";
import { paint } from "./picture.js";
import { choice, field, room, size } from "./room.js";
import { Snapshots } from "./snapshots.js";

export const OTHER = 241; // the slot of the second picture
const LOOK = 5000; // milliseconds between two looks for new networks
const STRONGEST = 64; // how many times as strong a difference is shown, at most

export class Compare {
  /** `ask(slot, state, how)` asks for a picture; `present()` is { state, small }; `name(state)` tells it in words. */
  constructor(section, { about, ask, present, go, name }) {
    Object.assign(this, { section, about, ask, present, go, name });
    this.pinned = null; // a state
    this.way = "wiper";
    this.networks = { networks: [], runs: [] };
    this.build();
    this.snapshots = new Snapshots(section, { ask, present: () => this.first(), shown: (bitmap) => this.draw(bitmap), changed: () => this.label() });
    section.classList.toggle("alone", Boolean(about.engine));
    this.label();
  }

  build() {
    const canvas = (id, label) => element("canvas", { id, width: 64, height: 64, role: "img", ariaLabel: label });
    this.a = canvas("compare-a", "The picture of the page");
    this.b = canvas("compare-b", "The other picture");
    this.d = canvas("compare-difference", "The difference of the two pictures");
    this.wiper = element("input", { type: "range", id: "compare-wiper", min: 0, max: 100, value: 50, ariaLabel: "Wiper",
      oninput: () => this.stage.style.setProperty("--wiped", `${this.wiper.value}%`) });
    const named = (side) => element("span", { className: `tag ${side}` });
    this.tags = [named("left"), named("right")];
    this.stage = element("div", { className: "wiper", id: "compare-stage" }, this.a, this.b, this.d, ...this.tags);
    this.stage.addEventListener("pointerdown", (event) => this.wipe(event, true));
    this.stage.addEventListener("pointermove", (event) => event.buttons && this.wipe(event));
    this.ways = [["wiper", "Wiper"], ["beside", "Side by side"], ["difference", "Difference"]].map(([way, text]) => element("button", {
      type: "button", id: `compare-${way}`, textContent: text, ariaPressed: way === this.way, onclick: () => this.show(way) }));
    this.measured = element("output", { id: "compare-measured", className: "hint" });
    this.network = choice("compare-network", [["", "this network"]], "", () => this.changed());
    this.precision = choice("compare-precision", [["", "as the page"], ...["fp32", "tf32", "bf16", "fp16"].map((each) => [each, each])], "", () => this.changed());
    this.linked = choice("compare-linked", [["all", "follows the page"], ["seed", "pinned settings, the page's seed"], ["none", "pinned"]], "all", () => this.changed());
    this.pin = element("button", { type: "button", id: "compare-pin", textContent: "Pin this picture", onclick: () => this.hold(this.present().state) });
    this.swap = element("button", { type: "button", id: "compare-swap", textContent: "Swap", title: "The pinned picture becomes the page's, and the other way round", onclick: () => {
      const { state } = this.present(), { pinned } = this;
      this.hold(state);
      this.go(pinned);
    } });
    this.said = element("p", { id: "compare-said", className: "hint", role: "status" });
    room(this.section, "Compare", [
      element("div", { className: "looking" }, this.stage, this.wiper,
        element("div", { className: "tools left" }, element("span", {}, ...this.ways), this.measured)),
      element("div", { className: "making" }, element("div", { className: "fields one" }, field("Network", this.network), field("Precision", this.precision),
        field("Picture", this.linked)), element("div", { className: "tools left" }, this.pin, this.swap), this.said),
    ]);
    this.show(this.way);
  }

  wipe(event, pressed = false) {
    if (this.way !== "wiper" || event.button > 0) return;
    if (pressed) this.stage.setPointerCapture(event.pointerId);
    const box = this.stage.getBoundingClientRect();
    this.wiper.value = (100 * (event.clientX - box.left)) / box.width;
    this.wiper.dispatchEvent(new Event("input"));
  }

  show(way) {
    this.way = way;
    this.stage.className = `wiper ${way}`;
    this.wiper.hidden = way !== "wiper";
    for (const button of this.ways) button.ariaPressed = button.id === `compare-${way}`;
    this.subtract();
  }

  /** Open or close: while it is open, the list of networks is looked at again and again. */
  toggle(open) {
    clearInterval(this.timer);
    if (!open) return;
    if (this.about.engine) return this.follow(); // without a server there is one network
    this.look();
    this.timer = setInterval(() => this.look(), LOOK);
    this.follow();
  }

  async look() {
    let found;
    try {
      found = await (await fetch("networks")).json();
    } catch {
      return; // the page says that there is no connection
    }
    if (JSON.stringify(found) === JSON.stringify(this.networks)) return;
    this.networks = found;
    const chosen = this.network.value, newest = found.runs.filter(({ snapshots }) => snapshots.length);
    const groups = [["Beside it", found.networks.map(({ number, name }) => [number, name])],
      ...newest.map(({ name, snapshots }) => [name, snapshots.map(({ number, kimg }) => [number, `kimg ${kimg}`]).reverse()])];
    this.network.replaceChildren(element("option", { value: "", textContent: "this network" }), ...groups.filter(([, all]) => all.length)
      .map(([label, all]) => element("optgroup", { label }, ...all.map(([value, textContent]) => element("option", { value, textContent })))));
    this.network.value = chosen;
    if (this.network.selectedIndex < 0) this.network.value = "";
    this.snapshots.offer(found.runs);
  }

  hold(state) {
    this.pinned = state;
    if (this.linked.value === "all") this.linked.value = "none";
    this.changed();
  }

  first() {
    return this.present().state;
  }

  /** The state of the second picture. */
  get state() {
    const { state } = this.present();
    if (this.linked.value === "all" || !this.pinned) return state;
    return this.linked.value === "none" ? this.pinned : { ...this.pinned, seeds: state.seeds };
  }

  changed() {
    if (this.linked.value !== "all" && !this.pinned) this.pinned = this.present().state;
    this.snapshots.leave();
    this.follow();
  }

  label() {
    const apart = this.network.value !== "" || this.precision.value !== "" || this.linked.value !== "all";
    this.swap.disabled = this.linked.value !== "none";
    const other = [this.network.value && this.network.selectedOptions[0].textContent, this.precision.value,
      this.linked.value === "none" ? this.name(this.state) : this.linked.value === "seed" ? "pinned settings" : ""].filter(Boolean).join(", ");
    this.tags[0].textContent = "page";
    this.tags[1].textContent = this.snapshots?.active ? this.snapshots.title : other || "the same";
    this.said.textContent = apart || this.snapshots?.active ? "" : this.about.engine
      ? "Pin this picture, and change the settings." : "Choose another network or precision, or pin this picture and change the settings.";
  }

  /** The page has changed: a draft while a hand moves. */
  follow(draft = false) {
    if (this.section.hidden) return;
    this.label();
    if (this.snapshots.active) return this.snapshots.follow(draft);
    const how = { draft };
    if (this.network.value !== "") how.network = Number(this.network.value);
    if (this.precision.value !== "") how.precision = this.precision.value;
    this.number = this.ask(OTHER, this.state, how);
  }

  /** The page's own picture. */
  own(bitmap) {
    size(this.a, bitmap);
    paint(this.a, bitmap);
    if (!this.section.hidden) this.subtract();
  }

  answered(told, bitmap) {
    if (told.error) {
      this.said.textContent = told.error;
      return;
    }
    if (told.number >= (this.number ?? 0) || !this.snapshots.active) this.draw(bitmap);
  }

  draw(bitmap) {
    size(this.b, bitmap);
    paint(this.b, bitmap);
    this.subtract();
  }

  /** The difference around gray, as strong as it fits into the gray levels, and its mean. */
  subtract() {
    const { width, height } = this.a, scaled = document.createElement("canvas");
    scaled.width = width;
    scaled.height = height;
    const context = scaled.getContext("2d", { willReadFrequently: true });
    context.drawImage(this.b, 0, 0, width, height);
    const other = context.getImageData(0, 0, width, height), { data } = other;
    context.drawImage(this.a, 0, 0, width, height);
    const mine = context.getImageData(0, 0, width, height).data;
    const differences = Int16Array.from(data, (value, k) => (k % 4 === 3 ? 0 : value - mine[k]));
    const largest = differences.reduce((most, each) => Math.max(most, Math.abs(each)), 0), sum = differences.reduce((all, each) => all + Math.abs(each), 0);
    const gain = Math.max(1, Math.min(STRONGEST, 2 ** Math.floor(Math.log2(127 / (largest || 1)))));
    differences.forEach((each, k) => { data[k] = k % 4 === 3 ? 255 : 128 + gain * each; });
    size(this.d, scaled);
    this.d.getContext("2d").putImageData(other, 0, 0);
    const mean = sum / (0.75 * data.length);
    const far = mean === 0 ? "no difference" : `${mean < 0.095 ? mean.toPrecision(1) : mean.toFixed(1)} gray levels apart`;
    this.measured.textContent = this.way === "difference" && gain > 1 ? `${far}, shown ${gain} times as strong` : far;
  }
}
