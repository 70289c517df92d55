/** Deletion and insertion, drawn by uPlot, with a line at the slider's area. */

import { html, useEffect, useRef } from "../vendor/preact-htm.js";
import { Progress } from "./map.js";
import { about, ask, changed, known, state } from "./state.js";
import { number } from "./words.js";

const BLUE = "#3b76c4";
const ORANGE = "#d9730d";

export function Curves({ one }) {
  const { fill, area } = state.brush;
  if (!one?.final) return null;
  const body = { ...about(one), fill: fill === "inpaint" ? "blur" : fill }; // one fill for all steps
  const job = known("curves", body);
  const said = job?.value;
  const start = () => (ask("curves", body, true), changed());
  return html`<div class="curves">
    ${fill === "inpaint" && html`<p class="note">The curves hide by blur: what is inpainted looks like something else at every step.</p>`}
    ${!job || ["failed", "stopped"].includes(job.status) ? html`<button onClick=${start}>Draw the curves</button>` : null}
    ${job?.status === "failed" && html`<p class="note">${job.error}</p>`}
    ${job?.status === "running" && html`<${Progress} job=${job} text="Hiding and showing step by step …" />`}
    ${said && html`<${Plot} said=${said} area=${area} />
      <table><caption>Area under the curves</caption><thead><tr><th scope="col"></th><th scope="col">this map</th><th scope="col">random map</th></tr></thead><tbody>
        <tr><th scope="row">deletion (lower is better)</th><td>${number(said.deletion_area)}</td><td>${number(said.random_deletion_area)}</td></tr>
        <tr><th scope="row">insertion (higher is better)</th><td>${number(said.insertion_area)}</td><td>${number(said.random_insertion_area)}</td></tr>
      </tbody></table>`}
  </div>`;
}

function Plot({ said, area }) {
  const place = useRef();
  const plot = useRef();
  const at = useRef(area);
  at.current = area;
  useEffect(() => {
    const ink = getComputedStyle(place.current).color;
    const axis = { stroke: ink, grid: { stroke: "#8883", width: 1 }, ticks: { stroke: "#8883", width: 1 } };
    const line = (u) => {
      const x = Math.round(u.valToPos(at.current, "x", true));
      u.ctx.save();
      u.ctx.strokeStyle = ink;
      u.ctx.setLineDash([4, 4]);
      u.ctx.beginPath();
      u.ctx.moveTo(x, u.bbox.top);
      u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
      u.ctx.stroke();
      u.ctx.restore();
    };
    const made = new window.uPlot(
      {
        width: place.current.clientWidth || 320,
        height: 220,
        scales: { x: { time: false, range: [0, 1] }, y: { range: [0, 1] } },
        axes: [{ ...axis, values: (_, v) => v.map((x) => `${Math.round(100 * x)} %`) }, { ...axis, values: (_, v) => v.map((y) => `${Math.round(100 * y)} %`), size: 52 }],
        series: [
          { label: "area", value: (_, v) => (v === null ? "–" : `${Math.round(100 * v)} %`) },
          { label: "deletion", stroke: BLUE, width: 2, value: (_, v) => number(v) },
          { label: "insertion", stroke: ORANGE, width: 2, value: (_, v) => number(v) },
        ],
        hooks: { draw: [line] },
      },
      [said.steps, said.deletion, said.insertion],
      place.current,
    );
    plot.current = made;
    const fit = new ResizeObserver(() => made.setSize({ width: place.current?.clientWidth || 320, height: 220 }));
    fit.observe(place.current);
    return () => (fit.disconnect(), made.destroy());
  }, [said]);
  useEffect(() => plot.current?.redraw(false), [area]);
  return html`<div class="plot" ref=${place} role="img" aria-label=${`Probability while parts are hidden (deletion) and shown (insertion), areas ${number(said.deletion_area)} and ${number(said.insertion_area)}`}></div>`;
}
