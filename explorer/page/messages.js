// What the page says below the picture, and what it asks the server besides pictures.

const at = (id) => document.getElementById(id);

export function tell(text, kind = "error") {
  at("message").textContent = text;
  at("message").hidden = !text;
  at("message").className = kind;
}

export function note(text) {
  tell(text, "note");
  setTimeout(() => at("message").textContent === text && tell(""), 2500);
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    note(`${what} copied`);
  } catch {
    getSelection().selectAllChildren(at("command"));
    tell("the browser keeps the clipboard closed: press Ctrl C", "note");
  }
}

/** Ask the server by POST; an error is told. */
export async function post(path, body) {
  try {
    const answer = await fetch(path, { method: "POST", body });
    if (answer.ok) return answer;
    tell((await answer.json()).error);
  } catch {
    tell("explore.py does not answer: start it again");
  }
  return null;
}
