/** The picture, large, with the map over it; in "Hide" it is painted on. */

import { html, useEffect, useRef } from "../vendor/preact-htm.js";
import { begin, dab, end, outline, paintKey } from "./brush.js";
import { COLOURS, drawLegend } from "./colour.js";
import { cross, MapView, moveCross, placeOf, Progress, shownAs, told } from "./map.js";
import { Settings } from "./settings.js";
import { explanation, methodOf, modelOf, lookOf, setLook, set, state } from "./state.js";
import { number, passes, seconds } from "./words.js";

const STEP = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function Stage() {
  const job = explanation();
  const one = job?.value;
  const { size } = modelOf(state.model);
  const hiding = state.tab === "hide";
  const reply = hiding && state.brush.reply;
  const source = reply ? reply.shown : shownAs(state.picture, state.model);
  const name = state.names[state.picture] || "the picture";
  const alt = `${name}, as ${state.model} sees it${one ? `, with ${one.title} for ${one.label}` : ""}`;
  const on = state.look.on && !(hiding && state.brush.painted);
  const down = (e) => {
    if (!hiding || e.button > 0) return;
    e.preventDefault();
    e.currentTarget.setPointerCapture(e.pointerId);
    begin(placeOf(e, e.currentTarget.querySelector(".layers")));
  };
  const move = (e) => {
    if (hiding && e.buttons && e.currentTarget.hasPointerCapture(e.pointerId))
      for (const one of e.getCoalescedEvents?.().length ? e.getCoalescedEvents() : [e]) dab(placeOf(one, e.currentTarget.querySelector(".layers")));
  };
  const key = (e) => {
    if (e.target !== e.currentTarget) return;
    const step = STEP[e.key];
    if (step) {
      const at = cross.at || { x: 0.5, y: 0.5 };
      const by = e.shiftKey ? 0.1 : 0.02;
      const inside = (v) => Math.min(Math.max(v, 0), 1);
      moveCross({ x: inside(at.x + by * step[0]), y: inside(at.y + by * step[1]) });
    } else if (e.key === "Escape") moveCross(null);
    else if (!(hiding && paintKey(e))) return;
    e.preventDefault();
  };
  return html`
    <div class=${`stage ${hiding ? "painting" : ""}`} role="group" tabindex="0" aria-describedby="how"
      aria-label=${hiding ? "Picture to paint on" : "Picture with its map"}
      onPointerDown=${down} onPointerMove=${move} onPointerUp=${end} onPointerCancel=${end} onKeyDown=${key}>
      <${MapView} source=${source} alt=${alt} map=${one?.map} size=${size} px=${480} look=${lookOf(state.method)} on=${on} readout=${false}>
        ${hiding && html`<canvas class="mask" ref=${outline} width=${size[1]} height=${size[0]} aria-hidden="true"></canvas>`}
      <//>
    </div>
    <p class="hidden" id="how">Arrow keys move the cross-hair, with Shift faster.${hiding ? " Space paints there; Control and Z takes the last stroke back." : ""}</p>
    <${Reading} map=${one?.map} />
    ${job?.status === "running" && html`<${Progress} job=${job} text=${`${methodOf(state.method).title} …`} />`}
    <${Caption} one=${one} job=${job} />
    <${Look} one=${one} />
    <${Settings} />
  `;
}

function Reading({ map }) {
  const text = useRef();
  const soon = useRef();
  useEffect(() => {
    const follow = (at) => {
      const words = at && map ? `here: ${told(map, at)} of the map` : "";
      text.current.firstChild.textContent = words;
      clearTimeout(soon.current);
      soon.current = setTimeout(() => text.current && (text.current.lastChild.textContent = words), 500);
    };
    follow(cross.at);
    cross.listeners.add(follow);
    return () => cross.listeners.delete(follow);
  }, [map]);
  return html`<div class="reading" ref=${text}><span aria-hidden="true"></span><span class="hidden" role="status"></span></div>`;
}

function Caption({ one, job }) {
  if (!one) return null;
  return html`<div class="caption">
    <b>${one.title}</b>${job.status === "running" && html`<span> so far</span>`}
    <span class="cost">${passes(one.passes)} · ${seconds(one.seconds)}</span>
    ${one.degenerate && html`<p class="note">${one.reason || "This map is empty."}</p>`}
    ${one.notes.map((n) => html`<p class="note">${n}</p>`)}
  </div>`;
}

function Look({ one }) {
  const legend = useRef();
  const { colours, opacity, threshold, signed, on } = lookOf(state.method);
  const both = signed && one?.map.low < 0;
  useEffect(() => {
    if (legend.current) drawLegend(legend.current, { colours }, both);
  }, [colours, both, !!one]);
  const slider = (label, name, max = 1) => html`<label>${label}
    <input type="range" min="0" max=${max} step="0.01" value=${state.look[name]} aria-valuetext=${`${Math.round(100 * state.look[name])} %`}
      onInput=${(e) => setLook({ [name]: Number(e.target.value) })} /></label>`;
  return html`<div class="look">
    ${one && html`<div class="legend" aria-hidden="true"><span>${both ? number(-Math.max(one.map.high, -one.map.low)) : number(Math.max(one.map.low, 0))}</span>
      <canvas ref=${legend} width="128" height="8"></canvas><span>${number(both ? Math.max(one.map.high, -one.map.low) : one.map.high)}</span></div>`}
    <label class="check"><input type="checkbox" checked=${on} onChange=${(e) => setLook({ on: e.target.checked })} /> Map</label>
    <label class="check"><input type="checkbox" checked=${signed} onChange=${(e) => setLook({ signed: e.target.checked })} /> For and against</label>
    <label>Colours <select value=${colours} onChange=${(e) => setLook({ colours: e.target.value })}>
      ${Object.entries(COLOURS).map(([name, title]) => html`<option value=${name}>${title}</option>`)}</select></label>
    ${slider("Strength", "opacity")}
    ${slider("Hide the lowest", "threshold", 0.99)}
  </div>`;
}
