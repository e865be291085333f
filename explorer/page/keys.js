// The keyboard: every key with what it does, which is also the sheet of keys.

import { element } from "./panel.js";

const KEYS = [
  { keys: ["ArrowLeft", "ArrowRight"], shown: "← →", told: "seed before, next seed", act: (acts, key) => acts.seed(key === "ArrowRight" ? 1 : -1) },
  { keys: ["shift ArrowLeft", "shift ArrowRight"], shown: "Shift ← →", told: "ten seeds", act: (acts, key) => acts.seed(key === "ArrowRight" ? 10 : -10) },
  { keys: ["r"], shown: "R", told: "a random seed", act: (acts) => acts.dice() },
  { keys: ["[", "]"], shown: "[ ]", told: "the setting used last, a step less or more", act: (acts, key) => acts.nudge(key === "]" ? 1 : -1) },
  { keys: ["{", "}"], shown: "{ }", told: "ten steps", act: (acts, key) => acts.nudge(key === "}" ? 10 : -10) },
  { keys: ["ctrl z"], shown: "Ctrl Z", told: "undo", act: (acts) => acts.undo() },
  { keys: ["ctrl shift z", "ctrl y"], shown: "Ctrl Shift Z", told: "redo", act: (acts) => acts.redo() },
  { keys: ["c"], shown: "C", told: "children around the picture, or the picture alone", act: (acts) => acts.family() },
  { keys: ["1", "2", "3", "4", "5", "6", "7", "8"], shown: "1 to 8", told: "go on from a child", act: (acts, key) => acts.child(Number(key)) },
  { keys: ["n"], shown: "N", told: "other children", act: (acts) => acts.others() },
  { keys: ["f"], shown: "F", told: "a film through pictures", act: (acts) => acts.film() },
  { keys: ["v"], shown: "V", told: "compare with another picture, network or snapshot", act: (acts) => acts.compare() },
  { keys: [" "], shown: "Space", told: "play or stop the film", act: (acts) => acts.play() },
  { keys: ["s"], shown: "S", told: "keep the picture", act: (acts) => acts.keep() },
  { keys: ["p"], shown: "P", told: "save it as a PNG with its settings inside", act: (acts) => acts.download() },
  { keys: ["x"], shown: "X", told: "show pixels, or smooth", act: (acts) => acts.pixels() },
  { keys: ["y"], shown: "Y", told: "copy the command line", act: (acts) => acts.copy() },
  { keys: ["?"], shown: "?", told: "this sheet", act: (acts) => acts.help() },
];

/** Whether keys belong to the part that has the focus: letters to what can be typed in, arrows to sliders too. */
function taken(event) {
  const part = event.target;
  if (part.closest?.("dialog")) return true;
  if (part.tagName === "SELECT") return true;
  if (["BUTTON", "A"].includes(part.tagName) && [" ", "Enter"].includes(event.key)) return true;
  if (part.tagName !== "INPUT") return false;
  return part.type === "range" || part.type === "checkbox" ? /Arrow|Home|End|Page| /.test(event.key) : true;
}

/** Listen to the keys, and fill the sheet. */
export function bind(acts, sheet) {
  for (const { shown, told } of KEYS) {
    sheet.append(element("dt", {}, element("kbd", { textContent: shown })), element("dd", { textContent: told }));
  }
  document.addEventListener("keydown", (event) => {
    if (taken(event) || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const marks = [event.ctrlKey || event.metaKey ? "ctrl" : "", event.shiftKey && /^(Arrow.*|[a-z])$/.test(key) ? "shift" : ""];
    const pressed = [...marks.filter(Boolean), key].join(" ");
    const found = KEYS.find(({ keys }) => keys.includes(pressed));
    if (!found) return;
    event.preventDefault();
    found.act(acts, key);
  });
}
