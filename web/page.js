// The page: what is pressed, what is said.
import { open, series } from './core.js';
import { teach, teachHere, teachThere } from './lesson.js';
import { Picture } from './picture.js';
import { load } from './plan.js';
import { read } from './safetensors.js';
import { decode, microphone, wav, whole } from './sound.js';
import { forget, keep, kept, save, zip } from './store.js';
import { language, number, percent, say } from './words.js';

const LONGEST = 12; // seconds that are recorded at most
const SHORTEST = 1;
const TAKES = 2; // of each song, to train at all
const at = (id) => document.getElementById(id);
const picture = new Picture(at('spectrogram'));

const page = {
    /** Questions to the core. @type {any} */ ask: null,
    /** @type {GPUDevice | null} */ device: null,
    /** The plan of the open model. @type {Promise<any> | null} */ plan: null,
    /** @type {{ builtIn: ArrayBuffer | null, base: ArrayBuffer | null, yours: ArrayBuffer | null }} */ models: { builtIn: null, base: null, yours: null },
    /** @type {{ name: string, takes: { rate: number, samples: Int16Array }[] }[]} */ songs: [],
    /** What ends the recording in progress. @type {(() => void) | null} */ stop: null,
    /** @type {AbortController | null} */ training: null,
    /** What the curve shows. @type {[epochs: import('./lesson.js').Epoch[], all: number] | null} */ curve: null,
    /** Where the program that serves this page trains, if it does. @type {string | null} */ train: null,
    /** Where it looks recordings up in a song book, if it has one. @type {string | null} */ identify: null,
    /** The sound file of what was answered last. @type {() => Blob} */ recording: () => new Blob(),
    busy: false,
};

// ---- words

document.documentElement.lang = language;
for (const element of document.querySelectorAll('[data-say]')) element.textContent = say(element.dataset.say);
at('spectrogram').setAttribute('aria-label', say('spectrogram'));

const status = (key, filled) => (at('status').textContent = say(key, filled));
function notice(key, filled, ...further) {
    at('notice').replaceChildren(...(key ? [say(key, filled), ...further] : []));
    at('notice').hidden = !key;
}

function button(word, pressed, label = word) {
    const made = document.createElement('button');
    made.type = 'button';
    made.textContent = word;
    made.setAttribute('aria-label', label);
    made.addEventListener('click', pressed);
    return made;
}

function element(name, ...children) {
    const made = document.createElement(name);
    made.append(...children);
    return made;
}

/** Marks whose songs are named. @param {'builtIn' | 'yours'} which */
const choose = (which) => (at('which').querySelector(`[value=${which}]`).checked = true);
/** Also of pictures, which have no property for it. */
const hide = (part, hidden = true) => part.toggleAttribute('hidden', hidden);

// ---- the model

async function openDevice() {
    const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
    if (!adapter) return null;
    const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
    const device = await adapter.requestDevice({ requiredLimits: { maxBufferSize, maxStorageBufferBindingSize } }).catch(() => adapter.requestDevice());
    device.lost.then(({ message, reason }) => reason === 'destroyed' || notice('lost', { why: message || reason }));
    return device;
}

const bytesOf = async (name) => {
    const response = await fetch(name);
    if (!response.ok) throw new Error(`${name}: ${response.status}`);
    return response.arrayBuffer();
};

/** Makes a model the one that answers; `planned` is its plan where that is there already. */
async function useModel(bytes, planned) {
    const { songs } = page.ask({ ask: 'model' }, bytes);
    at('songs').replaceChildren(...songs.map((song) => element('li', song)));
    if (!page.device) return;
    const before = page.plan;
    page.plan = (planned ?? load(page.device, page.ask({ ask: 'plan' }))).then((plan) => {
        plan.states.set(read(bytes).tensors);
        return plan;
    });
    await page.plan;
    before?.then((plan) => (plan.destroy(), plan.states.destroy()));
}

