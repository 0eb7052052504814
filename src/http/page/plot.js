// Small plots that move: one or two lines over the last minutes, ten at most.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 88;
// A broker that has just started fills its plots all the same.
const SPAN_MS = 600_000;
const LEAST_SPAN_MS = 60_000;
// A line is broken where samples are missing for longer.
const GAP_MS = 7_000;

function drawn(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function made(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** The next 1, 2 or 5 times a power of `base` scale that is not below. */
function ceiling(value, steps) {
  for (const step of steps) if (step >= value) return step;
  return value;
}

const BYTE_STEPS = [];
for (let unit = 1; unit <= 2 ** 50; unit *= 1024) {
  for (const step of [1, 2, 5, 10, 20, 50, 100, 200, 500]) BYTE_STEPS.push(step * unit);
}
const SECOND_STEPS = [];
for (let unit = 1e-4; unit < 1e4; unit *= 10) for (const step of [1, 2, 5]) SECOND_STEPS.push(step * unit);

/**
 * A plot titled `title` of `lines`, each `{ of, name }` with `of` a sample's value or null; `words`
 * puts a value into words, `kind` is "bytes" or "seconds".
 */
export class Plot {
  constructor(title, lines, words, kind) {
    this.lines = lines;
    this.words = words;
    this.title = title;
    this.steps = kind === "bytes" ? BYTE_STEPS : SECOND_STEPS;
    this.samples = [];
    this.element = made("figure", "plot");
    const head = made("div", "head");
    head.append(made("h3", "", title));
    this.now = made("span", "now", "–");
    head.append(this.now);
    this.svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    for (const y of [0.5, HEIGHT / 2, HEIGHT - 0.5]) {
      this.svg.append(drawn("line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y }));
    }
    this.area = drawn("path", { class: "area", d: "" });
    this.svg.append(this.area);
    this.paths = lines.map((_, at) => drawn("path", { class: at ? "line second" : "line", d: "" }));
    this.svg.append(...this.paths);
    this.cursor = drawn("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
    this.svg.append(this.cursor);
    const foot = made("figcaption", "foot");
    const left = made("span");
    if (lines.length > 1) {
      lines.forEach((line, at) => left.append(made("span", at ? "key second" : "key"), line.name));
    } else {
      this.from = left;
    }
    this.top = made("span");
    foot.append(left, this.top);
    this.element.append(head, this.svg, foot);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.unpoint());
  }

  /** Shows these samples, oldest first, up to `end` in milliseconds. */
  show(samples, end) {
    this.samples = samples;
    this.end = end;
    const known = samples.length ? end - samples[0].at_ms : 0;
    this.span = Math.min(SPAN_MS, Math.max(LEAST_SPAN_MS, known));
    let most = 0;
    for (const sample of samples) for (const { of } of this.lines) most = Math.max(most, of(sample) ?? 0);
    const top = most > 0 ? ceiling(most * 1.05, this.steps) : 0;
    const x = (sample) => WIDTH * (1 - (end - sample.at_ms) / this.span);
    const y = (value) => HEIGHT - 1 - (top > 0 ? (value / top) * (HEIGHT - 6) : 0);
    this.lines.forEach(({ of }, at) => {
      const stretches = [[]];
      let before = null;
      for (const sample of samples) {
        const value = of(sample);
        const gap = before !== null && sample.at_ms - before > GAP_MS;
        if ((value === null || gap) && stretches.at(-1).length) stretches.push([]);
        if (value !== null) stretches.at(-1).push(`${x(sample).toFixed(1)} ${y(value).toFixed(1)}`);
        before = sample.at_ms;
      }
      const whole = stretches.filter((stretch) => stretch.length);
      // A point alone is a short line, or nobody would see it.
      const line = (stretch) => `M${stretch.join("L")}${stretch.length === 1 ? "h.5" : ""}`;
      this.paths[at].setAttribute("d", whole.map(line).join(""));
      if (at === 0 && this.lines.length === 1) {
        const foot = (point) => `${point.split(" ")[0]} ${HEIGHT}`;
        const area = (stretch) => `M${foot(stretch[0])}L${stretch.join("L")}L${foot(stretch.at(-1))}Z`;
        this.area.setAttribute("d", whole.map(area).join(""));
      }
    });
    this.top.textContent = top > 0 ? `up to ${this.words(top)}` : "";
    const minutes = Math.round(this.span / 60_000);
    if (this.from) this.from.textContent = `${minutes} min ago`;
    if (!this.pointed) this.tell(samples.at(-1));
    this.svg.setAttribute("aria-label", `${this.title}, now ${this.now.textContent}, at most ${this.words(most)} in the last ten minutes`);
  }

  tell(sample, more = "") {
    const values = sample ? this.lines.map(({ of }) => of(sample)) : [];
    const told = values.map((value) => (value === null || value === undefined ? "–" : this.words(value)));
    this.now.textContent = told.length ? told.join(" · ") + more : "–";
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const at = this.end - this.span * (1 - (event.clientX - box.left) / box.width);
    let nearest = null;
    for (const sample of this.samples) {
      if (!nearest || Math.abs(sample.at_ms - at) < Math.abs(nearest.at_ms - at)) nearest = sample;
    }
    if (!nearest) return;
    this.pointed = true;
    const x = WIDTH * (1 - (this.end - nearest.at_ms) / this.span);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.cursor.setAttribute("visibility", "visible");
    const seconds = Math.round((this.end - nearest.at_ms) / 1000);
    this.tell(nearest, seconds > 1 ? `, ${seconds} s ago` : "");
  }

  unpoint() {
    this.pointed = false;
    this.cursor.setAttribute("visibility", "hidden");
    this.tell(this.samples.at(-1));
  }
}
