// What pages of `tabkd export --web` answer, computed in Node by the pages' own code:
//   node parity.mjs ORT FOLDER...
// ORT holds onnxruntime-web's files, each folder a page, its model and rows.json, a list of objects by name of column.
// Answers, for all rows together and for the first ones alone, are written to answers.json beside them.
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { runInThisContext } from "node:vm";

const N_ALONE = 50;
const [dist, ...folders] = process.argv.slice(2);
const ort = await import(pathToFileURL(resolve(dist, "ort.wasm.bundle.min.mjs")));
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmBinary = readFileSync(join(dist, "ort-wasm-simd-threaded.wasm"));

for (const folder of folders) {
  const page = readFileSync(join(folder, "index.html"), "utf8");
  const scriptOf = id => page.match(new RegExp(`<script[^>]* id="${id}">(.*?)</script>`, "s"))[1];
  const model = JSON.parse(scriptOf("model"));
  // In a function of its own, since one page's names would meet the next one's.
  const predict = runInThisContext(`(() => {${scriptOf("reading")}; return predict; })()`);
  const session = await ort.InferenceSession.create(readFileSync(join(folder, "student.onnx")));
  const rows = JSON.parse(readFileSync(join(folder, "rows.json"), "utf8"));
  const together = await predict(ort, session, model, rows);
  const alone = [];
  for (const row of rows.slice(0, N_ALONE)) alone.push(...(await predict(ort, session, model, [row])));
  writeFileSync(join(folder, "answers.json"), JSON.stringify({ together, alone }));
  await session.release();
}
