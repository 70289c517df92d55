/** The picture, large, with the map over it; in "Hide" it is painted on. */

import { html } from "../vendor/preact-htm.js";
import { begin, dab, end, outline, paintKey } from "./brush.js";
import { cross, MapView, Progress, shownAs } from "./map.js";
import { Settings } from "./settings.js";
import { explanation, methodOf, modelOf, lookOf, setLook, state } from "./state.js";
import { Caption, Look, moveByKey, placeOf, Reading } from "./viewer.js";

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
    if (!moveByKey(e, cross) && !(hiding && paintKey(e))) return;
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
    <${Reading} map=${one?.map} shared=${cross} />
    ${job?.status === "running" && html`<${Progress} job=${job} text=${`${methodOf(state.method).title} …`} />`}
    ${one && html`<${Caption} one=${one}>${job.status === "running" && html`<span> so far</span>`}<//>`}
    <${Look} map=${one?.map} look=${lookOf(state.method)} onLook=${setLook} />
    <${Settings} />
  `;
}
