// What a page of `tabkd export --web` answers, computed in Node by the page's own code:
//   node parity.mjs FOLDER ROWS.json ANSWERS.json
// FOLDER holds the page, its model and onnxruntime-web's files. Rows are a list of objects by name of column.
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { runInThisContext } from "node:vm";

const [folder, rowsPath, answersPath] = process.argv.slice(2);
const page = readFileSync(join(folder, "index.html"), "utf8");
const scriptOf = id => page.match(new RegExp(`<script[^>]* id="${id}">(.*?)</script>`, "s"))[1];

const ort = await import(pathToFileURL(resolve(folder, "ort.wasm.bundle.min.mjs")));
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmBinary = readFileSync(join(folder, "ort-wasm-simd-threaded.wasm"));
const session = await ort.InferenceSession.create(readFileSync(join(folder, "student.onnx")));
const model = JSON.parse(scriptOf("model"));
const predict = runInThisContext(`${scriptOf("reading")}; predict`);
const rows = JSON.parse(readFileSync(rowsPath, "utf8"));
const together = await predict(ort, session, model, rows);
const alone = [];
for (const row of rows.slice(0, 50)) alone.push(...(await predict(ort, session, model, [row])));
writeFileSync(answersPath, JSON.stringify({ together, alone }));
