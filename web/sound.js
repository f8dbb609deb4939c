// Sound in: from the microphone and from files.
import { joined } from './core.js';

/** @typedef {{ channels: Float32Array[], rate: number }} Sound */

/** Records until `stop` is called. @param {(samples: Float32Array, rate: number) => void} came */
export async function microphone(came) {
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    const context = new AudioContext();
    await context.resume();
    await context.audioWorklet.addModule('capture.js');
    const node = new AudioWorkletNode(context, 'capture', { numberOfOutputs: 0 });
    const parts = [];
    node.port.onmessage = ({ data }) => {
        parts.push(data);
        came(data, context.sampleRate);
    };
    context.createMediaStreamSource(stream).connect(node);
    return {
        /** @returns {Promise<Sound>} */
        async stop() {
            stream.getTracks().forEach((track) => track.stop());
            node.port.onmessage = null;
            await context.close();
            return { channels: [joined(parts)], rate: context.sampleRate };
        },
    };
}

/** The rate of a WAV file, so that it is not resampled twice; of others the usual one. */
function rateOf(bytes) {
    const view = new DataView(bytes);
    const word = (at) => (at + 4 <= bytes.byteLength ? String.fromCharCode(...new Uint8Array(bytes, at, 4)) : '');
    if (word(0) === 'RIFF' && word(8) === 'WAVE') {
        for (let at = 12; at + 16 <= bytes.byteLength; at += 8 + view.getUint32(at + 4, true) + (view.getUint32(at + 4, true) % 2)) {
            const rate = view.getUint32(at + 12, true);
            if (word(at) === 'fmt ' && rate >= 8000 && rate <= 96000) return rate;
        }
    }
    return 48000;
}

/** Everything that the browser can read. @param {Blob} file @returns {Promise<Sound>} */
export async function decode(file) {
    const bytes = await file.arrayBuffer();
    const rate = rateOf(bytes);
    const buffer = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
    return { channels: Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i)), rate };
}

/** One channel in 16 bits, as in a WAV file. @param {Sound} sound @returns {Int16Array} */
export function whole({ channels }) {
    const scale = 32768 / channels.length;
    return Int16Array.from(channels[0], (_, i) => Math.max(-32768, Math.min(32767, Math.round(channels.reduce((sum, channel) => sum + channel[i], 0) * scale))));
}

/** A WAV file. @param {Int16Array} samples @param {number} rate */
export function wav(samples, rate) {
    const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
    const text = (at, word) => [...word].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
    text(0, 'RIFF');
    view.setUint32(4, 36 + 2 * samples.length, true);
    text(8, 'WAVEfmt ');
    view.setUint32(16, 16, true);
    view.setUint16(20, 1, true);
    view.setUint16(22, 1, true);
    view.setUint32(24, rate, true);
    view.setUint32(28, 2 * rate, true);
    view.setUint16(32, 2, true);
    view.setUint16(34, 16, true);
    text(36, 'data');
    view.setUint32(40, 2 * samples.length, true);
    samples.forEach((sample, i) => view.setInt16(44 + 2 * i, sample, true));
    return new Uint8Array(view.buffer);
}
