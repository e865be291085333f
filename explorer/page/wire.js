// Questions to the server and its answers: by a socket, or by POST where no socket is let through.

import { post } from "./messages.js";

const RETRY = 1000; // milliseconds
const RENEWED = "explore.py was started again, and has another address now: open the address that it has printed, and this page goes on";
const TRIES = 2; // sockets that fail at once, before POST takes over

export class Wire {
  /** `answered(told, blob)` gets every answer, `changed(online, why)` the state of the connection. */
  constructor(answered, changed) {
    this.answered = answered;
    this.changed = changed;
    this.number = 0;
    this.failed = 0;
    this.posting = new Map(); // slot -> the newest question that waits
    this.open();
  }

  open() {
    const socket = new WebSocket(`ws://${location.host}/socket`);
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => {
      this.socket = socket;
      this.failed = 0;
      this.changed(true);
    });
    socket.addEventListener("message", (event) => this.answered(...unpacked(event.data)));
    socket.addEventListener("close", () => {
      const worked = this.socket === socket;
      this.socket = null;
      if (!worked && ++this.failed === TRIES) this.probe();
      if (worked) this.changed(false);
      setTimeout(() => this.open(), worked ? RETRY / 4 : RETRY);
    });
  }

  /** Sockets fail: is the server there at all? */
  async probe() {
    try {
      const answer = await fetch("about");
      if (answer.status === 403) {
        this.failed = 0;
        return this.changed(false, RENEWED);
      }
      this.byPost = true;
      this.changed(true);
    } catch {
      this.failed = 0;
      this.changed(false);
    }
  }

  /** Ask for a picture; returns the number of the question, or 0 while there is no connection. */
  ask(slot, state, { draft = false, emerge = false, ...more } = {}) {
    const question = { number: ++this.number, slot, state, draft, emerge, ...more };
    if (this.socket) this.socket.send(JSON.stringify(question));
    else if (this.byPost) this.post(question);
    else return 0;
    return question.number;
  }

  /** Let the server make pictures near a state, along a setting, while it has nothing else to do. */
  ahead(state, near) {
    this.socket?.send(JSON.stringify({ state, near }));
  }

  /** The PNG of a state with its settings inside; null if that was refused, which is told. */
  async save(state) {
    return (await post("save", JSON.stringify(state)))?.blob();
  }

  /** The state in a picture that was saved, or null. */
  async restore(file) {
    return (await post("restore", file))?.json();
  }

  /** One question of a slot on its way at a time; of those that come meanwhile the newest follows. */
  async post(question) {
    const { slot } = question, busy = this.posting.has(slot);
    this.posting.set(slot, question);
    if (busy) return;
    let last = null;
    while (this.posting.get(slot) !== last) {
      last = this.posting.get(slot);
      try {
        const answer = await fetch("frame", { method: "POST", body: JSON.stringify(last) });
        if (answer.headers.get("Content-Type")?.startsWith("application/octet-stream")) {
          this.answered(...unpacked(await answer.arrayBuffer()));
        } else {
          const { error } = await answer.json();
          this.answered({ number: last.number, slot, error }, null);
        }
      } catch {
        this.changed(false);
        break;
      }
    }
    this.posting.delete(slot);
  }
}

/** Header and picture of a binary answer. */
function unpacked(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const told = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return [told, told.error ? null : new Blob([new Uint8Array(buffer, 4 + length)], { type: told.kind })];
}
