// All words of the page. Another language is another table like `en`; `{name}` stands for what is filled in.

const en = {
    title: 'Humdinger',
    lead: 'Hum, sing or whistle a tune. This page says which one it is.',
    private: 'Your sound stays here: it is listened to in this page, on this device, and nothing of it is sent anywhere.',
    privateBook: 'Your sound stays here: it is listened to in this page, on this device, and nothing of it is sent anywhere, unless you have it looked up in the song book.',
    hum: 'Hum',
    stop: 'Stop',
    choose: 'Choose a sound file',
    drop: 'or drop one anywhere on this page',
    readying: 'Getting ready ...',
    ready: 'Ready. Press the button and hum for five seconds or more.',
    listening: 'Listening ...',
    thinking: 'Thinking ...',
    spectrogram: 'Spectrogram of the sound, with a line along its pitch',
    spectrogramOf: 'Spectrogram of {seconds} seconds of sound, with a line along its pitch, which is between {low} and {high} hertz',
    answer: 'Answer',
    unknown: 'Unknown',
    sure: '{percent} sure',
    silence: 'It is silent.',
    unfamiliar: 'It is like nothing that this model was trained on.',
    noSong: 'It is like what this model was given as examples of no song.',
    unsure: 'It is most like {song}, but not enough to say so.',
    candidates: 'Other candidates',
    lookUp: 'Look for it in the song book',
    sendsSound: 'The song book is with the program at {host}; the recording is sent there, and not kept.',
    songBook: 'In the song book',
    notInBook: 'It is none of the songs in it, as far as can be told.',
    knows: 'Songs that it knows',
    which: 'Whose songs',
    builtIn: 'The built-in ones',
    yours: 'Yours',
    noGpu: 'This browser has no WebGPU, so the page listens and learns on the processor, which takes longer.',
    noGpuWhy: 'WebGPU is in current versions of Chrome, Edge and Safari, and of Firefox on Windows and macOS.',
    lost: 'The graphics processor was lost ({why}). Load the page again.',
    noMicrophone: 'There is no microphone to listen to. Choose or drop a sound file instead.',
    deniedMicrophone: 'The microphone is not allowed here. Allow it in the address bar, or choose or drop a sound file instead.',
    insecure: 'Browsers lend a microphone only to pages from https or from this machine. Choose or drop a sound file instead.',
    unreadable: '{file} cannot be read as sound by this browser.',
    send: 'Let the program that serves this page listen to it',
    sends: 'It runs at {host}; the file is sent there.',
    failed: 'That went wrong: {why}',
    teach: 'Teach it your songs',
    teachLead: 'Name at least two songs, hum each three times, and press Train. It learns on this device; recordings and model are kept in this browser.',
    song: 'Name of a song',
    add: 'Add',
    humSong: 'Hum {song}',
    addFiles: 'Add files to {song}',
    take: 'Take {number}, {seconds} s',
    play: 'Play take {number} of {song}',
    remove: 'Delete take {number} of {song}',
    removeSong: 'Remove {song}',
    needs: 'To train it needs at least two songs with two takes each; three are better.',
    train: 'Train',
    trainThere: 'Train in the program that serves this page',
    sendsRecordings: 'That is quicker here. The program runs at {host}; the recordings are sent there, and forgotten when it has trained.',
    cancel: 'Cancel',
    cancelled: 'Training was stopped; nothing has changed.',
    preparing: 'Preparing to train ...',
    training: 'Epoch {epoch} of at most {epochs}: loss {loss}, {right} of what it checks itself with is right',
    trained: 'Done in {seconds} s. It names your songs now.',
    curve: 'Loss over the epochs: of what it trains on, and of what it checks itself with',
    ofTraining: 'training',
    ofChecks: 'checks',
    saveModel: 'Save the model',
    saveRecordings: 'Save the recordings',
    saveHint: 'humdinger predict --model model.safetensors takes the model; humdinger train --data takes the unpacked recordings.',
    forget: 'Forget everything',
    forgetSure: 'Delete all recordings and the model from this browser?',
    more: 'More settings',
    epochs: 'Epochs, if not as many as suit the recordings',
    seed: 'Seed of what is random',
    notKept: 'This browser keeps nothing for this page, so recordings and model are gone when it is closed: {why}',
    badName: 'A song needs a name of its own, without / \\ : * ? " < > | and not beginning with a dot.',
    tooShort: 'That was too short. Hum for at least a second.',
};

const languages = { en };
/** The language of the page. */
export const language = Object.keys(languages).find((name) => navigator.language.startsWith(name)) ?? 'en';
const words = languages[language];

/** What stands under this key, filled in. @param {keyof typeof en} key @param {Record<string, unknown>} [filled] */
export function say(key, filled = {}) {
    return words[key].replace(/\{(\w+)\}/g, (all, name) => String(filled[name] ?? all));
}

/** A share as percents, in the reader's way. */
export const percent = (share) => new Intl.NumberFormat(navigator.language, { style: 'percent', maximumFractionDigits: share < 0.1 ? 1 : 0 }).format(share);

/** A number with so many decimals, in the reader's way. */
export const number = (value, digits = 0) => new Intl.NumberFormat(navigator.language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
