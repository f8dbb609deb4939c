// The lines for a browser of README's table "Use it from", as they stand there: the first two are run, the third is opened in Chromium.
//
//     node readme.mjs PROGRAM MODEL
//
// PROGRAM is the binary, MODEL the file that the lines call songs.safetensors.
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { browse } from './browser.mjs';

const [program, model] = process.argv.slice(2).map((path) => resolve(path));
const page = readFileSync(new URL('../../README.md', import.meta.url), 'utf8').split('## Use it from')[1];
const rows = page.split('\n').filter((line) => line.startsWith('| a browser | '));
if (rows.length !== 1) throw new Error(`README has ${rows.length} rows for a browser`);
const lines = rows[0].split(' | ')[1].split('<br>').map((line) => line.replaceAll('`', ''));
const [make, serve, open] = lines;
const address = open?.match(/^open (http:\S+)$/)?.[1];
if (lines.length !== 3 || !make.startsWith('humdinger ') || !address) throw new Error(`not three lines as expected: ${lines.join('; ')}`);

const cwd = mkdtempSync(join(tmpdir(), 'readme-'));
copyFileSync(model, join(cwd, 'songs.safetensors'));
const made = spawnSync(program, make.split(' ').slice(1), { cwd, encoding: 'utf8' });
if (made.status !== 0) throw new Error(`${make}: ${made.stderr}`);
const [command, ...words] = serve.split(' ');
const server = spawn(command, words, { cwd, stdio: 'ignore' });
let browser;
try {
    for (let tries = 0; ; tries++) {
        if (await fetch(address).then((answer) => answer.ok, () => false)) break;
        if (tries > 100 || server.exitCode !== null) throw new Error(`${serve}: nothing answers at ${address}`);
        await wait(100);
    }
    browser = await browse({ webgpu: false });
    const opened = await browser.newPage();
    await opened.goto(address);
    await opened.waitForFunction(() => document.documentElement.dataset.ready === 'yes', null, { timeout: 120_000 });
    console.log(`README's lines for a browser: the page at ${address} is ready`);
} finally {
    await browser?.close();
    server.kill();
    rmSync(cwd, { recursive: true });
}
