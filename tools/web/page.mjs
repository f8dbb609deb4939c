// Uses the page in headless Chromium as visitors do: hums to it, drops files on it, teaches it songs.
//
//     node page.mjs PAGE SOUNDS [--served ADDRESS] [--shots FOLDER]
//
// PAGE holds what `humdinger export --web PAGE` writes; SOUNDS `hum.wav` and `hum.m4a`, the tune Twinkle, `other.wav`, which is none of the song book, `songs/SONG/*.wav`, three songs with
// three recordings each, and `new/SONG.wav`, sung by somebody else. What was taught is left in SOUNDS as `model.safetensors` and `recordings.zip`, and `taught.json` says what the page makes
// of `hum.wav` with it. ADDRESS is where
// `humdinger serve` serves the same page, with Twinkle and others in its song book.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createRequire } from 'node:module';
import { browse, serve } from './browser.mjs';

const [folder, sounds, ...options] = process.argv.slice(2);
const option = (name) => (options.includes(name) ? options[options.indexOf(name) + 1] : null);
const [shots, served] = [option('--shots'), option('--served')];
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const server = await serve({ '/': folder });
const faults = [];
/** Requests that the visitor has agreed to. */
const expected = [];
const expect = (good, what) => good || faults.push(what);
const seconds = (begun) => ((performance.now() - begun) / 1000).toFixed(1);

/** A page that is ready, and that tells of every fault. */
async function opened(browser, options = {}, address = server.address) {
    const context = await browser.newContext({ acceptDownloads: true, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(120_000);
    page.on('console', (message) => message.type() === 'error' && faults.push(`console: ${message.text()}`));
    page.on('pageerror', (error) => faults.push(`error: ${error.stack}`));
    page.on('request', (request) => {
        const url = request.url();
        if (!url.startsWith(address) && !url.startsWith('blob:') && !url.startsWith('data:')) faults.push(`a request to ${url}`);
        if (request.method() !== 'GET' && !expected.includes(`${request.method()} ${url}`)) faults.push(`${request.method()} ${url}`);
    });
    const begun = performance.now();
    await page.goto(address === server.address ? `${address}/index.html` : address);
    await ready(page);
    return [page, seconds(begun)];
}

const ready = (page) => page.waitForFunction(() => document.documentElement.dataset.ready === 'yes');
const answered = async (page) => {
    await page.waitForFunction(() => !document.querySelector('#answer').hidden || !['', null].includes(document.querySelector('#notice').textContent) && !document.querySelector('#notice button'));
    return page.evaluate(() => ({ song: document.querySelector('#song').textContent, sure: document.querySelector('#sure').textContent, notice: document.querySelector('#notice').textContent }));
};
const hide = (page) => page.evaluate(() => (document.querySelector('#answer').hidden = true, document.querySelector('#notice').replaceChildren()));

async function drop(page, path) {
    const bytes = readFileSync(path).toString('base64');
    await page.evaluate(({ bytes, name }) => {
        const file = new File([Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))], name);
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(file);
        dispatchEvent(new DragEvent('drop', { dataTransfer, cancelable: true }));
    }, { bytes, name: path.split('/').at(-1) });
}

const songs = readdirSync(join(sounds, 'songs')).sort();
const takesOf = (song) => readdirSync(join(sounds, 'songs', song)).sort().map((name) => resolve(sounds, 'songs', song, name));

/** Names the songs, and adds the recordings of each. */
async function give(page) {
    for (const song of songs) {
        await page.fill('#name', song);
        await page.press('#name', 'Enter');
        const takes = takesOf(song);
        await page.setInputFiles(`input[aria-label="Add files to ${song}"]`, takes);
        await page.waitForFunction(({ song, count }) => document.querySelectorAll(`button[aria-label$="of ${song}"][aria-label^="Play"]`).length === count, { song, count: takes.length });
    }
    await page.click('#teach details summary');
    await page.fill('#seed', '7');
}

