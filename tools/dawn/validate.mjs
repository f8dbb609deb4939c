// Holds exported plans against Dawn's validation, which is what a browser does: makes every pipeline and bind group and records
// every command, on a device that computes nothing.
//
//     node tools/dawn/validate.mjs FOLDER
//
// FOLDER holds plans as `HUMDINGER_PLANS=FOLDER cargo test --test export` writes them.
import { create, globals } from 'webgpu';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

Object.assign(globalThis, globals);
const folder = process.argv[2];
const files = readdirSync(folder).filter((name) => name.endsWith('.json')).sort();
if (files.length === 0) throw new Error(`${folder} holds no plans`);

// Kept, since Dawn ends with the object that `create` gave, which may be collected as garbage.
globalThis.dawn = create(['backend=null']);
const adapter = await globalThis.dawn.requestAdapter();
if (!adapter) throw new Error('Dawn has no null adapter');
// Nothing beyond the defaults is asked for: these are the limits of baseline WebGPU.
const device = await adapter.requestDevice();
const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
const modules = new Map();
const pipelines = new Map();
let dispatches = 0;

/** Runs what makes things, and throws what Dawn says against it. */
async function validated(what, make) {
    device.pushErrorScope('validation');
    const made = make();
    const error = await device.popErrorScope();
    if (error) throw new Error(`${what}: ${error.message}`);
    return made;
}

function moduleOf(shader) {
    if (!modules.has(shader.wgsl)) modules.set(shader.wgsl, device.createShaderModule({ code: shader.wgsl }));
    return modules.get(shader.wgsl);
}

async function pipelineOf(plan, kernel) {
    const shader = plan.shaders[kernel.shader];
    const key = JSON.stringify([shader.wgsl, kernel.constants, kernel.readOnly]);
    if (!pipelines.has(key)) {
        const entries = kernel.readOnly.map((only, binding) => ({
            binding,
            visibility: GPUShaderStage.COMPUTE,
            buffer: { type: only ? 'read-only-storage' : 'storage' },
        }));
        pipelines.set(key, await validated(`${shader.name} ${JSON.stringify(kernel.constants)}`, () => {
            const layout = device.createBindGroupLayout({ entries });
            const pipeline = device.createComputePipeline({
                layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
                compute: { module: moduleOf(shader), entryPoint: 'main', constants: kernel.constants },
            });
            return { layout, pipeline };
        }));
    }
    return pipelines.get(key);
}

async function validate(plan) {
    if (plan.format !== 'humdinger-plan' || plan.version !== 1) throw new Error(`format ${plan.format} ${plan.version}`);
    const kernels = [];
    for (const kernel of plan.kernels) kernels.push(await pipelineOf(plan, kernel));
    const buffers = await validated('buffers', () => plan.buffers.map(({ length }) =>
        device.createBuffer({ size: Math.max(16, Math.ceil(length / 4) * 16), usage })));
    for (const command of plan.commands) {
        const name = command.op + (command.kernel === undefined ? '' : ` ${plan.shaders[plan.kernels[command.kernel].shader].name}`);
        await validated(name, () => {
            const encoder = device.createCommandEncoder();
            if (command.kernel === undefined) {
                const [[from, start, length], [to, end]] = [command.from, command.to];
                const between = from === to ? device.createBuffer({ size: 4 * length, usage }) : buffers[to];
                encoder.copyBufferToBuffer(buffers[from], 4 * start, between, from === to ? 0 : 4 * end, 4 * length);
            } else {
                const { layout, pipeline } = kernels[command.kernel];
                const entries = command.bindings.map(([buffer, offset, length], binding) => ({
                    binding,
                    resource: { buffer: buffers[buffer], offset: 4 * offset, size: Math.ceil(length / 4) * 16 },
                }));
                const pass = encoder.beginComputePass();
                pass.setPipeline(pipeline);
                pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
                pass.dispatchWorkgroups(...command.workgroups);
                pass.end();
                dispatches += 1;
            }
            device.queue.submit([encoder.finish()]);
        });
    }
    buffers.forEach((buffer) => buffer.destroy());
}

let failed = 0;
for (const file of files) {
    try {
        await validate(JSON.parse(readFileSync(join(folder, file), 'utf8')));
    } catch (error) {
        failed += 1;
        console.error(`${file}: ${error.message}`);
    }
}
console.log(`${files.length} plans, ${pipelines.size} pipelines, ${dispatches} dispatches: ${failed} plans refused`);
// Dawn's threads keep Node alive.
process.exit(failed === 0 ? 0 : 1);
