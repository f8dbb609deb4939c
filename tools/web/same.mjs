// Whether two builds of the core answer alike: the one that is kept in web/, and the one that the sources give. Another compiler may make other
// bytes of the same sources, and other words in a message change bytes that no page sees.
//
//     node same.mjs ONE.wasm OTHER.wasm
import { readFileSync } from 'node:fs';
import { open } from '../../web/core.js';

const base = readFileSync('../../models/base.safetensors');
const tone = (hz, rate, seconds) => Float32Array.from({ length: rate * seconds }, (_, i) => 0.3 * Math.sin((2 * Math.PI * hz * i * (1 + 2e-6 * i)) / rate));
const whole = (samples) => Int16Array.from(samples, (x) => Math.round(32767 * x));

async function answers(file) {
    const ask = await open({ arrayBuffer: async () => readFileSync(file) });
    const all = [];
    const note = (question, ...pieces) => {
        let answer;
        try {
            answer = ask(question, ...pieces);
        } catch (error) {
            answer = { refused: error.message };
        }
        all.push([question.ask, JSON.stringify(answer, (key, value) => (value instanceof ArrayBuffer ? Buffer.from(value).toString('base64') : value))]);
        return answer;
    };
    note({ ask: 'plan' });
    note({ ask: 'model' }, base);
    note({ ask: 'plan' });
    note({ ask: 'inputs', name: 'a tone', rate: 44100 }, tone(220, 44100, 10), tone(220, 44100, 10));
    note({ ask: 'predict_on_cpu', top: 3 });
    note({ ask: 'pitch', rate: 16000 }, tone(330, 16000, 1));
    const recordings = ['a', 'a', 'a', 'b', 'b', 'b'].map((song, i) => ({ song, name: `${i}.wav`, rate: 16000 }));
    note({ ask: 'teach', seed: 3, epochs: 2, recordings }, base, ...recordings.map((_, i) => whole(tone(200 + 30 * i, 16000, 3))));
    note({ ask: 'lesson', lesson: 'train', count: 4 });
    note({ ask: 'states' });
    const { steps, validation } = note({ ask: 'epoch' });
    const zeros = (count) => new Float32Array(count);
    note({ ask: 'learnt' }, zeros(steps.length), zeros(2 * 4), zeros(2 * validation.length), zeros(96 * validation.length));
    note({ ask: 'augmented' });
    // All the way to a model, whose numbers depend on everything that trains.
    note({ ask: 'teach', seed: 3, epochs: 2, recordings }, base, ...recordings.map((_, i) => whole(tone(200 + 30 * i, 16000, 3))));
    note({ ask: 'epoch_on_cpu' });
    note({ ask: 'epoch_on_cpu' });
    note({ ask: 'epoch_on_cpu' });
    note({ ask: 'finish_on_cpu' });
    note({ ask: 'nonsense' });
    return all;
}

const [one, other] = await Promise.all(process.argv.slice(2).map(answers));
const different = one.filter(([, said], i) => said !== other[i][1]).map(([question]) => question);
if (different.length > 0) {
    console.error(`the kept core answers otherwise than its sources give: ${different.join(', ')}; run tools/web/build, and commit web/humdinger.wasm`);
    process.exit(1);
}
console.log(`the kept core answers as its sources do: ${one.length} questions`);
