// Holds web/plan.js against the CPU's numbers in headless Chromium, and opens web/example.html.
//
//     node runner_page.mjs FOLDER PAGE
//
// FOLDER holds what `HUMDINGER_WEB=FOLDER cargo test --test web_runner` writes, PAGE what `humdinger export --web PAGE --model` of a model of the
// recipe notebook does.
import { browse, serve } from './browser.mjs';
import { judged } from './numbers.mjs';

const [numbers, example] = process.argv.slice(2);
const server = await serve({ '/web/': '../../web', '/tools/': '.', '/numbers/': numbers, '/example/': example });
const browser = await browse();
const page = await browser.newPage();
const faults = [];
page.on('console', (message) => message.type() === 'error' && faults.push(`console: ${message.text()}`));
page.on('pageerror', (error) => faults.push(`error: ${error.message}`));
await page.goto(`${server.address}/example/example.html`);
for (const recipe of ['melody', 'notebook']) {
    const found = await page.evaluate(async (recipe) => {
        const [{ load }, { read }, { distances }] = await Promise.all(['/web/plan.js', '/web/safetensors.js', '/tools/numbers.mjs'].map((path) => import(path)));
        const file = async (name) => fetch(`/numbers/${recipe}.${name}`);
        const { tensors } = read(await (await file('safetensors')).arrayBuffer());
        const plans = { train: await (await file('train.json')).json(), evaluate: await (await file('evaluate.json')).json() };
        const device = await (await navigator.gpu.requestAdapter()).requestDevice();
        return distances(device, load, plans, tensors);
    }, recipe);
    console.log(`${recipe} in Chromium ${browser.version()}: ${JSON.stringify(found)}`);
    faults.push(...judged(recipe, found));
}
await page.waitForFunction(() => !document.querySelector('#said').textContent.startsWith('Compiling'), null, { timeout: 120_000 });
const said = await page.textContent('#said');
console.log(`the example says: ${said}`);
// A name and a number for each song.
if (!/^\S+ -?\d+\.\d+(, .+ -?\d+\.\d+)+$/.test(said)) faults.push(`the example says "${said}"`);
await browser.close();
server.close();
faults.forEach((fault) => console.error(fault));
process.exit(faults.length === 0 ? 0 : 1);
