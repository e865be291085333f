// The film and the comparison, which open below the picture.

import { Compare, OTHER } from "./compare.js";
import { FILM, Films } from "./films.js";
import { SNAPSHOT } from "./snapshots.js";

const at = (id) => document.getElementById(id);

export class Rooms {
  /** `ask`, `post`, `copy`, `go(state)`, `name(state)` are the page's; `present()` is { state, small }. */
  constructor(page) {
    this.films = new Films(at("film-room"), page);
    this.compare = new Compare(at("compare-room"), page);
    at("film").hidden = !page.about.walkable;
    this.acts = {
      film: () => !at("film").hidden && this.film(this.open("film")),
      compare: () => this.compare.toggle(this.open("compare")),
      play: () => at("film-room").hidden || this.films.toggle(),
    };
  }

  /** Open or close a room; returns whether it is open. */
  open(name) {
    const open = at(`${name}-room`).hidden;
    at(`${name}-room`).hidden = !open;
    at(name).ariaPressed = open;
    return open;
  }

  film(open) {
    document.body.classList.toggle("filming", open); // the strips have a + then
    if (open) this.films.frame();
    else this.films.stopped();
  }

  /** The room that an answer belongs to, if there is one. */
  of({ slot }) {
    return { [FILM]: this.films, [OTHER]: this.compare, [SNAPSHOT]: this.compare.snapshots }[slot];
  }
}
