// What the page keeps in the browser, and what it writes to files.

const [NAME, TABLE, KEY] = ['humdinger', 'kept', 'all'];

/** @param {IDBRequest} request */
const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
});

async function table(mode) {
    const opening = indexedDB.open(NAME, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(TABLE);
    return (await done(opening)).transaction(TABLE, mode).objectStore(TABLE);
}

/** What was kept, where there is anything. */
export const kept = async () => done((await table('readonly')).get(KEY));
export const keep = async (value) => done((await table('readwrite')).put(value, KEY));
export const forget = async () => done((await table('readwrite')).delete(KEY));

/** Hands a file to the visitor. @param {string} name @param {BlobPart} bytes @param {string} type */
export function save(name, bytes, type) {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([bytes], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const crcs = Uint32Array.from({ length: 256 }, (_, byte) => {
    for (let i = 0; i < 8; i += 1) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
    return byte;
});
const crc = (bytes) => ~bytes.reduce((sum, byte) => crcs[(sum ^ byte) & 255] ^ (sum >>> 8), ~0) >>> 0;

/** A ZIP file of these files, not compressed. @param {{ name: string, bytes: Uint8Array }[]} files */
export function zip(files) {
    const [parts, directory] = [[], []];
    let at = 0;
    for (const { name, bytes } of files) {
        const text = new TextEncoder().encode(name);
        // Version, names in UTF-8, stored; midnight of the first of January 2026; checksum and lengths.
        const fields = new DataView(new ArrayBuffer(26));
        [20, 0x800, 0, 0, ((2026 - 1980) << 9) | (1 << 5) | 1].forEach((value, i) => fields.setUint16(2 * i, value, true));
        [crc(bytes), bytes.length, bytes.length].forEach((value, i) => fields.setUint32(10 + 4 * i, value, true));
        fields.setUint16(22, text.length, true);
        const central = new DataView(new ArrayBuffer(14));
        central.setUint32(10, at, true);
        parts.push(Uint8Array.of(0x50, 0x4b, 3, 4), fields, text, bytes);
        directory.push(Uint8Array.of(0x50, 0x4b, 1, 2, 20, 0), fields, central, text);
        at += 30 + text.length + bytes.length;
    }
    const end = new DataView(new ArrayBuffer(18));
    [files.length, files.length].forEach((value, i) => end.setUint16(4 + 2 * i, value, true));
    end.setUint32(8, directory.reduce((sum, part) => sum + part.byteLength, 0), true);
    end.setUint32(12, at, true);
    return new Blob([...parts, ...directory, Uint8Array.of(0x50, 0x4b, 5, 6), end]);
}
