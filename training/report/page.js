"use strict";
// Samples: a slider through time, which also plays. A click on a sheet fills the window with it.
(() => {
  const frames = [...document.querySelectorAll("#frames img")], slider = document.getElementById("time");
  const play = document.getElementById("play");
  let timer = 0;
  const show = (at) => {
    slider.value = at;
    frames.forEach((frame, i) => { frame.hidden = i !== +slider.value; });
    document.getElementById("kimg").textContent = frames[slider.value].dataset.kimg;
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "play";
  };
  const step = () => {
    show(+slider.value + 1);
    if (+slider.value === frames.length - 1) stop();
  };
  if (slider) {
    slider.addEventListener("input", () => { stop(); show(slider.value); });
    play.addEventListener("click", () => {
      if (timer) return stop();
      if (+slider.value === frames.length - 1) show(0);
      play.textContent = "stop";
      timer = setInterval(step, 400);
    });
  }
  for (const sheet of document.querySelectorAll(".sheet")) {
    sheet.addEventListener("click", () => {
      sheet.classList.toggle("large");
      if (slider) slider.focus();
    });
  }
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.querySelectorAll(".large").forEach((sheet) => sheet.classList.remove("large"));
  });
})();

// A running run writes its page at each snapshot: load it again each minute, and say how old it is.
(() => {
  const state = document.querySelector(".state.running");
  if (!state) return;
  const minutes = Math.round((Date.now() / 1000 - state.dataset.written) / 60);
  if (minutes > 1) state.textContent = `running, as of ${minutes < 120 ? `${minutes} minutes` : `${Math.round(minutes / 60)} hours`} ago`;
  const reload = () => (document.hidden || document.querySelector(".large") ? setTimeout(reload, 5000) : location.reload());
  setTimeout(reload, 60000);
})();
