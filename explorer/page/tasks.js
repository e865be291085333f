// Tasks that take longer than a picture: the server does one at a time, and tells how far it is.

import { element } from "./panel.js";

const PAUSE = 250; // milliseconds between two looks

export class Tasks {
  /** `post(path, body)` asks the server; `path` is where its tasks are; `tell(sentence)` shows a failure. */
  constructor(path, post, tell) {
    this.tell = tell;
    this.path = path; // of the tasks and of their pictures
    this.post = post;
    this.bar = element("progress", { max: 1, hidden: true, ariaLabel: "Progress" });
  }

  /** Do a task after those before; returns its result, or null if it failed. `watch(told)` gets the progress. */
  run(task, how) {
    this.last = (this.last ?? Promise.resolve()).then(() => this.now(task, how));
    return this.last;
  }

  async now(task, { data = null, watch = () => {} } = {}) {
    this.bar.hidden = false;
    this.bar.removeAttribute("value");
    let over = false;
    const look = async () => {
      while (!over) {
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
        if (over) return;
        try {
          const told = await (await fetch(this.path)).json();
          if (over || !told.busy) continue;
          if (told.share !== undefined) this.bar.value = told.share;
          await watch(told);
        } catch {
          // The server is away for a moment.
        }
      }
    };
    look();
    const text = JSON.stringify({ task });
    const answer = await this.post(this.path, data ? new Blob([text, "\n", data]) : text);
    over = true;
    this.bar.hidden = true;
    const found = answer && (await answer.json());
    if (found?.error) this.tell(found.error);
    return found?.error ? null : found;
  }

  stop() {
    return this.post(`${this.path}/stop`, "");
  }
}