async function begin() {
    const opening = openDevice();
    // Compiled while the rest comes.
    const planned = Promise.all([opening, fetch('plan.json').then((response) => response.json())]).then(([device, plan]) => device && load(device, plan));
    planned.catch(() => {});
    const about = await (await fetch('about.json')).json();
    const [ask, builtIn, base, device, stored] = await Promise.all([
        open(fetch('humdinger.wasm')), bytesOf('model.safetensors'), about.base ? bytesOf(about.base) : null, opening,
        kept().catch((error) => (notice('notKept', { why: error.message }), undefined)),
    ]);
    Object.assign(page, { ask, device, models: { builtIn, base: base ?? builtIn, yours: stored?.model ?? null }, songs: stored?.songs ?? [], train: about.train, identify: about.identify });
    at('which').hidden = !page.models.yours;
    if (page.models.yours) choose('yours');
    if (!device) notice('noGpu', {}, ' ', say('noGpuWhy'));
    at('there').textContent = say('sendsRecordings', { host: location.host });
    at('sends-sound').textContent = say('sendsSound', { host: location.host });
    at('book').hidden = !page.identify;
    if (page.identify) document.querySelector('[data-say=private]').textContent = say('privateBook');
    showLessons();
    await (page.models.yours ? useModel(page.models.yours) : useModel(builtIn, device && planned));
    [at('hum'), at('file')].forEach((control) => (control.disabled = false));
    status('ready');
    document.documentElement.dataset.ready = 'yes';
}

// ---- recording and answering

/** Records until stopped. @returns {Promise<import('./sound.js').Sound | null>} null where it cannot, or it was too short */
async function record(stopButton) {
    notice(null);
    let recorded = 0;
    let pending = [];
    let from = 0;
    const stopped = new Promise((resolve) => (page.stop = resolve));
    let source;
    try {
        source = await microphone((samples, rate) => {
            if (recorded === 0) picture.begin(rate, LONGEST);
            recorded += samples.length;
            picture.add(samples);
            pending.push(...samples);
            // Half a second at a time, with what was before.
            if (pending.length >= rate / 2) {
                const { hop, hz } = page.ask({ ask: 'pitch', rate }, Float32Array.from(pending));
                picture.line(from, hop, hz);
                from += pending.length / rate;
                pending = [];
            }
            if (recorded >= LONGEST * rate) page.stop?.();
        });
    } catch (error) {
        page.stop = null;
        const why = { NotAllowedError: 'deniedMicrophone', NotFoundError: 'noMicrophone' }[error.name];
        if (!navigator.mediaDevices) notice('insecure');
        else notice(why ?? 'failed', { why: error.message });
        return null;
    }
    status('listening');
    stopButton.classList.add('recording');
    await stopped;
    page.stop = null;
    stopButton.classList.remove('recording');
    const sound = await source.stop();
    if (sound.channels[0].length >= SHORTEST * sound.rate) return sound;
    notice('tooShort');
    return null;
}

/** Draws all of a sound with its pitch, and describes it. */
function show({ channels, rate }) {
    const samples = channels[0].subarray(0, 60 * rate);
    const seconds = samples.length / rate;
    picture.begin(rate, Math.max(seconds, 1), samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / 2);
    picture.add(samples);
    picture.add(new Float32Array(Math.ceil(rate / 10)));
    const { hop, hz } = page.ask({ ask: 'pitch', rate }, samples);
    picture.line(0, hop, hz);
    const sung = hz.filter((pitch) => pitch !== null);
    const filled = { seconds: number(seconds, 1), low: number(Math.min(...sung)), high: number(Math.max(...sung)) };
    at('spectrogram').setAttribute('aria-label', sung.length > 0 ? say('spectrogramOf', filled) : say('spectrogram'));
}

/** What is answered now; it has not been looked up yet. @param {() => Blob} recording */
function answers(recording) {
    page.recording = recording;
    at('look-up').disabled = false;
    at('found').hidden = true;
}

