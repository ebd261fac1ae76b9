const FILL_VERTEX = `#version 300 es
precision highp float;
uniform vec2 u_whole, u_part, u_scale;
uniform highp sampler2D u_colors;
layout(location = 0) in vec2 a_at;
layout(location = 1) in uint a_region;
flat out vec3 v_color;
void main() {
  v_color = texelFetch(u_colors, ivec2(a_region % 2048u, a_region / 2048u), 0).rgb;
  gl_Position = vec4(((a_at - u_whole) - u_part) * u_scale, 0.0, 1.0);
}`;
const FILL_FRAGMENT = `#version 300 es
precision mediump float;
flat in vec3 v_color;
out vec4 color;
void main() { color = vec4(v_color, 1.0); }`;
// An edge is a rectangle, at least a pixel wide; see edges.js for its width, its opacity and its colour.
const EDGE_VERTEX = `#version 300 es
precision highp float;
uniform vec2 u_whole, u_part, u_scale, u_pixel;
uniform float u_size, u_ratio, u_limit;
uniform highp sampler2D u_colors;
layout(location = 0) in vec4 a_ends;
layout(location = 1) in vec2 a_sizes;
layout(location = 2) in uint a_region;
out vec4 v_color;
void main() {
  vec2 spacings = a_sizes * u_size;
  if (max(spacings.x, spacings.y) < ${glFloat(EDGES.faintest * EDGES.fading)}) { gl_Position = vec4(0.0, 0.0, 2.0, 1.0); return; }
  float spacing = (gl_VertexID & 1) == 0 ? spacings.x : spacings.y;
  float width = u_ratio * min(${glFloat(EDGES.share)} * spacing, ${glFloat(EDGES.widest)});
  float drawn = max(width, 1.0);
  float strength = min(1.0, spacing / ${glFloat(EDGES.fading)}) * width / drawn;
  vec2 from = ((a_ends.xy - u_whole) - u_part) * u_scale;
  vec2 to = ((a_ends.zw - u_whole) - u_part) * u_scale;
  vec2 along = normalize((to - from) / u_pixel + vec2(1e-9, 0.0));
  vec2 across = vec2(-along.y, along.x) * u_pixel * 0.5 * drawn;
  vec2 at = ((gl_VertexID & 1) == 0 ? from : to) + ((gl_VertexID & 2) == 0 ? across : -across);
  vec3 fill = texelFetch(u_colors, ivec2(a_region % 2048u, a_region / 2048u), 0).rgb;
  float luminance = dot(pow(fill, vec3(2.2)), vec3(0.2126, 0.7152, 0.0722));
  vec3 ink = luminance > u_limit ? ${glColor(DARK_EDGE)} : ${glColor(LIGHT_EDGE)};
  v_color = vec4(ink, ${glFloat(EDGES.opacity)} * strength);
  gl_Position = vec4(at, 0.0, 1.0);
}`;
const EDGE_FRAGMENT = `#version 300 es
precision mediump float;
in vec4 v_color;
out vec4 color;
void main() { color = vec4(v_color.rgb * v_color.a, v_color.a); }`;

// Draws the regions by WebGL2; null where the browser has none.
class GlRenderer {
  static create(canvas) {
    const gl = canvas.getContext("webgl2", { antialias: true, alpha: true, powerPreference: "high-performance" });
    return gl ? new GlRenderer(gl) : null;
  }

