// Points of which a reader chooses some: by a click, by a line around them, by the legend, or by keys.
for (const figure of document.querySelectorAll(".scatter")) {
  const NAMES = 300, NEAR = 24;
  const sheet = figure.querySelector("svg"), chosen = figure.querySelector(".chosen");
  const points = [...sheet.querySelectorAll("circle")];
  const places = points.map((point) => [Number(point.getAttribute("cx")), Number(point.getAttribute("cy"))]);
  const pictures = new Map();
  for (const one of document.querySelectorAll("figure[data-key]")) {
    if (!pictures.has(one.dataset.key)) pictures.set(one.dataset.key, one.querySelector("img"));
  }
  const nameOf = (i) => points[i].dataset.name;
  const element = (name, text = "") => {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
  };
  for (const point of points) {
    const title = document.createElementNS(sheet.namespaceURI, "title");
    title.textContent = point.dataset.name;
    point.append(title);
  }
  const named = (i) => {
    const one = element("li", nameOf(i));
    one.dataset.key = points[i].dataset.key;
    return one;
  };

  const show = (some) => {
    points.forEach((point, i) => point.classList.toggle("on", some.has(i)));
    sheet.classList.toggle("some", some.size > 0);
    chosen.replaceChildren();
    if (!some.size) return;
    const order = [...some].sort((a, b) => a - b);
    const seen = order.filter((i) => pictures.has(points[i].dataset.key));
    const unseen = order.filter((i) => !pictures.has(points[i].dataset.key));
    const count = `${some.size} picture${some.size === 1 ? "" : "s"}`;
    chosen.append(element("p", seen.length && unseen.length ? `${count}, ${seen.length} of them shown` : count));
    const thumbs = element("div");
    thumbs.className = "figures small";
    for (const i of seen) {
      const one = element("figure"), image = pictures.get(points[i].dataset.key).cloneNode();
      one.dataset.key = points[i].dataset.key;
      one.append(image, element("figcaption", nameOf(i)));
      thumbs.append(one);
    }
    const names = element("ul");
    names.tabIndex = 0;
    names.append(...unseen.slice(0, NAMES).map(named));
    if (unseen.length > NAMES) names.append(element("li", `and ${unseen.length - NAMES} more`));
    if (seen.length) chosen.append(thumbs);
    if (unseen.length) chosen.append(names);
  };

  let some = new Set(), at = -1;
  const choose = (wanted) => { some = new Set(wanted); show(some); };
  const placeOf = (event) => {
    const there = new DOMPoint(event.clientX, event.clientY).matrixTransform(sheet.getScreenCTM().inverse());
    return [there.x, there.y];
  };
  const nearest = ([x, y], most) => {
    let best = -1, least = most;
    places.forEach(([a, b], i) => {
      const far = Math.hypot(a - x, b - y);
      if (far <= least) [best, least] = [i, far];
    });
    return best;
  };
  // A point is inside where a ray from it crosses the line an odd number of times.
  const inside = ([x, y], line) => line.reduce((odd, [a, b], i) => {
    const [c, d] = line[(i + 1) % line.length];
    return (b > y) !== (d > y) && x < (c - a) * (y - b) / (d - b) + a ? !odd : odd;
  }, false);

  let line = null, drawn = null;
  const stop = () => { if (drawn) drawn.remove(); line = drawn = null; };
  sheet.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    stop();
    line = [placeOf(event)];
    sheet.setPointerCapture(event.pointerId);
  });
  sheet.addEventListener("pointermove", (event) => {
    if (!line) return;
    line.push(placeOf(event));
    const [x, y] = line[0], [a, b] = line[line.length - 1];
    if (!drawn && Math.hypot(a - x, b - y) > 6) {
      drawn = document.createElementNS(sheet.namespaceURI, "polygon");
      sheet.append(drawn);
    }
    if (drawn) drawn.setAttribute("points", line.map((place) => place.join(",")).join(" "));
  });
  sheet.addEventListener("pointerup", (event) => {
    if (!line) return;
    if (drawn) choose([...points.keys()].filter((i) => inside(places[i], line)));
    else {
      const one = nearest(placeOf(event), NEAR);
      const more = event.shiftKey && one >= 0 ? [...some, one] : [one].filter((i) => i >= 0);
      choose(more);
    }
    stop();
  });
  sheet.addEventListener("pointercancel", stop);

  const go = (i) => {
    if (at >= 0) points[at].classList.remove("at");
    at = i;
    if (at >= 0) points[at].classList.add("at");
    sheet.setAttribute("aria-description", at >= 0 ? nameOf(at) : "");
  };
  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  sheet.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (event.key === "Escape") choose([]);
    else if (event.key === "Enter" || event.key === " ") {
      if (at >= 0) choose(some.has(at) ? [...some].filter((i) => i !== at) : [...some, at]);
    } else if (step) {
      // The nearest one that way; what lies aside counts double.
      let best = -1, least = Infinity;
      const [x, y] = at < 0 ? [0, 0] : places[at];
      places.forEach(([a, b], i) => {
        const ahead = (a - x) * step[0] + (b - y) * step[1], aside = Math.abs((a - x) * step[1]) + Math.abs((b - y) * step[0]);
        if (i !== at && (at < 0 || ahead > 0) && Math.abs(ahead) + 2 * aside < least) [best, least] = [i, Math.abs(ahead) + 2 * aside];
      });
      if (best >= 0) go(best);
    } else return;
    event.preventDefault();
  });
  sheet.addEventListener("blur", () => go(-1));

  for (const entry of figure.querySelectorAll(".legend [data-group]")) {
    const button = element("button"), mark = entry.querySelector("svg");
    button.type = "button";
    button.textContent = entry.textContent.trim();
    entry.replaceChildren(mark, " ", button);
    const mine = (i) => points[i].dataset.groups.split(" ").includes(entry.dataset.group);
    button.addEventListener("click", () => choose([...points.keys()].filter(mine)));
  }
  sheet.tabIndex = 0;
  sheet.setAttribute("role", "application");
  figure.classList.add("ready");
  figure.querySelector(".asked").hidden = false;
}
