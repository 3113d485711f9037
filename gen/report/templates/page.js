// What the page does: draws plots once they come into view, sorts and filters tables, copies commands.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const OKABE_ITO = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];
const SWAPPED = { "#0072b2": "#56b4e9", "#56b4e9": "#0072b2" }; // in the dark the light blue comes first
const ON_PAPER = { "--ink": "#000000", "--soft": "#444444", "--line": "#bbbbbb", "--paper": "#ffffff", "--panel": "#ffffff" };
const PAPER = 680; // pixels: the width of A4 and of Letter within their margins, less a little
let printing = false; // while plots are drawn for paper, which is white and narrow whatever the window is
const shade = (value) => (dark.matches && !printing && SWAPPED[value]) || value;
const color = (name) => (printing && ON_PAPER[name]) || getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Plotly is in the page as text, compressed; it is unpacked when the first plot comes into view.
let library = null;
function plotly() {
  library ??= (async () => {
    const bytes = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const text = await new Response(unpacked).text();
    const script = document.createElement("script");
    script.src = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    await new Promise((done, failed) => {
      script.onload = done;
      script.onerror = () => failed(new Error("Plotly's library could not be read"));
      document.head.append(script);
    });
    return window.Plotly;
  })();
  return library;
}

function template() {
  const axis = { gridcolor: color("--line"), linecolor: color("--line"), zerolinecolor: color("--line"), automargin: true };
  return {
    layout: {
      colorway: OKABE_ITO.map(shade), font: { color: color("--ink"), family: "system-ui, sans-serif", size: 13 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: axis, yaxis: axis, hovermode: "closest",
      hoverlabel: { bgcolor: color("--panel"), font: { color: color("--ink") } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: color("--soft"), activecolor: color("--ink") },
      legend: { orientation: "h", yanchor: "bottom", y: 1.02, x: 0 }, margin: { l: 60, r: 16, t: 30, b: 50 },
      updatemenudefaults: { bgcolor: color("--panel"), bordercolor: color("--line"), font: { color: color("--ink") } },
    },
  };
}

// Colours of figures that stand for those of the page, which follow light and dark: see section.py.
const NAMED = { "#010101": "--ink", "#020202": "--soft", "#030303": "--paper" };
function themed(value, key = "") {
  if (typeof value === "string") return !key.endsWith("color") ? value : value in NAMED ? color(NAMED[value]) : shade(value);
  if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map((one) => themed(one, key));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, themed(one, name)]));
  return value;
}

const read = (id) => JSON.parse(document.getElementById(id).textContent);