/** @param {string} name @param {import('./sound.js').Sound} sound */
async function answer(name, { channels, rate }) {
    status('thinking');
    // So that it is seen.
    await new Promise((resolve) => setTimeout(resolve, 30));
    const begun = performance.now();
    show({ channels, rate });
    answers(() => new Blob([wav(whole({ channels, rate }), rate)], { type: 'audio/wav' }));
    const { runs, pieces } = page.ask({ ask: 'inputs', name, rate }, ...channels);
    if (page.plan) {
        const plan = await page.plan;
        const { logits, vectors } = await series(() => plan, runs, pieces, ['logits', 'vectors']);
        tell(page.ask({ ask: 'predict', top: 5 }, logits, vectors));
    } else tell(page.ask({ ask: 'predict_on_cpu', top: 5 }));
    document.documentElement.dataset.seconds = ((performance.now() - begun) / 1000).toFixed(2);
    status('ready');
}

function tell({ prediction, confidence, top, decision, error }) {
    if (error) return notice('failed', { why: error });
    const known = decision === 'song';
    const why = { silence: 'silence', unfamiliar: 'unfamiliar', 'no song': 'noSong' }[decision] ?? 'unsure';
    at('song').textContent = known ? prediction : say('unknown');
    at('sure').textContent = known ? say('sure', { percent: percent(confidence) }) : say(why, { song: top[0]?.song });
    const others = top.slice(known ? 1 : 0).filter(({ probability }) => probability >= 0.001);
    at('candidates').replaceChildren(...others.map(({ song, probability }) => element('li', `${song}, ${percent(probability)}`)));
    at('candidates').previousElementSibling.hidden = others.length === 0;
    at('answer').hidden = false;
}

at('look-up').addEventListener('click', () => alone(async () => {
    status('thinking');
    at('look-up').disabled = true;
    const { unknown, candidates, error } = await (await fetch(page.identify, { method: 'POST', body: page.recording() })).json();
    if (error) throw new Error(error);
    at('not-in-book').hidden = !unknown;
    at('matches').replaceChildren(...candidates.filter(({ score }) => score >= 0.01).map(({ title, score }) => element('li', `${title}, ${percent(score)}`)));
    at('found').hidden = false;
}));

/** Does one thing at a time, and says what went wrong. */
async function alone(work) {
    if (page.busy) return;
    page.busy = true;
    try {
        await work();
    } catch (error) {
        notice('failed', { why: error.message });
        status('ready');
    }
    page.busy = false;
    if (!page.training) status('ready');
}

at('hum').addEventListener('click', () => {
    if (page.stop) return page.stop();
    alone(async () => {
        at('hum-word').textContent = say('stop');
        const sound = await record(at('hum'));
        at('hum-word').textContent = say('hum');
        if (sound) await answer('microphone', sound);
    });
});

async function answerFile(file) {
    notice(null);
    let sound;
    try {
        sound = await decode(file);
    } catch {
        return unreadable(file);
    }
    await answer(file.name, sound);
}

/** Where the program itself serves the page it can read what the browser cannot, if the visitor wants it. */
async function unreadable(file) {
    const { predict } = await (await fetch('about.json')).json();
    if (!predict) return notice('unreadable', { file: file.name });
    const send = button(say('send'), () => alone(async () => {
        const response = await fetch(predict, { method: 'POST', body: file });
        const told = await response.json();
        answers(() => file);
        tell(Array.isArray(told) ? told[0] : told);
        notice(null);
    }));
    notice('unreadable', { file: file.name }, ' ', send, ' ', say('sends', { host: location.host }));
}

at('file').addEventListener('change', () => {
    const [file] = at('file').files;
    if (file) alone(() => answerFile(file));
    at('file').value = '';
});
addEventListener('dragover', (event) => (event.preventDefault(), document.body.classList.add('over')));
addEventListener('dragleave', () => document.body.classList.remove('over'));
addEventListener('drop', (event) => {
    event.preventDefault();
    document.body.classList.remove('over');
    const [file] = event.dataTransfer.files;
    if (file && !at('file').disabled) alone(() => answerFile(file));
});
at('which').addEventListener('change', () => alone(async () => {
    status('readying');
    at('answer').hidden = true;
    await useModel(page.models[at('which').querySelector(':checked').value]);
}));

// ---- teaching

const store = () => keep({ songs: page.songs, model: page.models.yours }).catch((error) => notice('notKept', { why: error.message }));

