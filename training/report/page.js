"use strict";
// Samples: a slider through time, which also plays.
(() => {
  const frames = [...document.querySelectorAll("#frames img")];
  const slider = document.getElementById("time");
  if (!slider) return;
  const play = document.getElementById("play"), kimg = document.getElementById("kimg");
  let timer = 0;
  const show = () => {
    frames.forEach((frame, i) => { frame.hidden = i !== +slider.value; });
    kimg.textContent = frames[slider.value].dataset.kimg;
    slider.setAttribute("aria-valuetext", "kimg " + kimg.textContent);
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.innerHTML = "&#9654;";
    play.setAttribute("aria-label", "play");
  };
  const start = () => {
    if (+slider.value === frames.length - 1) slider.value = 0;
    show();
    play.innerHTML = "&#10074;&#10074;";
    play.setAttribute("aria-label", "pause");
    timer = setInterval(() => {
      slider.value = +slider.value + 1;
      show();
      if (+slider.value === frames.length - 1) stop();
    }, 400);
  };
  slider.addEventListener("input", () => { stop(); show(); });
  play.addEventListener("click", () => (timer ? stop() : start()));
  show();
})();

// A click on a sheet shows it enlarged by a whole factor, pixel by pixel.
(() => {
  const pictures = [...document.querySelectorAll("#samples img")];
  if (!pictures.length || !window.HTMLDialogElement) return;
  const zoom = document.createElement("dialog"), bar = document.createElement("p"), room = document.createElement("div");
  const title = document.createElement("span"), shown = new Image(), slider = document.getElementById("time");
  let factor = 1, current = null;
  const button = (text, label, act) => {
    const node = document.createElement("button");
    node.type = "button";
    node.textContent = text;
    node.setAttribute("aria-label", label);
    node.addEventListener("click", act);
    bar.append(node);
  };
  const show = (picture) => {
    current = picture;
    shown.src = picture.src;
    shown.alt = picture.alt;
    shown.style.width = `${picture.naturalWidth * factor}px`;
    title.textContent = `${picture.alt}, ${factor} times as large`;
  };
  const scale = (wanted, x = 0.5, y = 0.5) => {
    const left = (room.scrollLeft + x * room.clientWidth) / factor, top = (room.scrollTop + y * room.clientHeight) / factor;
    factor = Math.max(1, Math.min(16, wanted));
    show(current);
    room.scrollTo(left * factor - x * room.clientWidth, top * factor - y * room.clientHeight);
  };
  const through = (by) => {
    if (!slider || !current.dataset.kimg) return;
    slider.value = +slider.value + by;
    slider.dispatchEvent(new Event("input"));
    show(pictures.find((picture) => picture.dataset.kimg && !picture.hidden));
  };
  const open = (picture, x, y) => {
    factor = Math.max(2, Math.ceil(1536 / picture.naturalWidth));
    zoom.showModal();
    show(picture);
    room.scrollTo(x * picture.naturalWidth * factor - room.clientWidth / 2, y * picture.naturalHeight * factor - room.clientHeight / 2);
  };
  bar.append(title);
  button("\u2212", "smaller", () => scale(factor - 1));
  button("+", "larger", () => scale(factor + 1));
  button("\u00d7", "close", () => zoom.close());
  room.append(shown);
  zoom.id = "zoom";
  zoom.append(bar, room);
  document.body.append(zoom);
  shown.addEventListener("click", () => zoom.close());
  zoom.addEventListener("keydown", (event) => {
    const act = {
      ArrowLeft: () => through(-1), ArrowRight: () => through(1), "+": () => scale(factor + 1), "-": () => scale(factor - 1),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  for (const picture of pictures) {
    picture.tabIndex = 0;
    picture.addEventListener("click", (event) => {
      const place = picture.getBoundingClientRect();
      open(picture, (event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height);
    });
    picture.addEventListener("keydown", (event) => { if (event.key === "Enter") open(picture, 0.5, 0.5); });
  }
})();

// While a run goes on the page is loaded anew each minute. It stops when the run has ended, or is not heard of any more.
(() => {
  const { written, patience } = document.body.dataset;
  if (!written) return;
  const look = () => {
    if (Date.now() / 1000 - written > patience) {
      document.querySelector(".state").textContent = "running? not heard of since this page was written";
      return;
    }
    const zoom = document.getElementById("zoom");
    if (document.hidden || (zoom && zoom.open)) setTimeout(look, 5000);
    else location.reload();
  };
  setTimeout(look, 60000);
})();

// Configuration: rows that match what is typed.
(() => {
  const find = document.getElementById("find");
  if (!find) return;
  const groups = [...document.querySelectorAll("#settings details")].map((group) => ({ group, open: group.open }));
  find.addEventListener("input", () => {
    const wanted = find.value.trim().toLowerCase();
    for (const { group, open } of groups) {
      let found = 0;
      for (const row of group.querySelectorAll("tr")) {
        const text = (group.querySelector("summary").textContent + "." + row.textContent).toLowerCase();
        row.hidden = !text.includes(wanted);
        found += !row.hidden;
      }
      group.hidden = !found;
      group.open = wanted ? found > 0 : open;
    }
  });
})();
