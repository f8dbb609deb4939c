// Holds what a page has taught against what `train` makes of the same recordings.
//
//     node compare.mjs PAGE.json TRAIN.json TAUGHT.json
//
// The first two are what `predict --format json --top 3` says of `hum.wav` with the page's model and with the trained one; the third is what
// the page itself said of it.
import { readFileSync } from 'node:fs';

const [[page], [train], taught] = process.argv.slice(2).map((file) => JSON.parse(readFileSync(file, 'utf8')));
const faults = [];
const songs = page.top.map(({ song }) => song);
if (songs.join() !== train.top.map(({ song }) => song).join()) faults.push(`the page's model finds ${songs}, the trained one ${train.top.map(({ song }) => song)}`);
// Logits are divided by a temperature of a twentieth at least.
const far = Math.max(...page.top.map(({ probability }, i) => Math.abs(Math.log(probability / train.top[i].probability)) / 20));
if (!(far <= 1e-3)) faults.push(`logits are ${far} apart`);
if (page.decision !== train.decision) faults.push(`the page's model: ${page.reason}; the trained one: ${train.reason}`);
const said = page.prediction === 'unknown' ? 'Unknown' : page.prediction;
if (taught.song !== said) faults.push(`the page says ${taught.song}, predict with its model ${said}`);
console.log(`taught in the page and by train: logits ${far.toExponential(1)} apart; both say ${page.prediction}, ${page.reason}`);
faults.forEach((fault) => console.error(fault));
process.exit(faults.length === 0 ? 0 : 1);
