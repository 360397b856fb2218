// The map: a canvas scatter that zooms and pans, names what is under the pointer and can show the pictures themselves.
const mapSource = document.getElementById("map-data");
if (mapSource) {
  const data = JSON.parse(mapSource.textContent);
  const canvas = document.getElementById("map-canvas");
  const tip = document.getElementById("map-tip");
  const pen = canvas.getContext("2d");
  const hidden = new Set();
  const view = { zoom: 1, x: 0.5, y: 0.5 }; // centre in map units of 0..1
  const state = { pictures: false, focus: null, hover: -1, colours: {} };
  const sprite = new Image();
  let pending = 0;

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const size = () => ({ width: canvas.clientWidth, height: canvas.clientHeight });
  const scale = () => (Math.min(size().width, size().height) - 48) * view.zoom;
  const place = (index) => {
    const { width, height } = size();
    return [
      width / 2 + (data.x[index] / data.units - view.x) * scale(),
      height / 2 - (data.y[index] / data.units - view.y) * scale(),
    ];
  };
  const kind = (index) => data.classes[data.labels[index]] ?? ["", 0, "circle"];
  const visible = (index) => !hidden.has(data.labels[index]);

  const readColours = () => {
    const style = getComputedStyle(document.documentElement);
    const get = (name) => style.getPropertyValue(name).trim();
    const labelled = Object.keys(data.classes).length > 0;
    for (let slot = 1; slot <= 10; slot += 1) state.colours[slot] = get(`--c${slot}`);
    state.colours[0] = labelled ? get("--muted-mark") : get("--c0");
    state.ink = get("--ink");
    state.paper = get("--card");
  };

  const shapes = {
    circle: (x, y, r) => pen.arc(x, y, r, 0, 2 * Math.PI),
    square: (x, y, r) => pen.rect(x - r * 0.88, y - r * 0.88, r * 1.76, r * 1.76),
    triangle: (x, y, r) => { pen.moveTo(x, y - r * 1.15); pen.lineTo(x + r * 1.1, y + r * 0.8); pen.lineTo(x - r * 1.1, y + r * 0.8); pen.closePath(); },
    diamond: (x, y, r) => { pen.moveTo(x, y - r * 1.2); pen.lineTo(x + r * 1.2, y); pen.lineTo(x, y + r * 1.2); pen.lineTo(x - r * 1.2, y); pen.closePath(); },
  };

  const drawPicture = (index, x, y, side) => {
    const [columns, rows] = data.sheet;
    const cell = sprite.naturalWidth / columns;
    const half = side / 2;
    pen.fillStyle = state.paper;
    pen.fillRect(x - half, y - half, side, side);
    pen.drawImage(sprite, (index % columns) * cell, Math.floor(index / columns) * (sprite.naturalHeight / rows), cell, cell, x - half, y - half, side, side);
    pen.lineWidth = 1.5;
    pen.strokeStyle = state.colours[kind(index)[1]];
    pen.strokeRect(x - half, y - half, side, side);
  };

  const drawPoint = (index, x, y, radius) => {
    const [, slot, shape] = kind(index);
    pen.beginPath();
    shapes[shape](x, y, radius);
    pen.fillStyle = state.colours[slot];
    pen.fill();
    pen.lineWidth = 0.75;
    pen.strokeStyle = state.paper;
    pen.stroke();
  };

  const drawItem = (index, large) => {
    const [x, y] = place(index);
    const { width, height } = size();
    if (x < -40 || y < -40 || x > width + 40 || y > height + 40) return;
    pen.globalAlpha = state.focus === null || state.focus === data.labels[index] ? 1 : 0.12;
    if (state.pictures && sprite.naturalWidth) drawPicture(index, x, y, clamp(15 * view.zoom ** 0.7, 15, 48) * (large ? 1.5 : 1));
    else drawPoint(index, x, y, clamp(3.6 * view.zoom ** 0.35, 3, 8) * (large ? 1.6 : 1));
    pen.globalAlpha = 1;
  };

  const draw = () => {
    pending = 0;
    const ratio = devicePixelRatio || 1;
    const { width, height } = size();
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (let index = 0; index < data.x.length; index += 1) if (visible(index)) drawItem(index, false);
    if (state.hover >= 0) {
      drawItem(state.hover, true);
      const [x, y] = place(state.hover);
      pen.beginPath();
      pen.arc(x, y, state.pictures ? 30 : 10, 0, 2 * Math.PI);
      pen.lineWidth = 2;
      pen.strokeStyle = state.ink;
      if (!state.pictures) pen.stroke();
    }
  };
  const redraw = () => { pending ||= requestAnimationFrame(draw); };

  const showTip = (index) => {
    state.hover = index;
    tip.hidden = index < 0;
    redraw();
    if (index < 0) return;
    tip.replaceChildren();
    const add = (tag, className, text) => {
      const part = document.createElement(tag);
      part.className = className;
      part.textContent = text;
      tip.append(part);
      return part;
    };
    if (data.sheet) {
      const [columns, rows] = data.sheet;
      const across = (100 * (index % columns)) / Math.max(columns - 1, 1);
      const down = (100 * Math.floor(index / columns)) / Math.max(rows - 1, 1);
      add("span", "thumb", "").style.backgroundPosition = `${across}% ${down}%`;
    }
    if (kind(index)[0]) add("b", "", kind(index)[0]);
    if (data.snippets.length) add("p", "", data.snippets[index]);
    add("small", "", data.names[index]);
    const [x, y] = place(index);
    const { width, height } = size();
    tip.style.left = `${clamp(x + 16 + tip.offsetWidth > width ? x - tip.offsetWidth - 16 : x + 16, 4, Math.max(width - tip.offsetWidth - 4, 4))}px`;
    tip.style.top = `${clamp(y - tip.offsetHeight / 2, 4, Math.max(height - tip.offsetHeight - 4, 4))}px`;
  };

  const under = (event) => {
    const box = canvas.getBoundingClientRect();
    let best = -1;
    let least = 14 ** 2;
    for (let index = 0; index < data.x.length; index += 1) {
      if (!visible(index)) continue;
      const [x, y] = place(index);
      const gap = (x - event.clientX + box.left) ** 2 + (y - event.clientY + box.top) ** 2;
      if (gap < least) { least = gap; best = index; }
    }
    return best;
  };

  const zoomBy = (factor, event) => {
    const before = scale();
    view.zoom = clamp(view.zoom * factor, 0.6, 60);
    if (event) { // what is under the pointer stays there
      const box = canvas.getBoundingClientRect();
      const change = 1 / before - 1 / scale();
      view.x += (event.clientX - box.left - box.width / 2) * change;
      view.y -= (event.clientY - box.top - box.height / 2) * change;
    }
    showTip(-1);
  };
  const moveBy = (dx, dy) => { view.x -= dx / scale(); view.y += dy / scale(); showTip(-1); };
  const reset = () => { Object.assign(view, { zoom: 1, x: middle(data.x), y: middle(data.y) }); showTip(-1); };
  const middle = (values) => (Math.max(...values) + Math.min(...values)) / 2 / data.units;

  const fingers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event);
    canvas.setPointerCapture(event.pointerId);
    showTip(under(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) { showTip(under(event)); return; }
    const others = [...fingers.values()].filter((finger) => finger.pointerId !== event.pointerId);
    if (others.length) {
      const spread = (one) => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY);
      zoomBy(spread(event) / Math.max(spread(last), 1), event);
    } else if (event.clientX !== last.clientX || event.clientY !== last.clientY) {
      moveBy(event.clientX - last.clientX, event.clientY - last.clientY);
    }
    fingers.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") showTip(-1); });
  canvas.addEventListener("blur", () => showTip(-1));
  // The wheel scrolls the page unless the reader has clicked the map.
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY * 0.0018), event);
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => zoomBy(2, event));

  const step = (way) => {
    const count = data.x.length;
    for (let tries = 1, index = state.hover; tries <= count; tries += 1) {
      index = (index + way + count) % count;
      if (visible(index)) { showTip(index); return; }
    }
  };
  const keys = {
    "+": () => zoomBy(1.4), "=": () => zoomBy(1.4), "-": () => zoomBy(1 / 1.4), 0: reset,
    ArrowLeft: () => moveBy(50, 0), ArrowRight: () => moveBy(-50, 0), ArrowUp: () => moveBy(0, 50), ArrowDown: () => moveBy(0, -50),
    n: () => step(1), p: () => step(-1), Escape: () => showTip(-1),
  };
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  const zooms = { in: () => zoomBy(1.6), out: () => zoomBy(1 / 1.6), reset };
  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", zooms[button.dataset.zoom]);

  const entries = [...document.querySelectorAll(".map-legend [data-label]")];
  const all = document.getElementById("map-all");
  const refreshLegend = () => {
    for (const entry of entries) entry.setAttribute("aria-pressed", String(!hidden.has(Number(entry.dataset.label))));
    if (all) all.textContent = hidden.size ? "Show all" : "Hide all";
    showTip(-1);
  };
  for (const entry of entries) {
    const label = Number(entry.dataset.label);
    const focus = (value) => () => { state.focus = value; redraw(); };
    entry.addEventListener("click", () => {
      if (!hidden.delete(label)) hidden.add(label);
      state.focus = null;
      refreshLegend();
    });
    entry.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse" && !hidden.has(label)) focus(label)(); });
    entry.addEventListener("pointerleave", focus(null));
  }
  all?.addEventListener("click", () => {
    if (hidden.size) hidden.clear();
    else for (const entry of entries) hidden.add(Number(entry.dataset.label));
    refreshLegend();
  });

  const pictures = document.getElementById("map-pictures");
  pictures?.addEventListener("click", () => {
    state.pictures = !state.pictures;
    pictures.setAttribute("aria-pressed", String(state.pictures));
    redraw();
  });
  if (data.sheet) { // the sheet is in the styles once; the canvas borrows it from there
    const probe = document.body.appendChild(document.createElement("span"));
    probe.className = "thumb unseen";
    sprite.onload = redraw;
    sprite.src = getComputedStyle(probe).backgroundImage.replace(/^url\(["']?|["']?\)$/g, "");
    probe.remove();
  }

  readColours();
  reset();
  new ResizeObserver(redraw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); redraw(); });
}
