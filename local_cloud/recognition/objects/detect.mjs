// Reads pictures on stdin (a little-endian uint32 length, then 512x512 RGB bytes), answers one JSON line each on
// stdout: {"detections": [[left, top, right, bottom, score, class], ...]}, boxes in pixels of 512, COCO class 0-79.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const SIDE = 512;
const PICTURE_BYTES = SIDE * SIDE * 3;
const require = createRequire(import.meta.url);

// The libraries greet on console.log, and stdout carries the answers.
console.log = console.info = console.warn = console.error;

const tf = require("@tensorflow/tfjs-core");
const { loadGraphModel } = require("@tensorflow/tfjs-converter");
const wasm = require("@tensorflow/tfjs-backend-wasm");

const WASM = fileURLToPath(new URL("./node_modules/@tensorflow/tfjs-backend-wasm/wasm-out/", import.meta.url));
const MODELS = new URL("./node_modules/@vladmandic/human/models/", import.meta.url);

async function loadModel() {
  wasm.setWasmPaths(WASM);
  await tf.setBackend("wasm");
  const graph = JSON.parse(await readFile(new URL("centernet.json", MODELS), "utf8"));
  const weights = await readFile(new URL("centernet.bin", MODELS));
  return loadGraphModel({
    load: async () => ({
      modelTopology: graph.modelTopology,
      signature: graph.signature,
      weightSpecs: graph.weightsManifest.flatMap((group) => group.weights),
      weightData: weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.byteLength),
    }),
  });
}

async function detect(model, pixels) {
  const input = tf.tidy(() => tf.tensor4d(Float32Array.from(pixels), [1, SIDE, SIDE, 3], "float32"));
  const output = model.execute(input, "tower_0/detections");
  const [detections] = await output.array();
  tf.dispose([input, output]);
  return detections.filter((detection) => detection[4] > 0.1);
}

async function* pictures(stream) {
  let buffered = Buffer.alloc(0);
  for await (const chunk of stream) {
    buffered = Buffer.concat([buffered, chunk]);
    while (buffered.length >= 4 && buffered.length >= 4 + buffered.readUInt32LE(0)) {
      const end = 4 + buffered.readUInt32LE(0);
      yield buffered.subarray(4, end);
      buffered = buffered.subarray(end);
    }
  }
}

function answer(message) {
  process.stdout.write(JSON.stringify(message) + "\n");
}

const model = await loadModel();
answer({ ready: true });
for await (const pixels of pictures(process.stdin)) {
  if (pixels.length === PICTURE_BYTES) answer({ detections: await detect(model, pixels) });
  else answer({ error: `a picture has ${PICTURE_BYTES} bytes, this one ${pixels.length}` });
}
