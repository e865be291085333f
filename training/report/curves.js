// Curves.
(() => {
  const source = document.getElementById("data");
  if (!source) return;
  const NS = "http://www.w3.org/2000/svg", LEFT = 48, RIGHT = 10, TOP = 8, BOTTOM = 22, COLORS = 8;
  const drawn = [];
  const options = { smooth: 0, log: false };

  const make = (name, attributes, parent, text) => {
    const node = document.createElementNS(NS, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  };
  const html = (name, className, parent, text) => {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  };
  const said = (value) => {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : String(+value.toPrecision(4));
  };

  // Mean that forgets, corrected for having begun from nothing (Kingma and Ba 2015, section 3).
  const smoothed = (values) => {
    if (!options.smooth) return values;
    let sum = 0, weight = 0;
    return values.map((value) => {
      if (value === null) return null;
      sum = sum * options.smooth + value * (1 - options.smooth);
      weight = weight * options.smooth + 1 - options.smooth;
      return sum / weight;
    });
  };

  // Round numbers between two ends: 1, 2 or 5 times a power of ten apart; powers of ten on a logarithmic scale.
  const ticks = (low, high, count) => {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high + step * 1e-6; i++) found.push(+(i * step).toPrecision(12));
    return found;
  };
  const logTicks = (low, high) => {
    const found = [], all = Math.log10(high / low) < 3;
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      for (const factor of all ? [1, 2, 5] : [1]) found.push(+(factor * 10 ** power).toPrecision(3));
    }
    const within = found.filter((tick) => tick >= low && tick <= high);
    return within.length > 6 ? within.filter((_, i) => i % Math.ceil(within.length / 6) === 0) : within;
  };

  class Chart {
    constructor(chart, place) {
      this.series = chart.series.map((series, i) => ({ ...series, color: `var(--c${i % COLORS})`, shown: true }));
      const box = html("div", "chart", place);
      const head = html("h4", "", box, chart.title);
      if (chart.unit) html("small", "", head, ` ${chart.unit}`);
      this.svg = make("svg", { role: "img", tabindex: 0, "aria-label": `${chart.title} over kimg` }, box);
      const legend = html("div", "legend", box);
      for (const series of this.series) {
        const button = html("button", "", legend);
        button.type = "button";
        button.setAttribute("aria-pressed", true);
        html("i", "", button).style.background = series.color;
        html("span", "", button, series.label);
        series.last = html("b", "", button);
        button.addEventListener("click", () => {
          series.shown = !series.shown;
          button.setAttribute("aria-pressed", series.shown);
          this.draw();
        });
      }
      if (chart.healthy) html("p", "", box, chart.healthy);
      const at = (event) => this.point(event.clientX - this.svg.getBoundingClientRect().left);
      this.svg.addEventListener("pointermove", at);
      this.svg.addEventListener("pointerdown", at);
      this.svg.addEventListener("pointerleave", () => readAll(null));
      this.svg.addEventListener("blur", () => readAll(null));
      this.svg.addEventListener("keydown", (event) => {
        const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (!by) return;
        event.preventDefault();
        const places = [...new Set(this.series.flatMap((series) => series.kimg))].sort((a, b) => a - b);
        const now = this.read === null ? places.length : places.findIndex((kimg) => kimg >= this.read);
        readAll(places[Math.max(0, Math.min(places.length - 1, now + by))]);
      });
      this.read = null;
    }

    draw() {
      const { width, height } = this.svg.getBoundingClientRect();
      if (!width) return;
      this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.svg.replaceChildren();
      for (const series of this.series) series.line = smoothed(series.values);
      const shown = this.series.filter((series) => series.shown);
      const values = shown.flatMap((series) => [...series.line, ...series.values]).filter((value) => value !== null);
      const log = options.log && values.length > 0 && values.every((value) => value >= 0) && values.some((v) => v > 0);
      const fit = log ? values.filter((value) => value > 0) : values;
      let low = fit.reduce((a, b) => Math.min(a, b), Infinity), high = fit.reduce((a, b) => Math.max(a, b), -Infinity);
      if (!fit.length) [low, high] = [0, 1];
      if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
      const kimg = this.series.flatMap((series) => series.kimg);
      const first = kimg.reduce((a, b) => Math.min(a, b), Infinity), last = kimg.reduce((a, b) => Math.max(a, b), -Infinity);
      const pad = log ? 0 : (high - low) * 0.06;
      const scale = log ? Math.log : (value) => value;
      const bottom = scale(low) - pad, top = scale(high) + pad;
      this.x = (value) => LEFT + (first === last ? 0.5 : (value - first) / (last - first)) * (width - LEFT - RIGHT);
      this.kimg = (x) => first + ((x - LEFT) / (width - LEFT - RIGHT)) * (last - first);
      this.y = (value) => height - BOTTOM - ((scale(value) - bottom) / (top - bottom)) * (height - TOP - BOTTOM);
      this.height = height;
      for (const tick of log ? logTicks(low, high) : ticks(low - pad, high + pad, 4)) {
        make("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: this.y(tick), y2: this.y(tick) }, this.svg);
        make("text", { x: LEFT - 6, y: this.y(tick) + 4, "text-anchor": "end" }, this.svg, said(tick));
      }
      for (const tick of first === last ? [first] : ticks(first, last, Math.max(2, width / 60))) {
        make("text", { x: this.x(tick), y: height - 6, "text-anchor": "middle" }, this.svg, said(tick));
      }
      for (const series of shown) {
        if (options.smooth) this.path(series.kimg, series.values, series.color, "raw", log);
        this.path(series.kimg, series.line, series.color, "", log);
      }
      this.mark = make("g", {}, this.svg);
      this.show(this.read);
    }

    path(kimg, values, color, kind, log) {
      let d = "", pen = "M", alone = 0, points = 0;
      values.forEach((value, i) => {
        if (value === null || (log && value <= 0)) { pen = "M"; return; }
        d += `${pen}${this.x(kimg[i]).toFixed(1)} ${this.y(value).toFixed(1)}`;
        pen = "L";
        points += 1;
        alone = i;
      });
      if (points === 1) make("circle", { cx: this.x(kimg[alone]), cy: this.y(values[alone]), r: 3, style: `fill: ${color}` }, this.svg);
      else make("path", { d, class: kind, style: `stroke: ${color}` }, this.svg);
    }

    point(x) { readAll(this.kimg(x)); }

    // Values at the moment nearest to `kimg`; without one, the last ones.
    show(kimg) {
      this.read = kimg;
      if (!this.mark) return;
      this.mark.replaceChildren();
      let place = null;
      for (const series of this.series) {
        const i = kimg === null ? series.kimg.length - 1 : nearest(series.kimg, kimg);
        series.last.textContent = said(series.line[i]);
        if (kimg === null || !series.shown) continue;
        place = series.kimg[i];
        const value = series.line[i];
        if (value !== null && Number.isFinite(this.y(value))) {
          make("circle", { cx: this.x(place), cy: this.y(value), r: 3, style: `fill: ${series.color}` }, this.mark);
        }
      }
      if (place === null) return;
      const x = this.x(place);
      make("line", { class: "rule", x1: x, x2: x, y1: TOP, y2: this.height - BOTTOM }, this.mark);
      const right = x > this.svg.getBoundingClientRect().width / 2;
      make("text", { x: x + (right ? -5 : 5), y: TOP + 8, "text-anchor": right ? "end" : "start" }, this.mark, `kimg ${said(place)}`);
    }
  }

  const nearest = (sorted, wanted) => {
    let low = 0, high = sorted.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < wanted) low = middle + 1;
      else high = middle;
    }
    return low > 0 && wanted - sorted[low - 1] < sorted[low] - wanted ? low - 1 : low;
  };
  const readAll = (kimg) => drawn.forEach((chart) => chart.show(kimg));
  const drawAll = () => drawn.forEach((chart) => chart.draw());

  const place = document.getElementById("charts");
  let section = "", grid = null;
  for (const chart of JSON.parse(source.textContent)) {
    if (chart.section !== section) {
      section = chart.section;
      html("h3", "", place, section);
      grid = html("div", "charts", place);
    }
    drawn.push(new Chart(chart, grid));
  }
  const smooth = document.getElementById("smooth"), log = document.getElementById("log");
  // What was chosen lasts when the page is loaded anew; a browser may forbid to remember it.
  const memory = (act) => { try { return act(sessionStorage); } catch { return null; } };
  const before = memory((storage) => JSON.parse(storage.getItem(document.title)));
  if (before) [smooth.value, log.checked] = before;
  const changed = () => {
    memory((storage) => storage.setItem(document.title, JSON.stringify([smooth.value, log.checked])));
    options.smooth = +smooth.value;
    options.log = log.checked;
    document.getElementById("smoothed").textContent = options.smooth;
    drawAll();
  };
  smooth.addEventListener("input", changed);
  log.addEventListener("change", changed);
  new ResizeObserver(drawAll).observe(place);
  changed();
})();
