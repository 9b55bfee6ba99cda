/**
 * The report's script. It draws the plots with uPlot (inlined before it) in the page's colours. It redraws them when the page's width or
 * the system's colour scheme changes.
 */
export const script = `
"use strict";
(() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const font = () => "12px " + getComputedStyle(document.body).fontFamily;
  const axis = (more) => ({
    stroke: () => css("soft"), font: font(), grid: { stroke: () => css("line"), width: 1 }, ticks: { show: false }, ...more,
  });
  const smooth = (values, weight) => {
    let mean = values[0], norm = 0, sum = 0;
    return values.map((value) => { sum = sum * weight + value; norm = norm * weight + 1; mean = sum / norm; return mean; });
  };
  const loss = ({ stage, points }, width) => {
    const steps = points.map((p) => p[0]), values = points.map((p) => p[1]);
    const sorted = [...values].sort((a, b) => a - b);
    const low = Math.min(0, sorted[0]), high = sorted[sorted.length - 1];
    return [{
      width, height: 210, padding: [8, 16, 0, 0], legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: { x: { time: false }, y: { range: [low, high * 1.04 || 1] } },
      axes: [axis({ size: 28, values: (u, ticks) => ticks.map((t) => (Number.isInteger(t) ? t : "")) }), axis({ size: 54 })],
      series: [{}, { stroke: () => css(stage) + "55", width: 1, points: { show: false } },
        { stroke: () => css(stage), width: 2, points: { show: points.length < 3 } }],
    }, [steps, values, smooth(values, points.length > 30 ? 0.8 : 0)]];
  };
  const reliability = ({ stage, bins }, width) => {
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
      // How far each group is from the diagonal, and how many answers it has.
      ctx.setLineDash([]);
      for (const bin of bins) {
        if (bin.count === 0) continue;
        const x = u.valToPos(bin.confidence, "x", true), r = (2 + 7 * Math.sqrt(bin.count / most)) * devicePixelRatio;
        const right = u.valToPos(bin.accuracy, "y", true);
        ctx.strokeStyle = css("bad"); ctx.lineWidth = 1.5 * devicePixelRatio;
        ctx.beginPath(); ctx.moveTo(x, u.valToPos(bin.confidence, "y", true)); ctx.lineTo(x, right); ctx.stroke();
        ctx.fillStyle = css(stage); ctx.strokeStyle = css("card");
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
      series: [{}, { fill: () => css(stage) + "30", stroke: () => css(stage) + "60", width: 1, points: { show: false },
        paths: uPlot.paths.bars({ size: [0.96, 200] }) }],
      hooks: { draw: [diagonal] },
    }, [middle, bins.map((bin) => (bin.count > 0 ? bin.accuracy : null))]];
  };
  const kinds = { loss, reliability };
  const drawn = [];
  for (const place of document.querySelectorAll("[data-chart]")) {
    const data = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    const draw = () => {
      const [options, values] = kinds[data.kind](data, place.clientWidth);
      place.replaceChildren();
      drawn.push(new uPlot(options, values, place));
      place.dataset.drawn = "";
    };
    let width = 0;
    new ResizeObserver(() => {
      if (place.clientWidth === width || place.clientWidth === 0) return;
      width = place.clientWidth;
      requestAnimationFrame(draw); // drawn here, the page would change its height while the observers are told of it
    }).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }
})();
`;
