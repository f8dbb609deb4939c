// Holds web/plan.js against the CPU's numbers, in Node with Dawn on whatever Vulkan driver there is.
//
//     node runner.mjs FOLDER
//
// FOLDER holds what `HUMDINGER_WEB=FOLDER cargo test --test web_runner` writes.
import { create, globals } from 'webgpu';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { load } from '../../web/plan.js';
import { read } from '../../web/safetensors.js';
import { distances, judged } from './numbers.mjs';

Object.assign(globalThis, globals);
const folder = process.argv[2];
// Kept, since Dawn ends with the object that `create` gave, which may be collected as garbage.
// Without the initialisation of workgroup memory, which our kernels do not need, software compiles ten times faster.
globalThis.dawn = create(['enable-dawn-features=allow_unsafe_apis,disable_workgroup_init']);
const adapter = await globalThis.dawn.requestAdapter();
if (!adapter) throw new Error('Dawn finds no adapter; is there a Vulkan driver?');
const device = await adapter.requestDevice();
device.addEventListener('uncapturederror', ({ error }) => {
    console.error(`Dawn: ${error.message}`);
    process.exitCode = 1;
});
const bytes = (name) => readFileSync(join(folder, name));
for (const recipe of ['melody', 'notebook']) {
    const { buffer, byteOffset, byteLength } = bytes(`${recipe}.safetensors`);
    const { tensors } = read(buffer.slice(byteOffset, byteOffset + byteLength));
    const plans = { train: JSON.parse(bytes(`${recipe}.train.json`)), evaluate: JSON.parse(bytes(`${recipe}.evaluate.json`)) };
    const found = await distances(device, load, plans, tensors);
    console.log(`${recipe} on ${adapter.info.description || adapter.info.device}: ${JSON.stringify(found)}`);
    for (const fault of judged(recipe, found)) {
        console.error(fault);
        process.exitCode = 1;
    }
}
// Dawn's threads keep Node alive.
process.exit();
