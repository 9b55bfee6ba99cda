/**
 * The script of all reports. It draws the plots with uPlot (inlined before it) in the page's colors. It redraws them when the page's width or
 * the system's color scheme changes.
 */
export const script = `
"use strict";
(() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const font = () => "12px " + getComputedStyle(document.body).fontFamily;
  const axis = (more) => ({
    stroke: () => css("soft"), font: font(), grid: { stroke: () => css("line"), width: 1 }, ticks: { show: false }, ...more,
  });
  const number = (value) => {
    const size = Math.abs(value);
    return size !== 0 && (size >= 1e6 || size < 1e-3) ? value.toExponential(2).replace(/\\.?0*e\\+?/, "e") : String(+value.toPrecision(4));
  };
  const short = (value) => {
    const [divisor, unit] = Math.abs(value) >= 1e6 ? [1e6, "M"] : Math.abs(value) >= 1e4 ? [1e3, "k"] : [1, ""];
    return number(value / divisor) + unit;
  };
  // Returns the exponential moving average of values, divided by the sum of its weights to correct the bias at the start.
  const smooth = (values, weight) => {
    let mean = null, norm = 0, sum = 0;
    return values.map((value) => {
      if (value === null) return null;
      sum = sum * weight + value; norm = norm * weight + 1; mean = sum / norm;
      return mean;
    });
  };
  // Returns the point of a curve that is nearest to a step, by binary search.
  const nearest = ({ points }, step) => {
    let low = 0, high = points.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < step) low = middle + 1; else high = middle;
    }
    const before = points[low - 1];
    return before && step - before[0] < points[low][0] - step ? before : points[low];
  };
  const curves = ({ curves, range }, place) => {
    const series = [{}], bands = [], tables = [];
    const known = curves.flatMap(({ points }) => points.flatMap((point) => point.slice(1).filter((value) => value !== null)));
    let [low, high] = range ?? [0, 0];
    if (!range) for (const value of known) { low = Math.min(low, value); high = Math.max(high, value * 1.04); }
    const isCrowded = curves.length > 2; // single steps of many runs hide each other
    const isNoisy = ({ points, dashed, exact }) => points.length > 30 && !dashed && !exact;
    for (const curve of curves) {
      const { color, points, dashed } = curve;
      const stroke = (more) => () => css(color) + more;
      const steps = points.map((p) => p[0]), means = points.map((p) => p[1]);
      const table = [steps];
      if (!isCrowded && points.some((p) => p.length > 2)) {
        // For points of several steps, draw a band from the smallest value to the largest.
        bands.push({ series: [series.length, series.length + 1], fill: stroke("22") });
        for (const i of [3, 2]) {
          table.push(points.map((p) => p[i] ?? p[1]));
          series.push({ stroke: "transparent", width: 0, points: { show: false } });
        }
      }
      if (!isCrowded && isNoisy(curve)) {
        table.push(means);
        series.push({ stroke: stroke("55"), width: 1, points: { show: false } });
      }
      table.push(smooth(means, isNoisy(curve) ? 0.8 : 0));
      series.push({ stroke: stroke(""), width: 2, dash: dashed ? [5, 4] : undefined, points: { show: points.length < (dashed ? 40 : 3), size: 6, fill: stroke("") } });
      tables.push(table);
    }
    const reading = place.nextElementSibling;
    const read = (u) => {
      const { idx } = u.cursor;
      const step = typeof idx === "number" ? u.data[0][idx] : undefined;
      reading.textContent = step === undefined ? "" : "step " + step.toLocaleString("en") + ": " + curves.flatMap((curve) => {
        const point = nearest(curve, step);
        return point ? [(curve.label + " " + (point[1] === null ? "not a number" : number(point[1]))).trim()] : [];
      }).join(", ");
    };
    return [{
      width: place.clientWidth, height: 210, padding: [8, 16, 0, 0], legend: { show: false }, bands,
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: { x: { time: false }, y: { range: [low, high > low ? high : low + 1] } },
      axes: [axis({ size: 28, values: (u, ticks) => ticks.map((t) => (Number.isInteger(t) ? short(t) : "")) }),
        axis({ size: 58, values: (u, ticks) => ticks.map(short) })],
      series, hooks: { setCursor: [read] },
    }, uPlot.join(tables)];
  };
  // Moves the cursor along the curves with the keys.
  const listen = (place, plot) => {
    let at;
    place.addEventListener("keydown", (event) => {
      const u = plot(), last = u.data[0].length - 1;
      const from = at ?? (typeof u.cursor.idx === "number" ? u.cursor.idx : -1), far = event.shiftKey ? 10 : 1;
      const next = { ArrowLeft: from - far, ArrowRight: from + far, Home: 0, End: last }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      at = Math.max(0, Math.min(last, next));
      u.setCursor({ left: u.valToPos(u.data[0][at], "x"), top: 1 });
    });
    place.addEventListener("pointermove", () => { at = undefined; });
    place.addEventListener("blur", () => { at = undefined; plot().setCursor({ left: -10, top: -10 }); });
  };
  const reliability = ({ color, bins }, place) => {
    const width = place.clientWidth;
    const most = Math.max(...bins.map((bin) => bin.count));
    const middle = bins.map((bin) => (bin.from + bin.to) / 2);
    const diagonal = (u) => {
      const { ctx } = u;
      ctx.save();
      ctx.strokeStyle = css("soft"); ctx.lineWidth = devicePixelRatio; ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(u.valToPos(0, "x", true), u.valToPos(0, "y", true));
      ctx.lineTo(u.valToPos(1, "x", true), u.valToPos(1, "y", true));
      ctx.stroke();
      // For each bin, draw its distance from the diagonal, and a dot whose size grows with its number of answers.
      ctx.setLineDash([]);
      for (const bin of bins) {
        if (bin.count === 0) continue;
        const x = u.valToPos(bin.confidence, "x", true), r = (2 + 7 * Math.sqrt(bin.count / most)) * devicePixelRatio;
        const right = u.valToPos(bin.accuracy, "y", true);
        ctx.strokeStyle = css("bad"); ctx.lineWidth = 1.5 * devicePixelRatio;
        ctx.beginPath(); ctx.moveTo(x, u.valToPos(bin.confidence, "y", true)); ctx.lineTo(x, right); ctx.stroke();
        ctx.fillStyle = css(color); ctx.strokeStyle = css("card");
        ctx.beginPath(); ctx.arc(x, right, r, 0, 2 * Math.PI); ctx.fill(); ctx.stroke();
      }
      ctx.restore();
    };
    const percent = (u, ticks) => ticks.map((t) => Math.round(100 * t) + " %");
    return [{
      width, height: Math.min(width, 330), padding: [12, 22, 0, 0], legend: { show: false }, cursor: { show: false },
      scales: { x: { time: false, range: [0, 1] }, y: { range: [0, 1] } },
      axes: [axis({ size: 28, values: percent, label: "how sure", labelSize: 18, labelFont: font(), space: 60 }),
        axis({ size: 46, values: percent, label: "how often right", labelSize: 18, labelFont: font() })],
      series: [{}, { fill: () => css(color) + "30", stroke: () => css(color) + "60", width: 1, points: { show: false },
        paths: uPlot.paths.bars({ size: [0.96, 200] }) }],
      hooks: { draw: [diagonal] },
    }, [middle, bins.map((bin) => (bin.count > 0 ? bin.accuracy : null))]];
  };
  const kinds = { curves, reliability };
  for (const place of document.querySelectorAll("[data-chart]")) {
    const data = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    let plot;
    const draw = () => {
      const [options, values] = kinds[data.kind](data, place);
      plot?.destroy();
      plot = new uPlot(options, values, place);
      place.dataset.drawn = "";
    };
    if (data.kind === "curves") listen(place, () => plot);
    let width = 0;
    new ResizeObserver(() => {
      if (place.clientWidth === width || place.clientWidth === 0) return;
      width = place.clientWidth;
      requestAnimationFrame(draw); // drawing changes the height, which the browser reports as a loop if it happens in this callback
    }).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }
})();
`;