/** Waits for the end of training, and says how it went. */
async function learnt(page, what) {
    const begun = performance.now();
    await page.waitForFunction(() => document.documentElement.dataset.trained === 'yes' || document.querySelector('#notice').textContent.startsWith('That went wrong'), null, { timeout: 600_000 });
    const epochs = await page.evaluate(() => document.querySelector('#curve polyline').getAttribute('points').split(' ').length);
    console.log(`${what}: three songs, ${epochs} epochs in ${seconds(begun)} s: ${await page.textContent('#learning')}`);
    expect(epochs > 10, `${what}: it ends after ${epochs} epochs`);
    return page.evaluate(() => document.querySelector('#notice').textContent);
}

const recognise = async (page, file = hum) => {
    await hide(page);
    await page.setInputFiles('#file', file);
    return answered(page);
};

/** Songs as they were sung to it are named, and as others sing them found. */
async function recognised(page, what) {
    for (const song of songs) {
        const { song: said, notice } = await recognise(page, takesOf(song)[0]);
        expect(said === song, `${what}, ${song} is named "${said}" ${notice}`);
        const { song: first, sure } = await recognise(page, resolve(sounds, 'new', `${song}.wav`));
        console.log(`${what}, ${song} by somebody else: ${first}, ${sure}`);
        expect(first === song || sure.includes(song), `${what}, ${song} by somebody else is named "${first}" (${sure})`);
    }
}

/** Holds the page against axe-core's rules, at both widths, light and dark. */
async function looked(page, name) {
    for (const width of [1280, 390]) {
        for (const colorScheme of ['light', 'dark']) {
            await page.setViewportSize({ width, height: 900 });
            await page.emulateMedia({ colorScheme });
            await page.evaluate(axe);
            const { violations } = await page.evaluate(() => axe.run());
            for (const { id, nodes } of violations) faults.push(`${name}, ${width} pixels, ${colorScheme}: ${id}: ${nodes[0].html}`);
            const wide = await page.evaluate(() => document.documentElement.scrollWidth);
            expect(wide <= width, `${name}: ${wide} pixels wide in a window of ${width}`);
            if (shots) await page.screenshot({ path: join(shots, `${name}-${width}-${colorScheme}.png`), fullPage: true });
        }
    }
    await page.emulateMedia({ colorScheme: 'light' });
    await page.setViewportSize({ width: 1280, height: 900 });
}

if (shots) mkdirSync(shots, { recursive: true });
const hum = resolve(sounds, 'hum.wav');

// ---- a microphone that hums
{
    const media = ['--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${hum}`];
    const browser = await browse({ args: media });
    const [page, took] = await opened(browser, { permissions: ['microphone'] });
    await page.keyboard.press('Tab');
    expect((await page.evaluate(() => document.activeElement.id)) === 'hum', 'the first stop of the tab key is the big button');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelector('#hum').classList.contains('recording'));
    await page.waitForTimeout(4000);
    // While it is hummed: columns of a spectrogram, and the pitch over them.
    const drawn = await page.evaluate(() => {
        const canvas = document.querySelector('#spectrogram');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const like = (colour) => Array.from({ length: data.length / 4 }, (_, i) => i).filter((i) => colour.every((value, c) => Math.abs(data[4 * i + c] - value) < 12));
        const columns = (pixels) => new Set(pixels.map((i) => i % canvas.width)).size;
        return { line: columns(like([125, 255, 178])), width: canvas.width };
    });
    console.log(`after 4 s of 12, the pitch is drawn in ${drawn.line} of ${drawn.width} columns`);
    expect(drawn.line > 50 && drawn.line < drawn.width / 2, `while it is hummed, the pitch is drawn in ${drawn.line} columns`);
    await page.waitForTimeout(3000);
    await page.keyboard.press('Enter');
    const { song, sure, notice } = await answered(page);
    console.log(`microphone: ready after ${took} s, ${song}, ${sure}, answered in ${await page.getAttribute('html', 'data-seconds')} s`);
    expect(song === 'Twinkle', `a hummed Twinkle is named "${song}" (${sure}) ${notice}`);
    await looked(page, 'answer');

    // ---- a file that is dropped, and one that is no sound
    await hide(page);
    await drop(page, resolve(sounds, 'hum.m4a'));
    const dropped = await answered(page);
    expect(dropped.song === 'Twinkle', `a dropped M4A of Twinkle is named "${dropped.song}" ${dropped.notice}`);
    await hide(page);
    await page.setInputFiles('#file', { name: 'letter.txt', mimeType: 'text/plain', buffer: Buffer.from('dear') });
    const { notice: refused } = await answered(page);
    expect(refused.includes('letter.txt cannot be read'), `a letter gives "${refused}"`);

    // ---- without a network
    await page.waitForFunction(async () => (await (await caches.open('humdinger-page')).keys()).length > 10);
    await page.context().setOffline(true);
    await page.reload();
    await ready(page);
    const { song: offline } = await recognise(page);
    expect(offline === 'Twinkle', `without a network Twinkle is named "${offline}"`);
    await page.context().setOffline(false);
    await browser.close();
}

