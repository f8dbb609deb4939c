// Runs plans that humdinger has exported (docs/plan-format.md) on any WebGPU device. It knows no operation.
// `import { load } from './plan.js'`; example.html is all there is to it.

/** @typedef {{ name: string, type: 'f32' | 'u32', shape: number[], place: [buffer: number, offset: number, length: number], below: number | null }} Port */
/** @typedef {{ buffer: GPUBuffer, offset: number, length: number }} Part in elements of four bytes */

const HELD = 0x80 | 4 | 8; // STORAGE, COPY_SRC and COPY_DST
const arrays = { f32: Float32Array, u32: Uint32Array };
/** Shader modules and pipelines that are there already. @type {WeakMap<GPUDevice, Map<string, any>>} */
const made = new WeakMap();

const once = (device, key, make) => {
    const known = /** @type {Map<string, any>} */ (made.get(device) ?? made.set(device, new Map()).get(device));
    return known.get(key) ?? known.set(key, make()).get(key);
};
const memory = (device, length, usage = HELD) => device.createBuffer({ size: Math.max(16, Math.ceil(length / 4) * 16), usage });

/** Copies parts of buffers into memory that the host reads, and waits for them once. @param {Part[]} parts @returns {Promise<ArrayBuffer[]>} */
async function fetched(device, parts) {
    let size = 0;
    const starts = parts.map(({ length }) => (size += length) - length);
    const staging = memory(device, size, 1 | 8); // MAP_READ and COPY_DST
    const encoder = device.createCommandEncoder();
    parts.forEach(({ buffer, offset, length }, i) => encoder.copyBufferToBuffer(buffer, 4 * offset, staging, 4 * starts[i], 4 * length));
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(1);
    const all = staging.getMappedRange().slice(0);
    staging.destroy();
    return parts.map(({ length }, i) => all.slice(4 * starts[i], 4 * (starts[i] + length)));
}

/** The memory that outlasts a run. Plans over the same states share one of these. */
export class States {
    groups = new Map(); // of { buffer, length }, by name
    parts = new Map(); // of Part, by the state's name
    /** @param {GPUDevice} device */
    constructor(device) {
        this.device = device;
    }

    /** Makes room for the states of a plan where there is none yet. */
    add(plan) {
        const groups = plan.groups.map(({ name, length }) => {
            const group = this.groups.get(name) ?? { length, buffer: memory(this.device, length) };
            if (group.length !== length) throw new Error(`the group ${name} has ${group.length} elements, and ${length} in this plan`);
            this.groups.set(name, group);
            return group;
        });
        for (const { name, group, offset, length } of plan.states) this.parts.set(name, { buffer: groups[group].buffer, offset, length });
        return groups;
    }

    /** Writes those tensors that are states, and says which states had none. @param {Record<string, Float32Array>} tensors */
    set(tensors) {
        for (const [name, { buffer, offset, length }] of this.parts) {
            if (tensors[name] && tensors[name].length !== length) throw new Error(`the state ${name} has ${length} elements, not ${tensors[name].length}`);
            if (tensors[name]) this.device.queue.writeBuffer(buffer, 4 * offset, /** @type {BufferSource} */ (tensors[name]));
        }
        return [...this.parts.keys()].filter((name) => !tensors[name]);
    }

    /** @param {string[]} names @returns {Promise<Record<string, Float32Array>>} */
    async get(...names) {
        const values = await fetched(this.device, names.map((name) => this.parts.get(name)));
        return Object.fromEntries(names.map((name, i) => [name, new Float32Array(values[i])]));
    }

    destroy() {
        this.groups.forEach(({ buffer }) => buffer.destroy());
    }
}

/** Makes a plan ready on a device; its pipelines are compiled beside whatever else goes on.
 * @param {GPUDevice} device @param {any} plan what `Plan::export` gave @param {States} [states] of another plan over the same states */
