// Teaches the base model songs. The plans, the choices and the numbers come from the core, as `humdinger train` has them; they run on the
// visitor's GPU, on the processor in this page, or in the program that serves the page: three ways to the same model.
import { States, load } from './plan.js';
import { series } from './core.js';
import { wav } from './sound.js';

/** @typedef {{ song: string, name: string, rate: number, samples: Int16Array }} Take */
/** @typedef {{ epoch: number, trainLoss: number, loss: number, accuracy: number, best: boolean, over: boolean }} Epoch */
/** @typedef {{ takes: Take[], seed: number, epochs: number | null, signal: AbortSignal, began: (told: { epochs: number, songs: string[] }) => void,
 *     learnt: (epoch: Epoch) => void }} Given */

const begin = (ask, base, takes, seed, epochs) => {
    const recordings = takes.map(({ song, name, rate }) => ({ song, name, rate }));
    return ask({ ask: 'teach', seed, epochs, recordings }, base, ...takes.map(({ samples }) => samples));
};
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * On the GPU.
 * @param {Given & { ask: any, device: GPUDevice, base: ArrayBuffer }} given
 * @returns {Promise<ArrayBuffer>} a model file
 */
export async function teach({ ask, device, base, takes, seed, epochs, signal, began, learnt }) {
    const told = begin(ask, base, takes, seed, epochs);
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
        await Promise.all([...counts.map(planFor('train')), planFor('validate')(1), planFor('augmented')(1)]);
        const { names, pieces } = ask({ ask: 'states' });
        states.set(Object.fromEntries(names.map((name, i) => [name, new Float32Array(pieces[i])])));
        began(told);
        let kept = {};
        for (let over = false; !over; ) {
            signal.throwIfAborted();
            const { steps, validation, pieces } = ask({ ask: 'epoch' });
            const trained = await series(planFor('train'), steps, pieces, ['loss', 'logits']);
            const checked = await series(planFor('validate'), validation, pieces, ['logits', 'vectors']);
            const epoch = ask({ ask: 'learnt' }, trained.loss, trained.logits, checked.logits, checked.vectors);
            if (epoch.best) kept = await states.get(...told.kept);
            learnt(epoch);
            over = epoch.over;
        }
        states.set(kept);
        const augmented = ask({ ask: 'augmented' });
        const { logits, vectors } = await series(planFor('augmented'), augmented.runs, augmented.pieces, ['logits', 'vectors']);
        signal.throwIfAborted();
        return ask({ ask: 'finish' }, logits, vectors, ...told.kept.map((name) => kept[name])).pieces[0];
    } finally {
        for (const plan of await Promise.allSettled(plans.values())) plan.value?.destroy();
        states.destroy();
    }
}

/**
 * On the processor, in this page, which stands still for the length of an epoch.
 * @param {Given & { ask: any, base: ArrayBuffer }} given
 * @returns {Promise<ArrayBuffer>} a model file
 */
export async function teachHere({ ask, base, takes, seed, epochs, signal, began, learnt }) {
    began(begin(ask, base, takes, seed, epochs));
    for (let over = false; !over; ) {
        await pause(0);
        signal.throwIfAborted();
        const epoch = ask({ ask: 'epoch_on_cpu' });
        learnt(epoch);
        over = epoch.over;
    }
    await pause(0);
    return ask({ ask: 'finish_on_cpu' }).pieces[0];
}

/**
 * In the program that serves this page (docs/http-api.md), to which the recordings are sent.
 * @param {Given & { address: string }} given
 * @returns {Promise<ArrayBuffer>} a model file
 */
export async function teachThere({ address, takes, seed, epochs, signal, began, learnt }) {
    const asked = async (path, options) => {
        const response = await fetch(path, options);
        if (!response.ok) throw new Error((await response.json()).error);
        return response;
    };
    const form = new FormData();
    for (const { song, name, rate, samples } of takes) form.append(song, new Blob([wav(samples, rate)]), name);
    const query = new URLSearchParams({ seed: String(seed), ...(epochs ? { epochs: String(epochs) } : {}) });
    let told = await (await asked(`${address}?${query}`, { method: 'POST', body: form })).json();
    const { number } = told;
    began(told);
    for (let seen = 0; ; ) {
        for (; seen < told.history.length; seen += 1) {
            const { epoch, train_loss: trainLoss, val_loss: loss, val_accuracy: accuracy, best } = told.history[seen];
            learnt({ epoch, trainLoss, loss, accuracy, best, over: false });
        }
        if (told.state === 'done') break;
        if (told.state !== 'training' || told.number !== number) throw new Error(told.error ?? told.state);
        await pause(200);
        if (signal.aborted) await asked(address, { method: 'DELETE' });
        signal.throwIfAborted();
        told = await (await asked(address)).json();
    }
    const model = await (await asked(`${address}/model`)).arrayBuffer();
    // It is kept here, not there.
    await asked(address, { method: 'DELETE' });
    return model;
}