// ---- no microphone is lent
{
    const browser = await browse();
    const [page] = await opened(browser);
    await page.click('#hum');
    const { notice } = await answered(page);
    expect(/microphone/.test(notice) && /file/.test(notice), `a microphone that is not lent gives "${notice}"`);
    await browser.close();
}

// ---- no WebGPU
{
    const browser = await browse({ webgpu: false });
    const [page] = await opened(browser);
    expect((await page.textContent('#notice')).includes('no WebGPU'), 'a browser without WebGPU is told so');
    const begun = performance.now();
    await page.setInputFiles('#file', hum);
    await page.waitForFunction(() => !document.querySelector('#answer').hidden);
    const { song } = await answered(page);
    console.log(`without WebGPU: ${song} in ${seconds(begun)} s`);
    expect(song === 'Twinkle', `without WebGPU Twinkle is named "${song}"`);
    await give(page);
    expect(await page.isHidden('#train-there'), 'nobody serves this page who trains');
    await page.click('#train');
    const failed = await learnt(page, 'without WebGPU');
    await recognised(page, 'taught without WebGPU');
    expect(!failed.startsWith('That went wrong'), failed);
    await looked(page, 'without-webgpu');
    await browser.close();
}

// ---- served by the program, which reads what the browser cannot
if (served) {
    const browser = await browse();
    const [page] = await opened(browser, {}, served);
    await page.setInputFiles('#file', resolve(sounds, 'hum.aiff'));
    await page.waitForFunction(() => document.querySelector('#notice button'));
    expect(await page.isHidden('#answer'), 'a file is sent before anybody wants it');
    expected.push(`POST ${served}predict?top=5`);
    await page.click('#notice button');
    const { song, notice } = await answered(page);
    expect(song === 'Twinkle', `the program that serves the page names Twinkle "${song}" ${notice}`);
    await browser.close();
}

// ---- served by the program, which has a song book
if (served) {
    const browser = await browse();
    const [page] = await opened(browser, {}, served);
    const lookedUp = async () => {
        await page.click('#look-up');
        await page.waitForFunction(() => !document.querySelector('#found').hidden);
        return page.locator('#matches > li').allTextContents();
    };
    await page.setInputFiles('#file', hum);
    await page.waitForFunction(() => !document.querySelector('#answer').hidden);
    expect((await page.textContent('#sends-sound')).includes(new URL(served).host), 'it is not said where a recording is sent to be looked up');
    expect((await page.textContent('main')).includes('unless you have it looked up'), 'it says that nothing is sent anywhere');
    expect(await page.isHidden('#found'), 'a recording is looked up before anybody wants it');
    expected.push(`POST ${served}identify?top=5`);
    const [first] = await lookedUp();
    expect(first.startsWith('Twinkle'), `the song book names Twinkle "${first}"`);
    expect(await page.isHidden('#not-in-book'), 'Twinkle is not in the song book, it says');
    await looked(page, 'served-song-book');
    // The next recording has not been looked up.
    await page.setInputFiles('#file', resolve(sounds, 'other.wav'));
    await page.waitForFunction(() => document.querySelector('#found').hidden && !document.querySelector('#look-up').disabled && document.querySelector('#status').textContent.startsWith('Ready'));
    await lookedUp();
    expect(await page.isVisible('#not-in-book'), 'a song that is not in the song book is said to be in it');
    await browser.close();
}

