/** The permanent address: all that is asked stands in the fragment. */

import { methodOf, modelOf, optionsOf, secondOf, set, state } from "./state.js";

const TABS = ["run", "inspection", "methods", "hide", "layers", "trust", "two"];

/** The tab that is open at first. */
export const home = () => (["run", "inspection"].find((name) => state.start[name]) || "methods");

export function write() {
  const parts = new URLSearchParams({ picture: state.picture, model: state.model, method: state.method });
  const { class: index, against, kind } = state.target;
  if (index !== null) parts.set("class", index);
  if (against !== null) parts.set("against", against);
  if (against !== null) parts.set("kind", kind);
  if (state.tab !== home()) parts.set("tab", state.tab);
  if (state.tab === "two" && secondOf()) parts.set("second", secondOf());
  for (const [name, value] of Object.entries(optionsOf(state.method))) parts.set(`o.${name}`, JSON.stringify(value));
  const fragment = `#${parts}`;
  if (fragment !== location.hash) history.replaceState(null, "", fragment);
}

/** Takes what the fragment says and there is. */
export function read() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const number = (name) => (/^\d+$/.test(parts.get(name) ?? "") ? Number(parts.get(name)) : null);
  const patch = { target: { class: number("class"), against: number("against"), kind: parts.get("kind") === "finer" ? "finer" : "margin" } };
  if (parts.get("picture")) patch.picture = parts.get("picture");
  if (modelOf(parts.get("model"))) patch.model = parts.get("model");
  if (modelOf(parts.get("second"))) patch.second = parts.get("second");
  if (methodOf(parts.get("method"))) patch.method = parts.get("method");
  if (TABS.includes(parts.get("tab")) && (!["run", "inspection"].includes(parts.get("tab")) || state.start[parts.get("tab")])) patch.tab = parts.get("tab");
  const options = {};
  for (const [name, value] of parts) if (name.startsWith("o.")) options[name.slice(2)] = parsed(value);
  if (location.hash.length > 1) patch.options = { ...state.options, [patch.method || state.method]: options };
  set(patch);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
