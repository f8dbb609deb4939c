// Headless Chromium with WebGPU on SwiftShader, and a server of folders on this machine.
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { chromium } from 'playwright-core';

const BROWSERS = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const TYPES = {
    '.html': 'text/html; charset=utf-8',
    '.js': 'text/javascript; charset=utf-8',
    '.mjs': 'text/javascript; charset=utf-8',
    '.css': 'text/css; charset=utf-8',
    '.json': 'application/json',
    '.wasm': 'application/wasm',
};

/** Serves folders, `{ '/name': folder }`, on a port of 127.0.0.1 that is free. */
export async function serve(folders) {
    const server = createServer((request, response) => {
        const asked = normalize(decodeURIComponent(new URL(request.url, 'http://x').pathname));
        const path = asked.endsWith('/') ? `${asked}index.html` : asked;
        const found = Object.entries(folders).map(([prefix, folder]) => path.startsWith(prefix) && join(folder, path.slice(prefix.length)));
        const file = found.find((file) => file && existsSync(file) && statSync(file).isFile());
        if (!file) return response.writeHead(404).end();
        response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' });
        createReadStream(file).pipe(response);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { address: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

/** A browser that asks nobody but pages; `webgpu` is whether it has one, `quick` whether shaders compile as they cannot in a page, ten times faster. */
export async function browse({ webgpu = true, quick = true, args = [], profile } = {}) {
    const executablePath = BROWSERS.find((path) => path && existsSync(path));
    if (!executablePath) throw new Error('no Chromium; set CHROMIUM to one');
    const all = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-default-apps'];
    if (webgpu) all.push('--enable-unsafe-webgpu');
    if (webgpu && quick) all.push('--enable-dawn-features=allow_unsafe_apis,disable_workgroup_init');
    const options = { executablePath, args: [...all, ...args], chromiumSandbox: false };
    return profile ? chromium.launchPersistentContext(profile, options) : chromium.launch(options);
}
