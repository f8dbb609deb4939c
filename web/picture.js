// A spectrogram that grows as sound comes, and a line along its pitch.

const [LOW, HIGH] = [80, 2500];
const SIZE = 1024;
const FLOOR = -65;
const COLOURS = [[16, 19, 26], [66, 26, 110], [178, 54, 121], [250, 137, 97], [252, 250, 190]];

/** Magnitudes of the first half of a spectrum: radix 2, in place. @param {Float32Array} re */
function spectrum(re) {
    const n = re.length;
    const im = new Float32Array(n);
    for (let i = 1, j = 0; i < n; i += 1) {
        let bit = n >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i < j) [re[i], re[j]] = [re[j], re[i]];
    }
    for (let length = 2; length <= n; length *= 2) {
        for (let k = 0; k < length / 2; k += 1) {
            const [c, s] = [Math.cos((2 * Math.PI * k) / length), -Math.sin((2 * Math.PI * k) / length)];
            for (let i = k; i < n; i += length) {
                const j = i + length / 2;
                const [a, b] = [re[j] * c - im[j] * s, re[j] * s + im[j] * c];
                [re[j], im[j], re[i], im[i]] = [re[i] - a, im[i] - b, re[i] + a, im[i] + b];
            }
        }
    }
    return re.subarray(0, n / 2).map((x, i) => Math.hypot(x, im[i]));
}

const hann = Float32Array.from({ length: SIZE }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / SIZE));

export class Picture {
    /** @param {HTMLCanvasElement} canvas */
    constructor(canvas) {
        this.canvas = canvas;
        this.context = canvas.getContext('2d');
        this.begin(48000, 1);
    }

    /** Begins anew, for sound of this rate and so many seconds, the loudest of which is this; where that is not known, a quiet voice's.
     * @param {number} rate @param {number} seconds @param {number} [loudest] */
    begin(rate, seconds, loudest = 0.02) {
        // A tune's overtones end where speech begins; fewer samples are quicker.
        this.skip = Math.max(1, Math.floor(rate / 12000));
        this.rate = rate / this.skip;
        this.seconds = seconds;
        this.samples = [];
        this.rest = [];
        this.column = 0;
        // A tone's magnitude in a spectrum through such a window.
        this.loudest = (Math.max(loudest, 1e-5) * SIZE) / 4;
        this.context.fillStyle = `rgb(${COLOURS[0]})`;
        this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    }

    /** Draws further samples. @param {Float32Array} samples */
    add(samples) {
        for (const sample of samples) {
            this.rest.push(sample);
            if (this.rest.length === this.skip) {
                this.samples.push(this.rest.reduce((sum, x) => sum + x) / this.skip);
                this.rest.length = 0;
            }
        }
        const { width } = this.canvas;
        for (; this.column < width; this.column += 1) {
            const end = Math.floor((this.column / width) * this.seconds * this.rate) + SIZE / 2;
            if (end > this.samples.length) break;
            const frame = hann.map((weight, i) => weight * (this.samples[end - SIZE + i] ?? 0));
            this.draw(this.column, spectrum(frame));
        }
    }

    draw(x, levels) {
        const { height } = this.canvas;
        this.loudest = Math.max(this.loudest * 0.999, ...levels);
        const image = this.context.createImageData(1, height);
        for (let y = 0; y < height; y += 1) {
            const place = (this.hertz(y) * SIZE) / this.rate;
            const [i, part] = [Math.floor(place), place % 1];
            const level = (levels[i] ?? 0) * (1 - part) + (levels[i + 1] ?? 0) * part;
            const share = Math.max(0, 1 - (20 * Math.log10(level / this.loudest + 1e-9)) / FLOOR) * (COLOURS.length - 1);
            const at = Math.min(COLOURS.length - 2, Math.floor(share));
            COLOURS[at].forEach((from, c) => (image.data[4 * y + c] = from + (share - at) * (COLOURS[at + 1][c] - from)));
            image.data[4 * y + 3] = 255;
        }
        this.context.putImageData(image, x, 0);
    }

    hertz(y) {
        return HIGH * (LOW / HIGH) ** (y / this.canvas.height);
    }

    /** Draws the pitch from a time on, in seconds. @param {number} from @param {number} hop @param {(number | null)[]} hz */
    line(from, hop, hz) {
        const { context, canvas } = this;
        for (const [colour, wide] of [['rgba(0, 0, 0, 0.7)', 7], ['#7dffb2', 3]]) {
            context.strokeStyle = colour;
            context.lineWidth = wide;
            context.lineJoin = 'round';
            context.beginPath();
            hz.forEach((pitch, i) => {
                if (pitch === null) return;
                const x = ((from + i * hop) / this.seconds) * canvas.width;
                const y = (canvas.height * Math.log(HIGH / pitch)) / Math.log(HIGH / LOW);
                const goesOn = i > 0 && hz[i - 1] !== null && Math.abs(Math.log2(pitch / hz[i - 1])) < 0.25;
                if (goesOn) context.lineTo(x, y);
                else context.moveTo(x, y);
            });
            context.stroke();
        }
    }
}
