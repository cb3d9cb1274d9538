"use strict";

const TEXTS = {
  ko: {
    title: "실시간 청취",
    start: "듣기",
    stop: "그만 듣기",
    mute: "마이크 끄기",
    unmute: "마이크 켜기",
    note: "청취 사유와 시간이 기록됩니다. 이 링크는 한 번만 사용할 수 있습니다.",
    language: "English",
    ready: "준비되었습니다",
    connecting: "연결 중입니다…",
    listen: "청취 중",
    whisper: "청취 중 · 직원에게만 들립니다",
    barge: "청취 중 · 양쪽 모두에게 들립니다",
    over: "종료되었습니다",
    left: "남은 시간",
    "call over": "통화가 끝났습니다.",
    "time over": "정해진 시간이 끝났습니다.",
    "taken back": "청취 권한이 회수되었습니다.",
    "sound lost": "소리가 끊겼습니다.",
    "engine stopped": "시스템이 멈춥니다.",
    failed: "연결하지 못했습니다.",
    refused: "청취할 수 없습니다.",
    lost: "서버와의 연결이 끊겼습니다.",
    here: "청취를 마쳤습니다.",
    "no ticket": "링크가 완전하지 않습니다. 새 링크를 요청하세요.",
    insecure: "이 브라우저는 이 주소에서 소리를 낼 수 없습니다. https 주소나 이 서버의 localhost 주소로 여세요.",
    "no microphone": "마이크를 사용할 수 없어 듣기만 합니다.",
  },
  en: {
    title: "Live listening",
    start: "Listen",
    stop: "Stop listening",
    mute: "Mute microphone",
    unmute: "Unmute microphone",
    note: "Reason and time of listening are written down. This link works once.",
    language: "한국어",
    ready: "Ready",
    connecting: "Connecting…",
    listen: "Live",
    whisper: "Live · only the called party hears you",
    barge: "Live · both parties hear you",
    over: "Over",
    left: "Time left",
    "call over": "The call has ended.",
    "time over": "The time set for it is over.",
    "taken back": "The leave to listen was taken back.",
    "sound lost": "The sound was lost.",
    "engine stopped": "The system stops.",
    failed: "It could not be connected.",
    refused: "You cannot listen.",
    lost: "The connection to the server was lost.",
    here: "You stopped listening.",
    "no ticket": "The link is not complete; ask for another.",
    insecure: "This browser gives no sound at this address; open it over https, or on this machine as localhost.",
    "no microphone": "There is no microphone, so you can only listen.",
  },
};

const element = (id) => document.getElementById(id);
const ticket = decodeURIComponent(location.hash.slice(1));
history.replaceState(null, "", location.pathname); // the ticket does not stay in the address

let language = navigator.language.startsWith("en") ? "en" : "ko";
let shown = { state: "ready", why: "", text: "" };
let until = 0;
let muted = false;
let line = null;
let sound = null;
let microphone = null;

function say(key) {
  return TEXTS[language][key] || key;
}

function show(changes) {
  shown = { ...shown, ...changes };
  document.documentElement.lang = language;
  document.title = say("title");
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = say(each.dataset.text);
  const { state, mode, why, text } = shown;
  element("state").dataset.state = state;
  element("state").textContent = say(state === "live" ? mode : state);
  element("why").hidden = !why;
  element("why").textContent = why ? [say(why), text].filter(Boolean).join(" ") : "";
  element("start").hidden = state !== "ready";
  element("stop").hidden = state !== "live" && state !== "connecting";
  element("level").hidden = element("left").hidden = state !== "live";
  element("mute").hidden = state !== "live" || !microphone;
  element("mute").textContent = say(muted ? "unmute" : "mute");
  element("language").textContent = say("language");
  tick();
}

function tick() {
  const seconds = Math.max(0, Math.round((until - Date.now()) / 1000));
  element("left").textContent = `${say("left")} ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function over(why, text = "") {
  if (shown.state === "over") return;
  show({ state: "over", why, text });
  if (line) line.close();
  if (microphone) for (const track of microphone.getTracks()) track.stop();
  if (sound) sound.close();
  microphone = sound = null;
}

async function start() {
  show({ state: "connecting", why: "" });
  if (!window.AudioWorkletNode || !window.isSecureContext) return over("insecure");
  sound = new AudioContext();
  await sound.audioWorklet.addModule("/listen/sound.js");
  await sound.resume();
  const player = new AudioWorkletNode(sound, "play", { numberOfInputs: 0, outputChannelCount: [1] });
  player.connect(sound.destination);
  player.port.onmessage = ({ data }) => {
    element("level").value = Math.max(data, element("level").value * 0.97);
  };
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  line = new WebSocket(`${scheme}//${location.host}/listen/sound`);
  line.binaryType = "arraybuffer";
  line.onopen = () => line.send(ticket);
  line.onclose = () => over("lost");
  line.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) player.port.postMessage(data, [data]);
    else told(JSON.parse(data));
  };
}

function told(message) {
  if (message.state === "over") return over(message.why, message.text);
  until = Date.parse(message.until);
  show(message);
  if (message.mode !== "listen") speak();
}

async function speak() {
  try {
    microphone = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true } });
  } catch {
    return show({ why: "no microphone" });
  }
  if (!sound) return microphone.getTracks().forEach((track) => track.stop());
  const speaker = new AudioWorkletNode(sound, "speak", { numberOfOutputs: 0 });
  sound.createMediaStreamSource(microphone).connect(speaker);
  speaker.port.onmessage = ({ data }) => {
    if (!muted && line.readyState === WebSocket.OPEN) line.send(data);
  };
  show({});
}

element("start").onclick = () => start().catch((error) => over("failed", String(error)));
element("stop").onclick = () => over("here");
element("mute").onclick = () => {
  muted = !muted;
  show({});
};
element("language").onclick = () => {
  language = language === "ko" ? "en" : "ko";
  show({});
};
setInterval(tick, 1000);
show(ticket ? {} : { state: "over", why: "no ticket" });