  constructor(gl) {
    this.gl = gl;
    this.name = "WebGL";
    this.fill = program(gl, FILL_VERTEX, FILL_FRAGMENT);
    this.edge = program(gl, EDGE_VERTEX, EDGE_FRAGMENT);
    this.buffers = { corners: gl.createBuffer(), regions: gl.createBuffer(), triangles: gl.createBuffer(), edges: gl.createBuffer() };
    this.texture = gl.createTexture();
    this.fillArrays = gl.createVertexArray();
    this.edgeArrays = gl.createVertexArray();
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  setFrame(frame) {
    const { gl, buffers } = this;
    const { x, y, n, corners, offsets } = frame.mesh;
    const around = frame.mesh.sizesAround();
    const at = new Float32Array(2 * corners.length);
    const regions = new Uint32Array(corners.length);
    const triangles = new Uint32Array(3 * (corners.length - 2 * n));
    const edges = new ArrayBuffer(28 * corners.length);
    const ends = new Float32Array(edges);
    const owners = new Uint32Array(edges);
    this.edgeCount = 0;
    for (let r = 0, triangle = 0; r < n; r++) {
      const begin = offsets[r];
      const end = offsets[r + 1];
      for (let i = begin; i < end; i++) {
        const a = corners[i];
        const b = corners[i + 1 < end ? i + 1 : begin];
        at[2 * i] = x[a];
        at[2 * i + 1] = y[a];
        regions[i] = r;
        if (i > begin + 1) {
          triangles[triangle++] = begin;
          triangles[triangle++] = i - 1;
          triangles[triangle++] = i;
        }
        // Two regions share each inner edge, in opposite directions: one of them draws it. The domain's border is drawn apart.
        if (a < b) {
          const place = 7 * this.edgeCount++;
          ends[place] = x[a];
          ends[place + 1] = y[a];
          ends[place + 2] = x[b];
          ends[place + 3] = y[b];
          ends[place + 4] = around[a];
          ends[place + 5] = around[b];
          owners[place + 6] = r;
        }
      }
    }
    this.indexCount = triangles.length;
    gl.bindVertexArray(this.fillArrays);
    upload(gl, buffers.corners, gl.ARRAY_BUFFER, at);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    upload(gl, buffers.regions, gl.ARRAY_BUFFER, regions);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribIPointer(1, 1, gl.UNSIGNED_INT, 0, 0);
    upload(gl, buffers.triangles, gl.ELEMENT_ARRAY_BUFFER, triangles);
    gl.bindVertexArray(this.edgeArrays);
    upload(gl, buffers.edges, gl.ARRAY_BUFFER, new Uint8Array(edges, 0, 28 * this.edgeCount));
    gl.vertexAttribPointer(0, 4, gl.FLOAT, false, 28, 0);
    gl.vertexAttribPointer(1, 2, gl.FLOAT, false, 28, 16);
    gl.vertexAttribIPointer(2, 1, gl.UNSIGNED_INT, 28, 24);
    for (const index of [0, 1, 2]) {
      gl.enableVertexAttribArray(index);
      gl.vertexAttribDivisor(index, 1);
    }
    gl.bindVertexArray(null);
  }

  setColors(colors) {
    const { gl } = this;
    const rows = Math.max(1, Math.ceil(colors.length / 8192));
    const padded = new Uint8Array(8192 * rows);
    padded.set(colors);
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 2048, rows, 0, gl.RGBA, gl.UNSIGNED_BYTE, padded);
  }

  draw(view, ratio, edges) {
    const { gl } = this;
    const { width, height } = gl.canvas;
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const whole = [Math.round(view.x), Math.round(view.y)];
    for (const program of edges ? [this.fill, this.edge] : [this.fill]) {
      gl.useProgram(program);
      const place = (name) => gl.getUniformLocation(program, name);
      // The difference of whole numbers is exact, so that deep zooms do not tremble.
      gl.uniform2f(place("u_whole"), ...whole);
      gl.uniform2f(place("u_part"), view.x - whole[0], view.y - whole[1]);
      gl.uniform2f(place("u_scale"), (2 * view.scale) / view.width, (2 * view.scale) / view.height);
      if (program === this.fill) {
        gl.bindVertexArray(this.fillArrays);
        gl.drawElements(gl.TRIANGLES, this.indexCount, gl.UNSIGNED_INT, 0);
      } else {
        gl.uniform2f(place("u_pixel"), 2 / width, 2 / height);
        gl.uniform1f(place("u_size"), view.scale);
        gl.uniform1f(place("u_ratio"), ratio);
        gl.uniform1f(place("u_limit"), edgeLimit());
        gl.bindVertexArray(this.edgeArrays);
        gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.edgeCount);
      }
    }
    gl.bindVertexArray(null);
  }
}

function glFloat(value) {
  return value.toFixed(6);
}

function glColor(bytes) {
  return `vec3(${bytes.map((byte) => glFloat(byte / 255)).join(", ")})`;
}

function upload(gl, buffer, target, values) {
  gl.bindBuffer(target, buffer);
  gl.bufferData(target, values, gl.STATIC_DRAW);
}

function program(gl, vertex, fragment) {
  const made = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made) || "a shader does not link");
  return made;
}