// ---- served by the program, which trains where the browser has no WebGPU
if (served) {
    const browser = await browse({ webgpu: false });
    const [page] = await opened(browser, {}, served);
    await give(page);
    expect((await page.textContent('#there')).includes(new URL(served).host), 'it is not said where recordings are sent');
    expected.push(`POST ${served}train?seed=7`, `DELETE ${served}train`);
    await page.click('#train-there');
    const failed = await learnt(page, 'taught by the program');
    expect(!failed.startsWith('That went wrong'), failed);
    await recognised(page, 'taught by the program');
    // Nothing of it stays there.
    const state = await page.evaluate(async () => (await (await fetch('train')).json()).state);
    expect(state === 'none', `the program keeps what it has trained: ${state}`);
    await looked(page, 'served-without-webgpu');
    await browser.close();
}

// ---- songs of one's own
{
    const browser = await browse();
    const [page] = await opened(browser);
    await give(page);
    await page.fill('#name', songs[0].toLowerCase());
    await page.press('#name', 'Enter');
    expect((await page.locator('#lessons > li').count()) === songs.length, 'a song is added twice');
    await page.fill('#name', '');
    expect(await page.isHidden('#train-there'), 'with WebGPU nobody else trains');
    // Begun, given up, begun again.
    await page.click('#train');
    await page.waitForFunction(() => document.querySelector('#curve polyline'), null, { timeout: 400_000 });
    await page.click('#cancel');
    await page.waitForFunction(() => document.querySelector('#learning').textContent.startsWith('Training was stopped'));
    expect(await page.isHidden('#which'), 'training that was given up has left a model');
    await page.click('#train');
    await page.waitForFunction(() => document.querySelector('#curve polyline')?.getAttribute('points').includes(' '), null, { timeout: 400_000 });
    expect(await page.isVisible('#progress'), 'there is no progress bar');
    if (shots) await looked(page, 'training');
    const failed = await learnt(page, 'on the GPU');
    expect(failed === '', failed);
    await recognised(page, 'taught on the GPU');
    expect(await page.isVisible('#curve polyline.checks'), 'the curve is not seen');
    expect(await page.isChecked('#which [value=yours]'), 'the visitor\'s songs are not marked as those that are named');
    const before = await recognise(page);
    await looked(page, 'taught');
    await page.check('#which [value=builtIn]');
    await page.waitForFunction(() => document.querySelectorAll('#songs li').length > 3 && document.querySelector('#status').textContent.startsWith('Ready'));
    const other = await recognise(page);
    expect(other.song === 'Twinkle', `the built-in songs again, Twinkle is named "${other.song}"`);
    await page.reload();
    await ready(page);
    expect((await page.locator('#lessons > li').count()) === songs.length, 'songs are gone after the page was loaded again');
    expect(await page.isChecked('#which [value=yours]'), 'loaded again, the page names other songs');
    const after = await recognise(page);
    expect(after.song === before.song && after.sure === before.sure, `loaded again, "${before.song}" ${before.sure} is "${after.song}" ${after.sure}`);
    for (const [control, name] of [['#save-model', 'model.safetensors'], ['#save-recordings', 'recordings.zip']]) {
        const [download] = await Promise.all([page.waitForEvent('download'), page.click(control)]);
        expect(download.suggestedFilename() === name, `${control} saves ${download.suggestedFilename()}`);
        await download.saveAs(join(sounds, name));
    }
    const told = await page.evaluate(() => [...document.querySelectorAll('#songs li')].map(({ textContent }) => textContent));
    writeFileSync(join(sounds, 'taught.json'), JSON.stringify({ ...after, songs: told }));
    page.on('dialog', (dialog) => dialog.accept());
    await page.click('#forget');
    await page.waitForFunction(() => document.querySelector('#which').hidden && document.querySelectorAll('#lessons > li').length === 0);
    await browser.close();
}

server.close();
faults.forEach((fault) => console.error(fault));
console.log(`the page: ${faults.length} faults`);
process.exit(faults.length === 0 ? 0 : 1);
