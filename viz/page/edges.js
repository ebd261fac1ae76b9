// Edges after viz/region_edges.py, in CSS pixels: as wide as a share of the spacing of the lines about them, up to a
// greatest width; where the spacing is below the fading one they lose opacity; the faintest are left out. They fade
// earlier than in print, where lines can be finer than a pixel.
const EDGES = { share: 0.18, widest: 0.8, fading: 12, faintest: 0.05, opacity: 0.5 };
const DARK_EDGE = [20, 16, 31];
const LIGHT_EDGE = [255, 246, 230];
// Relative luminance: on a light page edges are dark but over clearly dark regions, on a dark page the other way round.
const CLEARLY_DARK = 0.08;
const CLEARLY_LIGHT = 0.36;
const darkPage = matchMedia("(prefers-color-scheme: dark)");

// Regions lighter than this have dark edges.
function edgeLimit() {
  return darkPage.matches ? CLEARLY_LIGHT : CLEARLY_DARK;
}

function relativeLuminance(red, green, blue) {
  return 0.2126 * (red / 255) ** 2.2 + 0.7152 * (green / 255) ** 2.2 + 0.0722 * (blue / 255) ** 2.2;
}

// Width and opacity of an edge where the spacing is `spacing`; a screen draws no line finer than `finest`.
function edgeStroke(spacing, finest) {
  const width = Math.min(EDGES.share * spacing, EDGES.widest);
  const drawn = Math.max(width, finest);
  return { width: drawn, opacity: (EDGES.opacity * Math.min(1, spacing / EDGES.fading) * width) / drawn };
}
