// The page: one state, which the panel, the picture, the strips and the address share.

import { Children } from "./children.js";
import { listenForFiles, save } from "./files.js";
import { bind } from "./keys.js";
import { EMPTY, namer, read, same, wrapped, written } from "./look.js";
import { copy, note, post, tell } from "./messages.js";
import { Panel } from "./panel.js";
import { Picture, small } from "./picture.js";
import { Rooms } from "./rooms.js";
import { History, Kept } from "./strips.js";
import { Wire } from "./wire.js";
import { Workplace } from "./workplace.js";

const REST = 150; // milliseconds after which a hand rests
const FILLING = 9; // the slot of pictures that steps of the history lack
const at = (id) => document.getElementById(id);

const about = await (await fetch("about")).json();
const named = namer(about);
const parts = {};
let state = null;
let resting = 0; // timer
let shown = { number: 0, reached: 0, state: null }; // the newest answer
let last = { state: null, draft: false }; // the newest question
const asked = new Map(); // number -> { state, draft, start } of questions for the picture

/** Change the state. While a hand moves, drafts are asked for; `done` makes a step of the history. */
function change(patch, done) {
  const left = patch.seeds && !("latent" in patch) ? { latent: "" } : {}; // seeds take the place of latents
  state = { ...EMPTY, ...state, ...left, ...patch, network: about.network };
  parts.panel.show(state);
  clearTimeout(resting);
  if (done) settle();
  else {
    parts.rooms.compare.follow(true);
    ask({ draft: true });
    parts.work.update(pinned(state), state);
    resting = setTimeout(() => ask({}), REST);
  }
}

/** The hand rests: a step of the history, the address, the exact picture. */
function settle() {
  parts.history.push(state);
  display();
}

/** Show the state as it is, without a step of the history. */
function display() {
  history.replaceState(null, "", `#${written(state, about.controls)}`);
  parts.panel.show(state);
  at("undo").disabled = !parts.history.before;
  at("redo").disabled = !parts.history.after;
  at("picture").ariaLabel = `Picture of ${named(state)}`;
  const seen = [shown.state, last.draft ? last.state : null].some((other) => other && same(other, state));
  ask({ emerge: !seen });
  parts.children.show(pinned(state));
  parts.rooms.compare.follow();
  parts.work.update(pinned(state), state);
}

/** A state whose class stays when the seed changes. */
function pinned(of) {
  const { learned } = about;
  return of.label === null && !of.classes.length && !of.latent && learned.length ? { ...of, label: learned[of.seeds[0][0] % learned.length] } : of;
}

function go(next) {
  state = { ...EMPTY, ...next, network: about.network };
  clearTimeout(resting);
  display();
}

function ask(how) {
  const number = parts.wire.ask(0, state, how);
  last = { state, draft: how.draft ?? false };
  if (number) asked.set(number, { state, start: performance.now() });
}

async function answered(told, blob) {
  if (told.slot === FILLING) return fill(blob && small(await createImageBitmap(blob)));
  const room = parts.rooms.of(told);
  if (room) return room.answered(told, blob && await createImageBitmap(blob));
  if (told.slot > FILLING) return parts.work.small.answered(told, blob);
  if (told.slot > 0) {
    if (blob) parts.children.draw(told.slot, await createImageBitmap(blob));
    return;
  }
  const question = asked.get(told.number);
  if (told.again) { // the renderer was started again
    tell(told.error);
    return setTimeout(() => ask({}), 500);
  }
  if (isLate(told)) return;
  if (told.error) {
    parts.panel.blame(told.error);
    return tell(told.error);
  }
  const bitmap = await createImageBitmap(blob);
  if (isLate(told)) return;
  for (const number of asked.keys()) if (number < told.number) asked.delete(number);
  const whole = told.share === 1;
  shown = { number: told.number, reached: reached(told), state: whole ? question?.state : null };
  parts.picture.draw(bitmap);
  parts.children.draw(0, bitmap);
  parts.rooms.compare.own(bitmap);
  at("share").hidden = whole;
  at("share").value = told.share;
  tell("");
  parts.panel.blame("");
  if (whole && question?.start) {
    const { start } = question;
    question.start = null; // the exact picture that follows is of the same question
    requestAnimationFrame(() => speed(performance.now() - start, told.ms));
  }
  if (whole && question) parts.history.picture(question.state, small(bitmap));
  if (told.exact) finish(told);
}

/** How far an answer is: pictures on the way, a draft, the exact picture. */
const reached = (told) => (told.exact ? 2 : told.share);

/** Whether a later answer is shown already: pictures are decoded at the same time, and may be ready in another order. */
const isLate = (told) => told.number < shown.number || (told.number === shown.number && reached(told) < shown.reached);

/** Steps that were left too soon for a picture get theirs when nothing else is to be made. */
function fill(picture) {
  if (picture && parts.lacking) parts.history.give(parts.lacking, picture);
  parts.lacking = parts.history.lacking;
  if (parts.lacking) parts.wire.ask(FILLING, parts.lacking.state, { draft: true });
}