function changed() {
    showLessons();
    store();
}

function showLessons() {
    at('lessons').replaceChildren(...page.songs.map((song, place) => {
        const hum = button(say('hum'), () => (page.stop ? page.stop() : alone(async () => {
            hum.textContent = say('stop');
            const sound = await record(hum);
            hum.textContent = say('hum');
            if (!sound) return;
            show(sound);
            song.takes.push({ rate: sound.rate, samples: whole(sound) });
            changed();
            at('lessons').children[place]?.querySelector('button')?.focus();
        })), say('humSong', { song: song.name }));
        const files = Object.assign(document.createElement('input'), { type: 'file', multiple: true, accept: at('file').accept });
        files.setAttribute('aria-label', say('addFiles', { song: song.name }));
        files.addEventListener('change', () => alone(async () => {
            for (const file of files.files) {
                const sound = await decode(file).catch(() => notice('unreadable', { file: file.name }));
                if (sound) song.takes.push({ rate: sound.rate, samples: whole(sound) });
            }
            changed();
        }));
        const remove = button('✕', () => {
            page.songs.splice(page.songs.indexOf(song), 1);
            changed();
            at('name').focus();
        }, say('removeSong', { song: song.name }));
        const takes = song.takes.map((take, i) => {
            const filled = { number: i + 1, song: song.name };
            const seconds = number(take.samples.length / take.rate, 1);
            const play = button('▶', () => {
                const sound = new Audio(URL.createObjectURL(new Blob([wav(take.samples, take.rate)], { type: 'audio/wav' })));
                sound.addEventListener('ended', () => URL.revokeObjectURL(sound.src));
                sound.play();
            }, say('play', filled));
            const away = button('✕', () => {
                song.takes.splice(i, 1);
                changed();
            }, say('remove', filled));
            return element('li', `${say('take', { ...filled, seconds })} `, play, ' ', away);
        });
        const row = element('div', element('h3', song.name), hum, files, remove);
        row.className = 'row';
        return element('li', row, ...(takes.length > 0 ? [element('ul', ...takes)] : []));
    }));
    const enough = page.songs.filter(({ takes }) => takes.length >= TAKES).length;
    const ready = enough >= 2 && enough === page.songs.length;
    at('train').disabled = at('train-there').disabled = !ready || page.training !== null;
    at('train-there').hidden = at('there').hidden = page.device !== null || !page.train;
    at('needs').hidden = ready;
    const anything = page.songs.length > 0 || page.models.yours !== null;
    [at('keep'), at('hint')].forEach((part) => (part.hidden = !anything));
    at('save-model').disabled = !page.models.yours;
}

