// Half octaves of the spacing from which on edges do not change.
const WIDEST_LEVEL = Math.ceil(2 * Math.log2(EDGES.fading));
// Draws the regions without WebGL: slower, so that a picture is moved while the view moves and drawn anew when it rests.
class CanvasRenderer {
  constructor(canvas, redraw) {
    this.name = "canvas";
    this.context = canvas.getContext("2d");
    this.picture = document.createElement("canvas");
    this.redraw = redraw;
    this.drawn = null;
    this.timer = 0;
  }

  setFrame(frame) {
    this.mesh = frame.mesh;
    this.around = frame.mesh.sizesAround();
    this.drawn = null;
  }

  setColors(colors) {
    this.colors = colors;
    this.drawn = null;
  }

  draw(view, ratio, edges) {
    const { canvas } = this.context;
    const state = [view.x, view.y, view.scale, canvas.width, canvas.height, edges, edgeLimit()].join();
    clearTimeout(this.timer);
    if (this.drawn && this.drawn.state !== state && this.mesh.n > 5000 && this.drawn.edges === edges) {
      const { x, y, scale } = this.drawn;
      const [left, top] = view.toScreen(x, y);
      const factor = view.scale / scale;
      this.context.clearRect(0, 0, canvas.width, canvas.height);
      this.context.drawImage(
        this.picture,
        ratio * left - (factor * this.picture.width) / 2, ratio * top - (factor * this.picture.height) / 2,
        factor * this.picture.width, factor * this.picture.height,
      );
      this.timer = setTimeout(() => { this.drawn = null; this.redraw(); }, 140);
      return;
    }
    if (!this.drawn || this.drawn.state !== state) {
      this.picture.width = canvas.width;
      this.picture.height = canvas.height;
      this.paint(this.picture.getContext("2d"), view, ratio, edges);
      this.drawn = { state, x: view.x, y: view.y, scale: view.scale, edges };
    }
    this.context.clearRect(0, 0, canvas.width, canvas.height);
    this.context.drawImage(this.picture, 0, 0);
  }

  paint(context, view, ratio, edges) {
    const { mesh, colors } = this;
    const paths = new Map();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (let r = 0; r < mesh.n; r++) {
      const begin = mesh.offsets[r];
      const end = mesh.offsets[r + 1];
      let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
      const points = [];
      for (let i = begin; i < end; i++) {
        const [sx, sy] = view.toScreen(mesh.x[mesh.corners[i]], mesh.y[mesh.corners[i]]);
        left = Math.min(left, sx);
        right = Math.max(right, sx);
        top = Math.min(top, sy);
        bottom = Math.max(bottom, sy);
        points.push(sx, sy);
      }
      if (right < 0 || left > view.width || bottom < 0 || top > view.height) continue;
      // Shades that the eye does not tell apart share one path: filling one is what takes time.
      const key = ((colors[4 * r] & 0xfc) << 16) | ((colors[4 * r + 1] & 0xfc) << 8) | (colors[4 * r + 2] & 0xfc);
      if (!paths.has(key)) paths.set(key, { path: new Path2D(), r });
      trace(paths.get(key).path, points);
    }
    context.lineWidth = 0.7 / ratio;
    for (const { path, r } of paths.values()) {
      context.fillStyle = context.strokeStyle = `rgb(${colors[4 * r]} ${colors[4 * r + 1]} ${colors[4 * r + 2]})`;
      context.fill(path);
      context.stroke(path); // else seams of the background show between neighbours
    }
    if (edges) this.paintEdges(context, view, ratio);
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  // Lines of about one spacing and one colour are one path, so that lines that meet are not darker where they do.
  paintEdges(context, view, ratio) {
    const { mesh, colors, around } = this;
    const { x, y, corners, offsets } = mesh;
    const limit = edgeLimit();
    const paths = new Map();
    for (let r = 0; r < mesh.n; r++) {
      const fill = relativeLuminance(colors[4 * r], colors[4 * r + 1], colors[4 * r + 2]);
      for (let i = offsets[r]; i < offsets[r + 1]; i++) {
        const a = corners[i];
        const b = corners[i + 1 < offsets[r + 1] ? i + 1 : offsets[r]];
        if (a > b) continue; // drawn by the neighbour; the domain's border is drawn apart
        const spacing = 0.5 * (around[a] + around[b]) * view.scale;
        if (spacing < EDGES.faintest * EDGES.fading) continue;
        const [x0, y0] = view.toScreen(x[a], y[a]);
        const [x1, y1] = view.toScreen(x[b], y[b]);
        if (Math.max(x0, x1) < 0 || Math.min(x0, x1) > view.width || Math.max(y0, y1) < 0 || Math.min(y0, y1) > view.height) continue;
        const level = Math.min(Math.round(2 * Math.log2(spacing)), WIDEST_LEVEL);
        const key = 2 * level + (fill > limit ? 1 : 0);
        if (!paths.has(key)) paths.set(key, new Path2D());
        const path = paths.get(key);
        path.moveTo(x0, y0);
        path.lineTo(x1, y1);
      }
    }
    for (const key of [...paths.keys()].sort((one, other) => one - other)) { // the wide ones over the fine ones
      const { width, opacity } = edgeStroke(2 ** (Math.floor(key / 2) / 2), 1 / ratio);
      context.lineWidth = width;
      context.strokeStyle = `rgb(${(key & 1 ? DARK_EDGE : LIGHT_EDGE).join(" ")} / ${opacity})`;
      context.stroke(paths.get(key));
    }
  }
}

function trace(path, points) {
  path.moveTo(points[0], points[1]);
  for (let i = 2; i < points.length; i += 2) path.lineTo(points[i], points[i + 1]);
  path.closePath();
}
