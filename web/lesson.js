// Teaches the base model songs, on the visitor's GPU: the plans, the choices and the numbers come from the core, as `humdinger train` has them.
import { States, load } from './plan.js';
import { series } from './core.js';

/** @typedef {{ song: string, name: string, rate: number, samples: Int16Array }} Take */
/** @typedef {{ epoch: number, trainLoss: number, loss: number, accuracy: number, best: boolean, over: boolean }} Epoch */

/**
 * @param {{ ask: any, device: GPUDevice, base: ArrayBuffer, takes: Take[], seed: number, epochs: number | null, signal: AbortSignal,
 *     began: (told: { epochs: number, songs: string[] }) => void, learnt: (epoch: Epoch) => void }} given
 * @returns {Promise<ArrayBuffer>} a model file
 */
export async function teach({ ask, device, base, takes, seed, epochs, signal, began, learnt }) {
    const recordings = takes.map(({ song, name, rate }) => ({ song, name, rate }));
    const told = ask({ ask: 'teach', seed, epochs, recordings }, base, ...takes.map(({ samples }) => samples));
    const states = new States(device);
    const plans = new Map();
    const planFor = (lesson) => (count) => {
        const key = `${lesson} ${count}`;
        if (!plans.has(key)) plans.set(key, load(device, ask({ ask: 'lesson', lesson, count }), states));
        return plans.get(key);
    };
    try {
        // All at once: the browser compiles side by side.
        const left = told.train % told.batch;
        const counts = [...(told.train >= told.batch ? [told.batch] : []), ...(left ? [left] : [])];
        await Promise.all([...counts.map(planFor('train')), planFor('hear')(1), planFor('views')(1)]);
        const { names, pieces } = ask({ ask: 'states' });
        states.set(Object.fromEntries(names.map((name, i) => [name, new Float32Array(pieces[i])])));
        began(told);
        let kept = {};
        for (let over = false; !over; ) {
            signal.throwIfAborted();
            const { steps, heard, pieces } = ask({ ask: 'epoch' });
            const trained = await series(planFor('train'), steps, pieces, ['loss', 'logits']);
            const checked = await series(planFor('hear'), heard, pieces, ['logits', 'vectors']);
            const epoch = ask({ ask: 'learnt' }, trained.loss, trained.logits, checked.logits, checked.vectors);
            if (epoch.best) kept = await states.get(...told.kept);
            learnt(epoch);
            over = epoch.over;
        }
        states.set(kept);
        const views = ask({ ask: 'views' });
        const { logits, vectors } = await series(planFor('views'), views.runs, views.pieces, ['logits', 'vectors']);
        signal.throwIfAborted();
        return ask({ ask: 'finish' }, logits, vectors, ...told.kept.map((name) => kept[name])).pieces[0];
    } finally {
        for (const plan of await Promise.allSettled(plans.values())) plan.value?.destroy();
        states.destroy();
    }
}