// Learning curves: those of the metric that is chosen, smoothed as the reader asks, which the line beside it says.
const STATES = { finished: [0, "circle"], running: [2, "triangle-right"], stopped: [1, "x"], failed: [5, "square"], unfinished: [3, "triangle-right"] };
function mean(values, reach) {
  return values.map((_, place) => {
    const near = values.slice(Math.max(place - reach, 0), place + reach + 1);
    return near.reduce((sum, one) => sum + one, 0) / near.length;
  });
}
function plain(text) { return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;"); }
function addCurves(figure, tools) {
  const { runs, names } = read(`data-${tools.dataset.curves}`);
  const metric = tools.querySelector("[name=metric]").value, reach = Number(tools.querySelector("[name=smooth]").value);
  const log = tools.querySelector("[name=log]").checked, told = new Set();
  figure.data = names[metric].map(([run, x, y]) => {
    const status = runs.status[run], [color, symbol] = STATES[status] ?? STATES.unfinished;
    const first = !told.has(status);
    told.add(status);
    const rank = runs.rank[run] ? `, ${runs.rank[run]}. of all` : "";
    const why = runs.why[run] ? `<br>${plain(runs.why[run]).slice(0, 120)}` : "";
    return {
      x, y: reach ? mean(y, reach) : y, name: status, legendgroup: status, showlegend: first, mode: "lines+markers",
      line: { color: OKABE_ITO[color], width: runs.rank[run] === 1 ? 4 : 1.5 }, opacity: status === "stopped" ? 0.65 : 0.9,
      marker: { color: OKABE_ITO[color], symbol, size: x.map((_, place) => (place === x.length - 1 ? 9 : 0)) },
      hovertemplate: `%{y:.4g} at epoch %{x}<br>run ${plain(runs.run[run])}, ${status}${rank}${why}<extra></extra>`,
    };
  });
  figure.layout.yaxis = { title: { text: plain(metric) }, type: log ? "log" : "linear" };
  document.getElementById(`${tools.dataset.curves}-told`).textContent =
    reach ? `Smoothed: each point is the mean of up to ${2 * reach + 1} drawn ticks around it.` : "Not smoothed.";
  const place = document.querySelector(`[data-figure="${tools.dataset.curves}"]`);
  place.setAttribute("aria-label", `${metric} by epoch of ${names[metric].length} runs${reach ? ", smoothed" : ""}`);
}
function redraw(place) { delete place.dataset.drawn; draw(place); }

async function draw(place) {
  if (place.dataset.drawn) return;
  place.dataset.drawn = "waits";
  try {
    const found = read(`figure-${place.dataset.figure}`);
    const tools = document.querySelector(`[data-curves="${place.dataset.figure}"]`);
    if (tools) addCurves(found, tools);
    const Plotly = window.Plotly ?? await plotly();
    const layout = { ...themed(found.layout), template: template(), autosize: true, ...(printing && { autosize: false, width: PAPER }) };
    await Plotly.react(place, themed(found.data), layout, {
      displaylogo: false, responsive: true, displayModeBar: place.clientWidth > 500 ? "hover" : false,
      modeBarButtonsToRemove: ["sendChartToCloud", "sendDataToCloud", "lasso2d", "select2d", "autoScale2d"],
    });
    place.dataset.drawn = "yes";
  } catch (error) {
    place.textContent = `This plot could not be drawn: ${error.message}`;
    place.dataset.drawn = "no";
    console.error(error);
  }
}

const plots = () => [...document.querySelectorAll(".plot")];
const seen = new IntersectionObserver(
  (entries) => entries.filter((one) => one.isIntersecting).forEach((one) => { seen.unobserve(one.target); draw(one.target); }),
  { rootMargin: "300px" },
);
function drawAgain() {
  plots().filter((one) => one.dataset.drawn === "yes").forEach(redraw);
}
dark.addEventListener("change", drawAgain);

// Paper: while the browser prints it waits for nothing, so the library is unpacked once the page is idle, and then all
// plots can be drawn at once, in the colours and the width of paper. Who prints before has the plots' words in their place.
addEventListener("beforeprint", () => { printing = true; plots().forEach(redraw); });
addEventListener("afterprint", () => { printing = false; drawAgain(); });
addEventListener("keydown", async (event) => {
  if (window.Plotly || !plots().length || event.key !== "p" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  await plotly();
  print();
});
addEventListener("load", () => { if (plots().length) (window.requestIdleCallback ?? setTimeout)(() => plotly().catch(console.error)); });

// Tables: a click on a heading sorts, text in the box filters; rows without a value come last.
function key(cell) {
  const text = cell.dataset.value ?? cell.textContent.trim();
  const value = Number(text);
  return text === "" || text === "–" ? null : Number.isNaN(value) ? text : value;
}
function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
}
function sort(table, heading) {
  const place = [...heading.parentElement.children].indexOf(heading);
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].map((row) => [key(row.cells[place]), row]);
  rows.sort(([a], [b]) => (down && a !== null && b !== null ? compare(b, a) : compare(a, b)));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}
function filter(box) {
  const table = document.getElementById(box.dataset.filter);
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0;
  for (const row of table.tBodies[0].rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    left += !row.hidden;
  }
  const told = document.getElementById(`${box.dataset.filter}-left`);
  if (told) told.textContent = words.length ? `${left} of ${table.tBodies[0].rows.length} rows` : "";
}
async function copy(button) {
  const shared = button.closest("table")?.dataset.shared; // how the commands of all rows end
  const text = shared ? `${button.dataset.copy} ${shared}` : button.dataset.copy;
  const label = button.dataset.label ?? (button.dataset.label = button.textContent);
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page of a file may have no clipboard: the older way
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = label; }, 1500);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.matches(".copy")) copy(button);
  if (button?.matches("th button")) sort(button.closest("table"), button.closest("th"));
});
document.addEventListener("input", (event) => { if (event.target.matches("[data-filter]")) filter(event.target); });
document.addEventListener("change", (event) => {
  const tools = event.target.closest("[data-curves]");
  if (tools) redraw(document.querySelector(`[data-figure="${tools.dataset.curves}"]`));
});
plots().forEach((place) => seen.observe(place));
document.documentElement.dataset.ready = String(Math.round(performance.now()));
