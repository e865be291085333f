// The page of a network that restyles pictures: a content, its styles with their shares, a mask, and the result.

import { listenForFiles, save } from "./files.js";
import { COLORS, Mask } from "./mask.js";
import { copy, note, post, tell } from "./messages.js";
import { element, Panel } from "./panel.js";
import { fill } from "./slots.js";
import { Wire } from "./wire.js";

const REST = 150; // milliseconds after which a hand rests
const at = (id) => document.getElementById(id);
const stem = (name) => name.replace(/\.[^.]*$/, "");
const path = ({ digest }) => `pictures/${digest}`;

/** The settings alone: there are no seeds. */
class Settings extends Panel {
  seedRow() {
    return "";
  }

  show(state) {
    this.state = state;
    for (const [name, row] of this.rows) row.show(this.value(name));
  }
}

const about = await (await fetch("about")).json();
const styled = (style) => ({ weight: 1, strength: 1, ...style });
let content = about.content, styles = about.styles.map((style) => styled({ ...style, drawn: true })), mask = null, options = {};
let resting = 0, strokes = 0; // a timer; the number of the last mask
let exact = null, saving = false, shown = 0; // the last exact picture; whether it is to be saved; the newest answer
const starts = new Map(); // number of a question -> its time
const share = () => (mask ? "strength" : "weight");
const worn = () => (mask ? mask.used.map((k) => styles[k]) : styles); // the styles that are somewhere in the picture

/** Ask for the picture: small while a hand moves, exact when it rests. */
function ask(done) {
  clearTimeout(resting);
  exact = null;
  const of = ({ digest, name }, more = 1) => ({ digest, name: name.slice(0, 255), share: more });
  const collage = { content: of(content), styles: worn().map((style) => of(style, style[share()])), mask: mask && of(mask) };
  const number = wire.ask(0, { options }, { draft: !done, collage });
  starts.set(number, performance.now());
  if (!done) resting = setTimeout(ask, REST, true);
}

async function answered(told, blob) {
  if (told.again) setTimeout(ask, 500, true);
  if (told.number < shown) return;
  panel.blame(told.error ?? "");
  tell(told.error ?? "");
  if (told.error) {
    saving = false;
    return;
  }
  const bitmap = await createImageBitmap(blob);
  if (told.number < shown) return;
  shown = told.number;
  fill(at("picture"), bitmap);
  if (starts.has(shown)) at("speed").textContent = `${Math.round(performance.now() - starts.get(shown))} ms`;
  for (const number of starts.keys()) if (number <= shown) starts.delete(number);
  if (told.exact && shown === wire.number) finish(told, blob);
}

function finish(told, blob) {
  exact = blob;
  at("command").textContent = told.command;
  at("picture").dataset.exact = told.number;
  panel.bar(told.barred);
  if (saving) download();
}

/** Save the exact picture, as soon as it is there. */
function download() {
  saving = !exact;
  if (exact) save(exact, `${stem(content.name)}-${worn().map(({ name }) => stem(name)).join("+")}`);
  else note("the whole picture is saved when it is done");
}

/** The picture of a file on the server, or null if that was refused, which is told. */
async function kept(file) {
  const answer = await post("pictures", file);
  return answer && { ...(await answer.json()), name: file.name };
}

async function setContent(file) {
  const found = await kept(file);
  if (!found) return;
  content = found;
  await display();
  ask(true);
}

async function addStyles(files) {
  for (const file of files) {
    const mine = styles.filter(({ drawn }) => !drawn);
    if (mine.length === about.most) return tell(`there are ${about.most} styles: remove one first`);
    const found = await kept(file);
    if (!found) return;
    if (!mine.length) unmask(); // drawn styles give way
    styles = [...mine, styled(found)];
    list();
    ask(true);
  }
}

function remove(number) {
  styles = styles.filter((_, k) => k !== number);
  painter.without(number);
  painter.take(null);
  if (styles.length < 2) unmask();
  list();
  if (mask) painted();
  else ask(true);
}

/** Show the content, without a mask. */
async function display() {
  unmask();
  at("content-name").textContent = at("content-name").download = content.name;
  at("content-name").href = path(content);
  painter.show(await createImageBitmap(await (await fetch(path(content))).blob(), { imageOrientation: "from-image" }));
}

