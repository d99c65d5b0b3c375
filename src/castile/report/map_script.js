// Unpacks the points of the page and hands them to chemiscope, structures one at a time when they are shown.
const header = JSON.parse(document.getElementById("header").textContent);

async function unpacked() {
  const text = atob(document.getElementById("block").textContent);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

function property(buffer, entry, target) {
  if (entry.numbers) return { target, values: Array.from(new Float64Array(buffer, ...entry.numbers)) };
  const codes = new Uint32Array(buffer, ...entry.codes);
  return { target, values: Array.from(codes, (code) => entry.names[code]) };
}

async function show() {
  const buffer = await unpacked();
  const { first, numbers, positions, cells } = header.structures;
  const begins = new Uint32Array(buffer, ...first), elements = new Uint8Array(buffer, ...numbers);
  const places = new Float32Array(buffer, ...positions), vectors = new Float32Array(buffer, ...cells);
  const structures = [];
  for (let k = 0; k + 1 < begins.length; k++) structures.push({ size: begins[k + 1] - begins[k], data: k });

  function loadStructure(index, { size, data }) {
    const begin = begins[data], cell = Array.from(vectors.subarray(9 * data, 9 * data + 9));
    const axis = (d) => Array.from({ length: size }, (_, i) => places[3 * (begin + i) + d]);
    const names = Array.from({ length: size }, (_, i) => header.symbols[elements[begin + i]]);
    const loaded = { size, names, x: axis(0), y: axis(1), z: axis(2) };
    if (cell.some((value) => value !== 0)) loaded.cell = cell;
    return Promise.resolve(loaded);
  }

  const target = header.centers ? "atom" : "structure", properties = {};
  for (const entry of header.properties) properties[entry.name] = property(buffer, entry, target);
  const dataset = { meta: { name: header.title }, structures, properties, settings: header.settings };
  if (header.centers) {
    const [owners, atoms] = header.centers.map((part) => new Uint32Array(buffer, ...part));
    dataset.environments = Array.from(owners, (structure, k) => ({ structure, center: atoms[k], cutoff: 3.5 }));
  }
  const warnings = new Chemiscope.Warnings();
  warnings.addHandler((message) => console.warn(message));
  const config = {
    map: "chemiscope-map", info: "chemiscope-info", meta: "chemiscope-meta",
    structure: "chemiscope-structure", loadStructure,
  };
  return Chemiscope.DefaultVisualizer.load(config, dataset, warnings);
}

show().then((shown) => {
  window.visualizer = shown;
  document.body.dataset.ready = "yes";
}).catch((error) => {
  console.error(error);
  document.body.dataset.ready = "failed";
  document.getElementById("problem").textContent = `The map cannot be shown: ${error}`;
});
