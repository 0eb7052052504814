// Figures as people read them. Nothing here touches the page.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** 1536 as "1.5 KiB". */
export function bytes(number) {
  let value = Math.max(0, Number(number) || 0);
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${short(value, unit === 0)} ${UNITS[unit]}`;
}

function short(value, whole) {
  if (whole || value >= 100) return String(Math.round(value));
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** 1234567 as "1,234,567". */
export function count(number) {
  return Math.round(Number(number) || 0).toLocaleString("en");
}

/** 1234567 as "1.23 M". */
export function brief(number) {
  const value = Number(number) || 0;
  for (const [least, name] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (value >= least) return `${short(value / (name === "k" ? 1e3 : least), false)} ${name}`;
  }
  return value > 0 && value < 10 ? value.toFixed(1) : String(Math.round(value));
}

/** 0.00025 as "0.25 ms", 125 as "2 min 5 s". */
export function duration(seconds) {
  const value = Math.max(0, Number(seconds) || 0);
  if (value === 0) return "0 s";
  if (value < 0.9995) return `${short(value * 1000, false)} ms`;
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 120) return `${Math.round(value)} s`;
  const minutes = Math.floor(value / 60);
  if (minutes < 10) return `${minutes} min ${Math.round(value % 60)} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** How long before `now` something was, both in milliseconds. */
export function ago(then, now) {
  const seconds = Math.round((now - then) / 1000);
  return seconds < 2 ? "now" : `${duration(seconds)} ago`;
}

/** "1 topic", "3 topics". */
export function many(number, one, more) {
  return `${count(number)} ${number === 1 ? one : more ?? `${one}s`}`;
}