export async function load(device, plan, states = new States(device)) {
    if (plan.format !== 'humdinger-plan' || plan.version !== 1) throw new Error(`this is no plan of version 1: ${plan.format} ${plan.version}`);
    const kernels = await Promise.all(plan.kernels.map(({ shader, constants, readOnly }) => {
        const { name, wgsl } = plan.shaders[shader];
        return once(device, JSON.stringify([wgsl, constants, readOnly]), async () => {
            const module = once(device, wgsl, () => device.createShaderModule({ label: name, code: wgsl }));
            const entries = readOnly.map((only, binding) => ({ binding, visibility: 4, buffer: { type: only ? 'read-only-storage' : 'storage' } }));
            const layout = device.createBindGroupLayout({ entries });
            const pipeline = { label: name, layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }), compute: { module, entryPoint: 'main', constants } };
            return { layout, pipeline: await device.createComputePipelineAsync(pipeline) };
        });
    }));
    device.pushErrorScope('out-of-memory');
    const groups = states.add(plan);
    const buffers = plan.buffers.map(({ type, length, values, group }) => {
        if (group !== undefined) return groups[group].buffer;
        const buffer = memory(device, length);
        if (values) device.queue.writeBuffer(buffer, 0, new arrays[type](values.map(Number)));
        return buffer;
    });
    const commands = plan.commands.map(({ kernel, bindings, workgroups, from, to }) => {
        // WebGPU copies nothing within one buffer.
        if (kernel === undefined) return { from, to, between: from[0] === to[0] ? memory(device, from[2]) : undefined };
        const { layout, pipeline } = kernels[kernel];
        const entry = ([at, offset, length], binding) => ({ binding, resource: { buffer: buffers[at], offset: 4 * offset, size: Math.ceil(length / 4) * 16 } });
        return { pipeline, group: device.createBindGroup({ layout, entries: bindings.map(entry) }), workgroups };
    });
    await device.popErrorScope().then((lack) => { if (lack) throw new Error(`the device has too little memory: ${lack.message}`); });
    const port = (/** @type {Port[]} */ ports, name) => {
        const found = ports.find((port) => port.name === name);
        if (!found) throw new Error(`the plan has no ${name}, only ${ports.map(({ name }) => name).join(', ')}`);
        return { ...found, buffer: buffers[found.place[0]], offset: found.place[1], length: found.place[2] };
    };
    return {
        states, /** @type {Port[]} */ inputs: plan.inputs, /** @type {Port[]} */ outputs: plan.outputs,
        /** Sets an input; it keeps its values for later runs. @param {string} name @param {Float32Array | Uint32Array} values */
        write(name, values) {
            const { type, buffer, offset, length, below } = port(plan.inputs, name);
            if (!(values instanceof arrays[type]) || values.length !== length) throw new Error(`${name} takes ${length} elements of ${type}, not ${values.length}`);
            const wrong = below === null ? undefined : values.find((value) => value >= below);
            if (wrong !== undefined) throw new Error(`${name} holds ${wrong}, which is not below ${below}`);
            device.queue.writeBuffer(buffer, 4 * offset, /** @type {BufferSource} */ (values));
        },
        /** Hands one run to the device, and does not wait for it. */
        run() {
            const encoder = device.createCommandEncoder();
            let /** @type {GPUComputePassEncoder | undefined} */ pass;
            for (const { pipeline, group, workgroups, from, to, between } of commands) {
                if (pipeline) {
                    pass ??= encoder.beginComputePass();
                    pass.setPipeline(pipeline);
                    pass.setBindGroup(0, group);
                    pass.dispatchWorkgroups(workgroups[0], workgroups[1], workgroups[2]);
                } else {
                    pass = pass?.end() ?? undefined;
                    if (between) encoder.copyBufferToBuffer(buffers[from[0]], 4 * from[1], between, 0, 4 * from[2]);
                    encoder.copyBufferToBuffer(between ?? buffers[from[0]], between ? 0 : 4 * from[1], buffers[to[0]], 4 * to[1], 4 * to[2]);
                }
            }
            pass?.end();
            device.queue.submit([encoder.finish()]);
        },
        /** Outputs of the last run, waited for once. @param {string[]} names @returns {Promise<Record<string, Float32Array | Uint32Array>>} */
        async read(...names) {
            const ports = names.map((name) => port(plan.outputs, name));
            const values = await fetched(device, ports);
            return Object.fromEntries(ports.map(({ name, type }, i) => [name, new arrays[type](values[i])]));
        },
        /** Frees the plan's own memory, not that of its states. */
        destroy() {
            plan.buffers.forEach(({ group }, i) => group === undefined && buffers[i].destroy());
            commands.forEach(({ between }) => between?.destroy());
        },
    };
}
