/** Numbers for people. */

export const percent = (p) =>
  p === null || p === undefined ? "–" : p > 0 && p < 0.001 ? "< 0.1 %" : `${(100 * p).toFixed(p < 0.0995 || (p > 0.995 && p < 1) ? 1 : 0)} %`;

export const seconds = (s) => {
  if (s === null || s === undefined) return "";
  if (s < 0.1) return "0.1 s";
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 100) return `${Math.round(s)} s`;
  return s < 5400 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
};

export const passes = (n) => `${n >= 10000 ? n.toLocaleString("en") : Math.round(n)} ${Math.round(n) === 1 ? "pass" : "passes"}`;

export const number = (x) => {
  if (x === null || x === undefined) return "–";
  const size = Math.abs(x);
  return x === 0 ? "0" : size < 0.001 || size >= 1e5 ? x.toExponential(1) : Number(x.toPrecision(3)).toString();
};

export const share = (s) => `${Math.round(100 * s)} %`;