at('add').addEventListener('submit', (event) => {
    event.preventDefault();
    const name = at('name').value.normalize('NFC').trim().replace(/\s+/g, ' ');
    // It becomes a folder's name.
    const bad = name === '' || /[/\\:*?"<>|]|^\.|\.$/.test(name) || page.songs.some((song) => song.name.toLowerCase() === name.toLowerCase());
    at('name').setCustomValidity(bad ? say('badName') : '');
    if (bad) return at('name').reportValidity();
    page.songs.push({ name, takes: [] });
    at('name').value = '';
    changed();
});
at('name').addEventListener('input', () => at('name').setCustomValidity(''));

const takeName = (i) => `${i + 1}.wav`;

function drawCurve(epochs, all) {
    page.curve = [epochs, all];
    // As wide as it is shown, so that its words are as large as others.
    const width = Math.max(300, at('curve').clientWidth);
    const top = Math.max(...epochs.flatMap(({ loss, trainLoss }) => [loss, trainLoss]), 0.1);
    const across = (epoch) => 50 + ((width - 60) * epoch) / all;
    const down = (loss) => 140 - (120 * loss) / top;
    const svg = (name, attributes, text = '') => {
        const made = document.createElementNS('http://www.w3.org/2000/svg', name);
        Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
        made.textContent = text;
        return made;
    };
    const points = (of) => epochs.map((epoch) => `${across(epoch.epoch)},${down(epoch[of])}`).join(' ');
    const last = epochs.at(-1);
    const word = (key, of) => svg('text', { x: across(last.epoch) + (last.epoch > 0.6 * all ? -75 : 5), y: down(last[of]) - 6 }, say(key));
    at('curve').setAttribute('viewBox', `0 0 ${width} 160`);
    at('curve').setAttribute('aria-label', say('curve'));
    at('curve').replaceChildren(
        svg('path', { class: 'axis', d: `M50,10V140H${width - 10}`, fill: 'none' }),
        svg('text', { x: 4, y: 24 }, number(top, 2)), svg('text', { x: 4, y: 144 }, number(0, 2)), svg('text', { x: width - 40, y: 157 }, number(all)),
        svg('polyline', { class: 'training', points: points('trainLoss') }), svg('polyline', { class: 'checks', points: points('loss') }),
        word('ofTraining', 'trainLoss'), word('ofChecks', 'loss'),
    );
}

addEventListener('resize', () => page.curve && drawCurve(...page.curve));

/** Trains in one of the ways of lesson.js. @param {(given: any) => Promise<ArrayBuffer>} how @param {object} where it needs besides */
const train = (how, where) => alone(async () => {
    const begun = performance.now();
    page.training = new AbortController();
    const said = (key, filled) => (at('learning').textContent = say(key, filled));
    [at('progress'), at('cancel'), at('curve')].forEach((part) => hide(part, false));
    at('curve').replaceChildren();
    page.curve = null;
    at('progress').removeAttribute('value');
    at('train').disabled = at('train-there').disabled = true;
    said('preparing');
    await new Promise((resolve) => setTimeout(resolve, 30));
    const epochs = [];
    let all = 1;
    try {
        page.models.yours = await how({
            ...where, signal: page.training.signal,
            seed: Number(at('seed').value) || 1, epochs: Number(at('epochs').value) || null,
            takes: page.songs.flatMap(({ name, takes }) => takes.map(({ rate, samples }, i) => ({ song: name, name: takeName(i), rate, samples }))),
            began: (told) => (all = told.epochs),
            learnt(epoch) {
                epochs.push(epoch);
                at('progress').value = epoch.epoch / all;
                said('training', { epoch: epoch.epoch, epochs: all, loss: number(epoch.loss, 3), right: percent(epoch.accuracy) });
                drawCurve(epochs, all);
            },
        });
        await store();
        at('which').hidden = false;
        choose('yours');
        at('answer').hidden = true;
        await useModel(page.models.yours);
        said('trained', { seconds: number((performance.now() - begun) / 1000) });
        document.documentElement.dataset.trained = 'yes';
    } catch (error) {
        if (error.name !== 'AbortError') throw error;
        said('cancelled');
        hide(at('curve'));
    } finally {
        page.training = null;
        [at('progress'), at('cancel')].forEach((part) => (part.hidden = true));
        showLessons();
    }
});
at('train').addEventListener('click', () => train(page.device ? teach : teachHere, { ask: page.ask, device: page.device, base: page.models.base }));
at('train-there').addEventListener('click', () => train(teachThere, { address: page.train }));
at('cancel').addEventListener('click', () => page.training?.abort());
at('save-model').addEventListener('click', () => save('model.safetensors', page.models.yours, 'application/octet-stream'));
at('save-recordings').addEventListener('click', () => {
    const files = page.songs.flatMap(({ name, takes }) => takes.map(({ rate, samples }, i) => ({ name: `${name}/${takeName(i)}`, bytes: wav(samples, rate) })));
    save('recordings.zip', zip(files), 'application/zip');
});
at('forget').addEventListener('click', () => {
    if (!confirm(say('forgetSure'))) return;
    alone(async () => {
        await forget();
        Object.assign(page, { songs: [], models: { ...page.models, yours: null } });
        at('which').hidden = true;
        choose('builtIn');
        at('answer').hidden = true;
        showLessons();
        await useModel(page.models.builtIn);
    });
});

begin().catch((error) => notice('failed', { why: error.message }));
// Not where the page is no secure one.
navigator.serviceWorker?.register('offline.js').catch(() => {});
