// In place of the server: a worker that computes pictures in the browser.

import { tell } from "./messages.js";
import { settings, withSettings } from "./pngs.js";

export class Engine {
  /** As `Wire`: `answered(told, pixels)` gets every answer, `changed(online, why)` whether pictures can be made. */
  constructor(answered, changed, about) {
    this.about = about;
    this.number = 0;
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.worker.addEventListener("message", ({ data: { told, data, width, height, ready, error } }) => {
      if (ready) return changed(true);
      if (error) return changed(false, error);
      const pixels = data ? new ImageData(new Uint8ClampedArray(data), width, height) : null;
      answered(told.exact ? { ...told, command: this.command(told.state) } : told, pixels);
    });
    this.worker.addEventListener("error", () => changed(false, "this browser cannot compute the pictures: try another one"));
    this.worker.postMessage({ about });
  }

  /** Ask for a picture; returns the number of the question. */
  ask(slot, state, { draft = false } = {}) {
    this.worker.postMessage({ number: ++this.number, slot, state, draft });
    return this.number;
  }

  ahead() {}

  /** The picture that is shown as a PNG with its settings inside. */
  async save(state) {
    const picture = await new Promise((done) => document.getElementById("picture").toBlob(done, "image/png"));
    return withSettings(picture, { explorer: JSON.stringify(state), command: this.command(state) });
  }

  /** The state in a picture that was saved, or null. */
  async restore(file) {
    try {
      return { label: null, options: {}, ...JSON.parse(await settings(file)) };
    } catch {
      tell("the picture has no settings in it: drop a PNG that this page saved");
      return null;
    }
  }

  /** The command line that makes the picture where the program is installed. */
  command({ seeds, label, options }) {
    const { network, classes, controls } = this.about, quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);
    const words = ["python", "generate.py", "--network", quoted(network)];
    if (seeds.length === 1 && seeds[0][1] > 0) words.push("--seeds", seeds[0][0]);
    else words.push("--mix", seeds.map((part) => part.join(":")).join(","));
    if (label !== null) words.push("--class", quoted(classes[label] ?? `${label}`));
    for (const { name, flag } of controls) if (name in options && options[name] !== null) words.push(flag, options[name]);
    return words.join(" ");
  }
}