function unmask() {
  mask = null;
  strokes++;
  painter.clear();
  tools();
}

/** A stroke is done: the server gets the mask. */
async function painted() {
  const number = ++strokes;
  if (!painter.regions) {
    unmask();
    list();
    return ask(true);
  }
  const { used } = painter, found = await kept(new File([await painter.png()], "mask.png"));
  if (!found || number !== strokes) return;
  mask = { ...found, used };
  list();
  ask(true);
}

/** The tools of the mask. */
function tools() {
  at("brush").hidden = painter.brush === null && !mask;
  at("mask-undo").disabled = !painter.before.length;
  at("mask-clear").disabled = at("mask-save").hidden = !mask;
  if (mask) at("mask-save").href = path(mask);
}

/** The list of styles. */
function list() {
  at("style-list").replaceChildren(...styles.map(card));
  at("style-add").disabled = styles.filter(({ drawn }) => !drawn).length === about.most;
  tools();
}

function card(style, number) {
  const { name } = style, key = share(), shares = element("output", { textContent: style[key] });
  const slider = element("input", { type: "range", min: 0, max: 1, step: 0.01, value: style[key], ariaLabel: `${key} of ${name}`,
    oninput: () => { shares.textContent = style[key] = slider.valueAsNumber; ask(false); }, onchange: () => ask(true) });
  const paint = element("button", { className: "paint", textContent: "Paint", ariaPressed: painter.brush === number,
    ariaLabel: `Paint the region of ${name}`, title: "Paint where the style is, over the content", onclick: () => {
      painter.take(painter.brush === number ? null : number);
      list();
      at("style-list").children[number].querySelector(".paint").focus({ preventScroll: true });
      if (painter.brush !== null) at("content").scrollIntoView({ block: "nearest" });
    } });
  paint.style.setProperty("--region", COLORS[number]);
  const several = styles.length > 1;
  const head = element("div", { className: "head" }, element("a", { href: path(style), download: name, textContent: name, title: "Save the picture" }),
    ...(several ? [element("button", { className: "quiet close", textContent: "×", ariaLabel: `Remove ${name}`, onclick: () => remove(number) })] : []));
  const parts = several ? [element("div", { className: "under" }, element("span", { textContent: key }), slider, shares), paint] : [];
  return element("li", { className: "style-part" }, element("img", { className: "thumb", src: path(style), alt: "" }), element("div", {}, head, ...parts));
}

function connected(online, why) {
  document.body.classList.toggle("offline", !online);
  if (!online) return tell(why ?? "no connection to explore.py: start it again, or wait");
  tell("");
  ask(true);
}

function keys(event) {
  if (event.target.matches("input, select") && event.target.type !== "range" || event.altKey) return;
  const control = event.ctrlKey || event.metaKey, act = control
    ? { z: () => painter.undo() }[event.key]
    : { p: download, y: () => copy(at("command").textContent, "command line"), "[": () => panel.nudge(-1), "]": () => panel.nudge(1) }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

function listen() {
  for (const [button, file, act] of [["content-choose", "content-file", ([first]) => setContent(first)], ["style-add", "style-file", addStyles]]) {
    at(button).onclick = () => at(file).click();
    at(file).onchange = async () => {
      if (at(file).files.length) await act([...at(file).files]);
      at(file).value = "";
    };
  }
  listenForFiles((file, event) => (event.target.closest?.("#content-figure") ? setContent(file) : addStyles([...event.dataTransfer.files])));
  at("download").onclick = download;
  at("copy").onclick = () => copy(at("command").textContent, "command line");
  at("mask-undo").onclick = () => painter.undo();
  at("mask-clear").onclick = () => { unmask(); list(); ask(true); };
  at("brush-size").oninput = () => {
    painter.radius = at("brush-size").valueAsNumber / 250;
    painter.draw(true);
  };
  document.addEventListener("keydown", keys);
}

at("network").textContent = about.network;
at("kind").textContent = about.kind;
document.title = `${about.network} · Explorer`;
const painter = new Mask(at("content"), painted);
const panel = new Settings(at("panel"), about, (patch, done) => {
  options = patch.options;
  panel.show({ options });
  ask(done);
});
panel.show({ options });
listen();
list();
await display();
history.replaceState(null, "", "./"); // the token leaves the address
const wire = new Wire(answered, connected);
