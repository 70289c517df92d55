/** A number that is taken when it is finished; until then what is typed stays, whatever else the page draws. */

import { html, useEffect, useRef } from "../vendor/preact-htm.js";

export function NumberField({ label, hidden, value, min, max, take }) {
  const field = useRef();
  useEffect(() => void (field.current.value = value), [value]);
  const finished = ({ target }) => {
    if (target.value !== "" && target.checkValidity()) take(Number(target.value));
    else target.value = value;
  };
  return html`<label><span class=${hidden ? "hidden" : ""}>${label}</span> <input type="number" min=${min} max=${max} ref=${field} onChange=${finished} /></label>`;
}
