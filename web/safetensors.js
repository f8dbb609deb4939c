// Reads files of weights: https://huggingface.co/docs/safetensors, as far as humdinger writes them.

/** What 16 bits mean as a number of half precision. */
function half(bits) {
    const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

/** The real tensors of a file, by name, and the text of its header.
 * @param {ArrayBuffer} file @returns {{ tensors: Record<string, Float32Array>, metadata: Record<string, string> }} */
export function read(file) {
    const begin = 8 + Number(new DataView(file).getBigUint64(0, true));
    const { __metadata__: metadata = {}, ...entries } = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, begin - 8)));
    const tensors = /** @type {Record<string, Float32Array>} */ ({});
    for (const [name, { dtype, data_offsets: [from, to] }] of Object.entries(entries)) {
        const bytes = file.slice(begin + from, begin + to);
        if (dtype === 'F32') tensors[name] = new Float32Array(bytes);
        if (dtype === 'F16') tensors[name] = Float32Array.from(new Uint16Array(bytes), half);
    }
    return { tensors, metadata };
}
