// How long the first answer takes where shaders compile as they do for any page, without the flags that make tests quick.
//
//     node first.mjs PAGE SOUND [SECONDS]
//
// PAGE holds what `humdinger export --web PAGE` writes. Fails where page and answer take more than SECONDS together.
import { resolve } from 'node:path';
import { browse, serve } from './browser.mjs';

const [folder, sound, most = '30'] = process.argv.slice(2);
const server = await serve({ '/': folder });
const browser = await browse({ quick: false });
const page = await browser.newPage();
page.setDefaultTimeout(300_000);
const since = (begun) => (performance.now() - begun) / 1000;
const begun = performance.now();
await page.goto(`${server.address}/index.html`);
await page.waitForFunction(() => document.documentElement.dataset.ready === 'yes');
const ready = since(begun);
const answers = [];
for (let i = 0; i < 3; i += 1) {
    await page.evaluate(() => (document.querySelector('#answer').hidden = true));
    await page.setInputFiles('#file', resolve(sound));
    await page.waitForFunction(() => !document.querySelector('#answer').hidden);
    answers.push(Number(await page.getAttribute('html', 'data-seconds')));
}
const song = await page.textContent('#song');
const adapter = await page.evaluate(async () => {
    const { description, vendor, architecture } = (await navigator.gpu.requestAdapter()).info;
    return description || `${vendor} ${architecture}`;
});
await browser.close();
server.close();
const first = ready + answers[0];
console.log(`${adapter}: ready after ${ready.toFixed(1)} s, ${song} after ${first.toFixed(1)} s, further answers in ${answers.slice(1).map((seconds) => `${seconds.toFixed(2)} s`).join(', ')}`);
if (!(first <= Number(most))) {
    console.error(`the first answer takes ${first.toFixed(1)} s, more than ${most}`);
    process.exit(1);
}
