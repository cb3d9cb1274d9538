// Runs on the browser's sound thread. Sound comes as 16-bit samples, 16,000 a second, whatever the device plays.
const RATE = 16000;
const START = 0.08; // seconds that wait before the first is played: packets do not come evenly
const LONGEST = 0.4; // seconds that may wait; more would be old, so the oldest are dropped

class Play extends AudioWorkletProcessor {
  constructor() {
    super();
    this.waiting = []; // Float32Array each
    this.count = 0; // samples in them
    this.place = 0; // in the first one, with a fraction
    this.playing = false;
    this.port.onmessage = ({ data }) => this.take(new Int16Array(data));
  }

  take(samples) {
    const piece = new Float32Array(samples.length);
    for (let at = 0; at < samples.length; at += 1) piece[at] = samples[at] / 32768;
    this.waiting.push(piece);
    this.count += piece.length;
    while (this.count > LONGEST * RATE) this.drop();
    if (this.count >= START * RATE) this.playing = true;
  }

  drop() {
    this.count -= this.waiting.shift().length;
    this.place = 0;
  }

  at(place) {
    for (const piece of this.waiting) {
      if (place < piece.length) return piece[place];
      place -= piece.length;
    }
    return 0;
  }

  process(_inputs, outputs) {
    const out = outputs[0][0];
    const step = RATE / sampleRate;
    let loudest = 0;
    for (let at = 0; at < out.length && this.playing; at += 1) {
      const whole = Math.floor(this.place);
      const part = this.place - whole;
      out[at] = this.at(whole) * (1 - part) + this.at(whole + 1) * part;
      loudest = Math.max(loudest, Math.abs(out[at]));
      this.place += step;
      while (this.waiting.length && this.place >= this.waiting[0].length) {
        this.place -= this.waiting[0].length;
        this.count -= this.waiting.shift().length;
      }
      if (!this.waiting.length) {
        this.playing = false;
        this.place = 0;
      }
    }
    for (const other of outputs[0].slice(1)) other.set(out);
    this.port.postMessage(loudest);
    return true;
  }
}

// The microphone as frames of 320 samples, 16,000 a second.
class Speak extends AudioWorkletProcessor {
  constructor() {
    super();
    this.frame = new Int16Array(320);
    this.filled = 0;
    this.place = 0;
  }

  process(inputs) {
    const heard = inputs[0][0];
    if (!heard) return true;
    const step = sampleRate / RATE;
    for (; this.place < heard.length; this.place += step) {
      const from = Math.floor(this.place);
      const to = Math.min(heard.length, Math.max(from + 1, Math.floor(this.place + step)));
      let sum = 0;
      for (let at = from; at < to; at += 1) sum += heard[at];
      const sample = Math.max(-1, Math.min(1, sum / (to - from)));
      this.frame[this.filled] = Math.round(sample * 32767);
      this.filled += 1;
      if (this.filled === this.frame.length) {
        this.port.postMessage(this.frame.slice().buffer);
        this.filled = 0;
      }
    }
    this.place -= heard.length;
    return true;
  }
}

registerProcessor("play", Play);
registerProcessor("speak", Speak);