function speed(whole, network) {
  at("speed").textContent = `${Math.round(whole)} ms`;
  at("speed").title = `${whole.toFixed(1)} ms from question to picture, ${network} ms of them in the network`;
  at("speed").dataset.ms = whole.toFixed(1);
}

function finish(told) {
  at("command").textContent = told.command;
  at("picture").dataset.exact = told.number;
  parts.panel.bar(told.barred ?? {});
  fill(null);
  parts.wire.ahead(state, parts.panel.last ?? "");
}

function keep() {
  note(parts.kept.add(state, small(at("picture"))) ? "kept" : "this picture is kept already");
}

/** Keep the picture as soon as it is there. */
function later(wanted = state) {
  if (shown.state && same(shown.state, wanted)) keep();
  else if (same(state, wanted)) setTimeout(later, 50, wanted);
}

async function restore(file) {
  const found = await parts.wire.restore(file);
  if (!found) return;
  if (found.plain) return parts.work.dropped(file) || tell(found.plain);
  change({ ...EMPTY, ...found }, true);
  if (found.network && found.network !== about.network) note(`the picture was made with ${found.network}`);
}

const acts = {
  seed: (by) => change({ seeds: [[wrapped(state.seeds[0][0] + by), 1]] }, true),
  dice: () => change({ seeds: [[Math.floor(Math.random() * 100_000), 1]] }, true),
  nudge: (by) => parts.panel.nudge(by),
  undo: () => parts.history.undo(),
  redo: () => parts.history.redo(),
  family() {
    stage(parts.children.open ? "picture" : "grid");
    parts.children.show(pinned(state));
  },
  others: () => parts.children.others(),
  child: (slot) => parts.children.open && parts.children.click(slot, false),
  keep,
  download: async () => save(await parts.wire.save(state), named(state)),
  pixels: () => {
    at("pixels").ariaPressed = document.body.classList.toggle("pixels");
  },
  copy: () => copy(at("command").textContent, "command line"),
  link: () => copy(location.href, "address"),
  help: () => at("sheet").showModal(),
};

/** What is shown at the picture's place: "picture", "grid" of children, or a board of the workplace. */
function stage(shown) {
  for (const id of ["picture", "grid"]) at(id).hidden = id !== shown;
  parts.children.open = shown === "grid";
  at("breed").hidden = shown !== "grid";
  at("family").ariaPressed = shown === "grid";
  parts.work.stage(shown);
}

/** A film through key frames, { state, small } each. */
function film(entries) {
  parts.rooms.films.set(entries);
  if (at("film-room").hidden) acts.film();
}

function build() {
  at("network").textContent = about.network;
  at("kind").textContent = about.kind;
  document.title = `${about.network} · Explorer`;
  parts.panel = new Panel(at("panel"), about, change, (name) => state && parts.wire.ahead(state, name));
  parts.history = new History(at("history"), { go, name: named });
  parts.kept = new Kept(at("kept"), about.network, { go: (kept) => change({ ...EMPTY, ...kept }, true), name: named });
  parts.work = new Workplace(about, { post, copy, tell, note, change, stage, kept: () => parts.kept.entries, film, keep: () => later(),
    ask: (slot, of) => parts.wire.ask(slot, of, { draft: true }), set: (...given) => parts.panel.set(...given) });
  parts.picture = new Picture(at("picture"), {
    start() {
      state = pinned(state);
      return state.seeds;
    },
    walk: (seeds, done) => change({ seeds }, done),
  });
  parts.children = new Children(at("grid"), about, {
    ask: (slot, child) => parts.wire.ask(slot, child, { draft: true }),
    go: (child) => change(child, true),
  });
  parts.rooms = new Rooms({ about, post, copy, go: (next) => change({ ...EMPTY, ...next }, true), name: named,
    ask: (...question) => parts.wire.ask(...question), present: () => ({ state, get small() { return small(at("picture")); } }) });
  Object.assign(acts, parts.rooms.acts);
  parts.children.stride(at("stride"), at("strided"));
  for (const name of ["undo", "redo", "dice", "family", "film", "compare", "keep", "download", "pixels", "copy", "link", "help"]) {
    at(name).addEventListener("click", acts[name]);
  }
  at("again").addEventListener("click", acts.others);
  bind(acts, at("keys"));
  listenForFiles(restore);
  addEventListener("hashchange", () => {
    const found = read(location.hash, about.controls);
    if (found && !same(found, state)) change(found, true);
  });
}

function connected(online, why) {
  document.body.classList.toggle("offline", !online);
  if (!online) return tell(why ?? "no connection to explore.py: start it again, or wait");
  tell("");
  parts.rooms.films.resume();
  if (state) return display();
  const first = read(location.hash, about.controls) ?? about.state;
  change(first, true);
}

build();
history.replaceState(null, "", `./${location.hash}`); // the token leaves the address
parts.wire = about.engine ? new (await import("./engine.js")).Engine(answered, connected, about) : new Wire(answered, connected);
