// The other side of web/wasm: questions to the Rust sources that humdinger itself is made of.

/** @typedef {ArrayBufferView | ArrayBuffer} Piece */

/** @param {Promise<Response>} response @returns {Promise<(question: object, ...pieces: Piece[]) => any>} */
export async function open(response) {
    const { instance } = await WebAssembly.instantiate(await (await response).arrayBuffer(), {});
    const { memory, room, ask, piece, piece_len } = instance.exports;
    const put = (bytes) => {
        // Before the memory is looked at: it moves when it grows.
        const place = room(bytes.length);
        new Uint8Array(memory.buffer, place, bytes.length).set(bytes);
    };
    const back = (number) => new Uint8Array(memory.buffer, piece(number), piece_len(number)).slice();
    /** Asks, and throws what is wrong. What comes back is the answer, with pieces of memory as `pieces` where there are any. */
    return (question, ...pieces) => {
        put(new TextEncoder().encode(JSON.stringify(question)));
        for (const given of pieces) put(given instanceof ArrayBuffer ? new Uint8Array(given) : new Uint8Array(given.buffer, given.byteOffset, given.byteLength));
        const count = ask();
        const text = new TextDecoder().decode(back(0));
        if (count < 0) throw new Error(text);
        const answer = JSON.parse(text);
        for (let i = 1; i < count; i += 1) (answer.pieces ??= []).push(back(i).buffer);
        return answer;
    };
}

/** Runs the plan of its count for each of these runs, as the core lists them; `pieces` are the values of their inputs, in order.
 * @param {(count: number) => Promise<any>} planOf @param {{ count: number, inputs: string[] }[]} runs @param {ArrayBuffer[]} pieces
 * @param {string[]} names of outputs @returns {Promise<Record<string, Float32Array>>} these outputs, one run after the other */
export async function series(planOf, runs, pieces, names) {
    const all = Object.fromEntries(names.map((name) => [name, []]));
    for (const { count, inputs } of runs) {
        const plan = await planOf(count);
        for (const name of inputs) {
            const values = pieces.shift();
            const port = plan.inputs.find((port) => port.name === name);
            if (port) plan.write(name, port.type === 'u32' ? new Uint32Array(values) : new Float32Array(values));
        }
        plan.run();
        const read = await plan.read(...names);
        names.forEach((name) => all[name].push(read[name]));
    }
    return Object.fromEntries(names.map((name) => [name, joined(all[name])]));
}

/** @param {Float32Array[]} parts */
export function joined(parts) {
    const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
    return whole;
}
