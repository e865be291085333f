// Curves, from the JSON in the page.
(() => {
  const source = document.getElementById("data");
  if (!source) return;
  const LEFT = 48, RIGHT = 10, TOP = 8, BOTTOM = 22, COLORS = 8;
  const charts = [], options = { smooth: 0, log: false };

  const make = (name, attributes, parent, text = "") => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    node.textContent = text;
    parent.append(node);
    return node;
  };
  const html = (name, className, parent, text = "") => {
    const node = document.createElement(name);
    node.className = className;
    node.textContent = text;
    parent.append(node);
    return node;
  };
  const said = (value) => {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : String(+value.toPrecision(4));
  };

  // Exponential moving average, corrected for its start at 0 (Kingma and Ba 2015, section 3).
  const smoothed = (values) => {
    let sum = 0, weight = 0;
    return values.map((value) => {
      if (value === null) return null;
      sum = sum * options.smooth + value * (1 - options.smooth);
      weight = weight * options.smooth + 1 - options.smooth;
      return sum / weight;
    });
  };

  // Round numbers between two ends: 1, 2 or 5 times a power of ten apart; 1, 2 and 5 times powers of ten on a logarithmic scale.
  const ticks = (low, high, count) => {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high + step * 1e-6; i++) found.push(+(i * step).toPrecision(12));
    return found;
  };
  const logTicks = (low, high) => {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
      for (const factor of high / low < 1000 ? [1, 2, 5] : [1]) found.push(+(factor * 10 ** power).toPrecision(3));
    }
    const within = found.filter((tick) => tick >= low && tick <= high);
    return within.filter((_, i) => i % Math.ceil(within.length / 6) === 0);
  };
  const nearest = (kimg, wanted) => kimg.reduce((best, at, i) => (Math.abs(at - wanted) < Math.abs(kimg[best] - wanted) ? i : best), 0);

  class Chart {
    constructor(chart, place) {
      this.series = chart.series.map((series, i) => ({ ...series, color: `var(--c${i % COLORS})`, shown: true }));
      const box = html("div", "chart", place);
      html("small", "", html("h4", "", box, chart.title), chart.unit && ` ${chart.unit}`);
      this.svg = make("svg", { role: "img", "aria-label": `${chart.title} over kimg` }, box);
      const legend = html("div", "legend", box);
      for (const series of this.series) {
        const button = html("button", "", legend);
        button.type = "button";
        button.setAttribute("aria-pressed", true);
        html("i", "", button).style.background = series.color;
        html("span", "", button, series.label);
        series.value = html("b", "", button);
        button.addEventListener("click", () => {
          series.shown = !series.shown;
          button.setAttribute("aria-pressed", series.shown);
          this.draw();
        });
      }
      html("p", "", box, chart.healthy);
      this.svg.addEventListener("pointermove", (event) => {
        const kimg = this.kimg(event.clientX - this.svg.getBoundingClientRect().left);
        charts.forEach((each) => each.read(kimg));
      });
      this.svg.addEventListener("pointerleave", () => charts.forEach((each) => each.read(null)));
    }

    draw() {
      const { width, height } = this.svg.getBoundingClientRect();
      if (!width) return;
      this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.svg.replaceChildren();
      for (const series of this.series) series.line = smoothed(series.values);
      const shown = this.series.filter((series) => series.shown);
      const values = shown.flatMap((series) => series.values).filter((value) => value !== null);
      const log = options.log && values.some((value) => value > 0) && !values.some((value) => value < 0);
      const fit = log ? values.filter((value) => value > 0) : values;
      let low = fit.reduce((a, b) => Math.min(a, b), Infinity), high = fit.reduce((a, b) => Math.max(a, b), -Infinity);
      if (!fit.length) [low, high] = [0, 1];
      if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
      const kimg = this.series.flatMap((series) => series.kimg);
      const first = kimg.reduce((a, b) => Math.min(a, b)), last = kimg.reduce((a, b) => Math.max(a, b));
      const pad = log ? 0 : (high - low) * 0.06, scale = log ? Math.log : (value) => value;
      const bottom = scale(low) - pad, top = scale(high) + pad;
      this.x = (value) => LEFT + (first === last ? 0.5 : (value - first) / (last - first)) * (width - LEFT - RIGHT);
      this.kimg = (x) => first + ((x - LEFT) / (width - LEFT - RIGHT)) * (last - first);
      this.y = (value) => height - BOTTOM - ((scale(value) - bottom) / (top - bottom)) * (height - TOP - BOTTOM);
      for (const tick of log ? logTicks(low, high) : ticks(low - pad, high + pad, 4)) {
        make("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: this.y(tick), y2: this.y(tick) }, this.svg);
        make("text", { x: LEFT - 6, y: this.y(tick) + 4, "text-anchor": "end" }, this.svg, said(tick));
      }
      for (const tick of first === last ? [first] : ticks(first, last, Math.max(2, width / 60))) {
        make("text", { x: Math.min(this.x(tick), width - 16), y: height - 6, "text-anchor": "middle" }, this.svg, said(tick));
      }
      for (const series of shown) {
        if (options.smooth) this.path(series.kimg, series.values, series.color, "raw", log);
        this.path(series.kimg, series.line, series.color, "", log);
      }
      this.mark = make("g", {}, this.svg);
      this.read(null);
    }

    path(kimg, values, color, kind, log) {
      const at = values.map((value, i) => (value === null || (log && value <= 0) ? null : [this.x(kimg[i]).toFixed(1), this.y(value).toFixed(1)]));
      const points = at.filter((point) => point);
      if (points.length === 1) make("circle", { cx: points[0][0], cy: points[0][1], r: 3, style: `fill: ${color}` }, this.svg);
      const d = at.map((point, i) => (point ? `${at[i - 1] ? "L" : "M"}${point[0]} ${point[1]}` : "")).join("");
      make("path", { d, class: kind, style: `stroke: ${color}` }, this.svg);
    }

    // Show the values at the moment nearest to `kimg`; the last values if it is null.
    read(kimg) {
      if (!this.mark) return;
      this.mark.replaceChildren();
      let place = null;
      for (const series of this.series) {
        const i = kimg === null ? series.kimg.length - 1 : nearest(series.kimg, kimg);
        const value = series.line[i];
        series.value.textContent = said(value);
        if (kimg === null || !series.shown) continue;
        place = series.kimg[i];
        if (value !== null && Number.isFinite(this.y(value))) {
          make("circle", { cx: this.x(place), cy: this.y(value), r: 3, style: `fill: ${series.color}` }, this.mark);
        }
      }
      if (place === null) return;
      const x = this.x(place), { width, height } = this.svg.getBoundingClientRect(), right = x > width / 2;
      make("line", { class: "rule", x1: x, x2: x, y1: TOP, y2: height - BOTTOM }, this.mark);
      make("text", { x: x + (right ? -5 : 5), y: TOP + 8, "text-anchor": right ? "end" : "start" }, this.mark, `kimg ${said(place)}`);
    }
  }

  const place = document.getElementById("charts");
  let section = "", grid = null;
  for (const chart of JSON.parse(source.textContent)) {
    if (chart.section !== section) {
      section = chart.section;
      html("h3", "", place, section);
      grid = html("div", "charts", place);
    }
    charts.push(new Chart(chart, grid));
  }
  const smooth = document.getElementById("smooth"), log = document.getElementById("log");
  // The choices outlast a reload. A browser may forbid to remember them.
  const memory = (act) => { try { return act(sessionStorage); } catch { return null; } };
  const before = memory((storage) => JSON.parse(storage.getItem(document.title)));
  if (before) [smooth.value, log.checked] = before;
  const changed = () => {
    memory((storage) => storage.setItem(document.title, JSON.stringify([smooth.value, log.checked])));
    options.smooth = +smooth.value;
    options.log = log.checked;
    document.getElementById("smoothed").textContent = options.smooth;
    charts.forEach((chart) => chart.draw());
  };
  smooth.addEventListener("input", changed);
  log.addEventListener("change", changed);
  new ResizeObserver(() => charts.forEach((chart) => chart.draw())).observe(place);
  changed();
})();
