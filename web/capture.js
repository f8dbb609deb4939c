// Hands the microphone's samples to the page, a fiftieth of a second at a time.
class Capture extends AudioWorkletProcessor {
    room = new Float32Array(Math.ceil(sampleRate / 50 / 128) * 128);
    filled = 0;

    process([[channel]]) {
        if (!channel) return true;
        this.room.set(channel, this.filled);
        this.filled += channel.length;
        if (this.filled === this.room.length) {
            this.port.postMessage(this.room.slice());
            this.filled = 0;
        }
        return true;
    }
}

registerProcessor('capture', Capture);
