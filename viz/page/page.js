const FRAMES_KEPT = 6;
const SECONDS_A_FRAME = 0.55;

const $ = (id) => document.getElementById(id);
const view = new View();
const state = {
  index: 0, frame: null, color: "norm", hovered: -1, selected: -1, click: null, centroidAt: null,
  showEdges: true, showBoundary: false, showPoints: true, playing: false,
};
const decoded = new Map();
let renderer, overlay, panel, plane;
let pending = false;
let latest = 0;

function redraw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    if (!state.frame) return;
    const ratio = window.devicePixelRatio || 1;
    renderer.draw(view, ratio, state.showEdges);
    overlay.draw(view, ratio, state);
  });
}

// A frame, read at most once while it is among the last ones used.
function frameAt(index) {
  if (!decoded.has(index)) {
    const reading = inflate(`frame-${index}`).then((bytes) => new Frame(description.frames[index], bytes, plane));
    decoded.set(index, reading);
  }
  const found = decoded.get(index);
  decoded.delete(index);
  decoded.set(index, found);
  for (const key of decoded.keys()) {
    if (decoded.size <= FRAMES_KEPT) break;
    decoded.delete(key);
  }
  return found;
}

async function goTo(index) {
  const n = description.frames.length;
  state.index = Math.max(0, Math.min(n - 1, index));
  $("checkpoint").value = state.index;
  describe();
  const asked = ++latest;
  const frame = await frameAt(state.index);
  if (asked !== latest) return;
  state.frame = frame;
  renderer.setFrame(frame);
  renderer.setColors(regionColors(frame, state.color));
  state.hovered = -1;
  $("hover").hidden = true;
  if (state.click) select(state.click);
  redraw();
  document.body.dataset.shown = state.index;
  if (state.index + 1 < n) setTimeout(() => frameAt(state.index + 1), 0);
}

function describe() {
  const { title, about, regions, complete } = description.frames[state.index];
  $("checkpoint-name").textContent = title;
  $("checkpoint").setAttribute("aria-valuetext", title);
  const parts = [title, `${grouped(regions)} regions${complete ? "" : " (a part of the domain)"}`, about];
  $("about").textContent = parts.filter(Boolean).join(" · ");
}

function recolor(name) {
  state.color = name;
  drawScale($("scale"), name);
  $("hover").hidden = true;
  if (state.frame) renderer.setColors(regionColors(state.frame, name));
  redraw();
}

// Selects the region at a place of the grid; none outside the domain.
function select(at) {
  const region = at ? state.frame.mesh.locate(...at) : -1;
  state.selected = region;
  state.click = region < 0 ? null : at;
  state.centroidAt = null;
  if (region < 0) panel.clear();
  else state.centroidAt = panel.show(state.frame, region, at);
  redraw();
}

function hover(at) {
  const region = at && state.frame ? state.frame.mesh.locate(...at) : -1;
  $("hover").hidden = region < 0;
  if (region >= 0) {
    const value = state.color in state.frame.values ? ` · ${VALUE_NAMES[state.color].split(",")[0]} ${rounded(state.frame.values[state.color][region])}` : "";
    $("hover").textContent = `region ${grouped(region)} · class ${state.frame.classAt(region, toSlice(at))}${value}`;
  }
  if (region === state.hovered) return;
  state.hovered = region;
  redraw();
}

async function play(on) {
  state.playing = on;
  $("play").textContent = on ? "❚❚" : "▶";
  $("play").setAttribute("aria-label", on ? "Pause" : "Play");
  $("play").setAttribute("aria-pressed", String(on));
  const last = description.frames.length - 1;
  if (on && state.index === last) await goTo(0);
  while (state.playing && state.index < last) {
    await new Promise((resolve) => setTimeout(resolve, 1000 * SECONDS_A_FRAME));
    if (state.playing) await goTo(state.index + 1);
  }
  if (state.playing) play(false);
}

function fitToWindow() {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth, clientHeight } = $("stage");
  for (const canvas of [$("regions"), $("overlay")]) {
    canvas.width = Math.max(1, Math.round(ratio * clientWidth));
    canvas.height = Math.max(1, Math.round(ratio * clientHeight));
  }
  view.resize(clientWidth, clientHeight);
  redraw();
}

function say(text) {
  $("note").textContent = text;
  $("note").hidden = false;
}

async function start() {
  $("title").textContent = description.title;
  if (typeof DecompressionStream === "undefined") {
    say("This browser is too old for this page: it cannot unpack its data (DecompressionStream). Any browser of 2023 or later can.");
    return;
  }
  const shared = new Block(await inflate("shared"), description.shared.places);
  const basis = shared.floats("basis");
  const d = description.dimension;
  plane = { origin: shared.floats("origin"), basis: [basis.subarray(0, d), basis.subarray(d)] };
  panel = new Panel({ ...plane, images: shared.has("images") ? shared.section("images") : null });
  renderer = GlRenderer.create($("regions"));
  if (!renderer) {
    renderer = new CanvasRenderer($("regions"), redraw);
    say("Drawn without WebGL, which this browser does not offer: the same regions, only slower.");
  }
  $("regions").addEventListener("webglcontextlost", () => say("The graphics card gave up on this page: reload it."));
  overlay = new Overlay($("overlay"));
  const n = description.frames.length;
  $("checkpoint").max = n - 1;
  $("time").hidden = n < 2;
  drawScale($("scale"), state.color);
  listenToPointers();
  listenToKeys();
  listenToControls();
  new ResizeObserver(fitToWindow).observe($("stage"));
  fitToWindow();
  await goTo(n - 1);
  document.body.dataset.renderer = renderer.name;
}

// For the console, and for tests: what is shown, and the slice's coordinates at a place of the window.
function sliceAt(clientX, clientY) {
  const box = $("overlay").getBoundingClientRect();
  return toSlice(view.toGrid(clientX - box.left, clientY - box.top));
}

window.splinegeo = { description, state, view, sliceAt, panel: () => panel.current, goTo, select, edgeStroke };
start().catch((error) => { say(`This page's data could not be read: ${error.message}`); throw error; });
