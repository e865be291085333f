"use strict";
// Samples: a slider through time, which also plays; a click on a sheet shows it enlarged, pixel by pixel.
(() => {
  const frames = [...document.querySelectorAll("#frames img")], slider = document.getElementById("time");
  const play = document.getElementById("play"), zoom = document.getElementById("zoom"), large = new Image();
  let timer = 0, factor = 1, current = null;
  const scale = (wanted) => {
    factor = Math.max(1, Math.min(16, wanted));
    large.src = current.src;
    large.alt = zoom.title = `${current.alt}, enlarged ${factor} times`;
    large.style.width = `${current.naturalWidth * factor}px`;
  };
  const show = (at) => {
    slider.value = at;
    frames.forEach((frame, i) => { frame.hidden = i !== +slider.value; });
    document.getElementById("kimg").textContent = frames[slider.value].dataset.kimg;
    if (zoom.open && current.dataset.kimg) {
      current = frames[slider.value];
      scale(factor);
    }
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "play";
  };
  if (slider) {
    slider.addEventListener("input", () => { stop(); show(slider.value); });
    play.addEventListener("click", () => {
      if (timer) return stop();
      show(+slider.value === frames.length - 1 ? 0 : slider.value);
      play.textContent = "stop";
      timer = setInterval(() => {
        show(+slider.value + 1);
        if (+slider.value === frames.length - 1) stop();
      }, 400);
    });
  }
  zoom.append(large);
  zoom.addEventListener("click", () => zoom.close());
  zoom.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by && slider) show(+slider.value + by);
    if (event.key === "+" || event.key === "-") scale(event.key === "+" ? factor + 1 : factor - 1);
  });
  for (const picture of document.querySelectorAll("#samples img")) {
    picture.tabIndex = 0;
    const open = (x, y) => {
      current = picture;
      zoom.showModal();
      scale(Math.max(2, Math.ceil(1536 / picture.naturalWidth)));
      zoom.scrollTo(x * zoom.scrollWidth - zoom.clientWidth / 2, y * zoom.scrollHeight - zoom.clientHeight / 2);
    };
    picture.addEventListener("click", (event) => {
      const place = picture.getBoundingClientRect();
      open((event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height);
    });
    picture.addEventListener("keydown", (event) => { if (event.key === "Enter") open(0.5, 0.5); });
  }
})();

// A running run writes its page at each snapshot: load it again each minute, and say how old it is.
(() => {
  const state = document.querySelector(".state.running");
  if (!state) return;
  const look = () => {
    const minutes = Math.round((Date.now() / 1000 - state.dataset.written) / 60);
    if (minutes > 1) state.textContent = `running, as of ${minutes < 120 ? `${minutes} minutes` : `${Math.round(minutes / 60)} hours`} ago`;
  };
  const reload = () => {
    if (document.hidden || document.getElementById("zoom").open) setTimeout(reload, 5000);
    else location.reload();
  };
  look();
  setTimeout(reload, 60000);
})();
