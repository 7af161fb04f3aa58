/** What can go wrong, by a code, and in words of daily life: what happened, and what to do about it. */

const WORDS = {
  unreadable: ["This browser cannot read the file.", "Try a WAV, MP3, M4A, FLAC or Ogg file. Is it a recording at all?"],
  empty: ["The file is empty.", "Choose another one, or record again."],
  too_short: ["This is too short to hear anything.", "A second of speech is enough; several are better."],
  silent: ["There is only silence in this recording.", "Check that the microphone is switched on and not muted, then try again."],
  denied: ["The browser may not use the microphone.", "Allow it at the lock or camera sign beside the address, then press the button again."],
  no_microphone: ["No microphone was found.", "Plug one in, or choose a file instead."],
  microphone_busy: ["The microphone cannot be opened.", "Another program may be using it. Close that, then try again."],
  insecure: ["Browsers lend the microphone to secure pages alone.", "Open this page by https, or on the machine that runs it. Files work here."],
  unreachable: ["Cannot reach the service.", "Check the connection, then try again. “In this browser” works without it."],
  no_model: ["The model did not load.", "Check the connection and load the page again."],
  no_token: ["This service asks for a token.", "Ask whoever runs it for one, and paste it above. “In this browser” needs none."],
  wrong_token: ["The service does not know this token.", "Check that it was copied whole, or ask for a new one."],
  too_large: ["The file is larger than the service takes.", "“In this browser” takes files of any size."],
  too_long: ["The recording is longer than the service takes at once.", "“In this browser” takes recordings of any length."],
  not_audio: ["The service finds no sound in this file.", "Try a WAV, MP3, M4A, FLAC or Ogg file."],
  undecodable: ["The service cannot read this file.", "It may be damaged. Try another copy or another format."],
  nothing_to_recognize: ["There is nothing to hear in this recording.", "It is silent or too short. Try another one."],
  too_often: ["The service was asked too often.", "Wait a minute, then try again."],
  busy: ["The service is busy.", "Try again in a moment."],
  ending: ["The service is being stopped.", "Try again later, or choose “in this browser”."],
  idle: ["The service heard nothing for a while and hung up.", "Press “Listen live” again."],
  lost: ["The microphone was unplugged or stopped.", "What was heard until then is kept."],
  canceled: ["Stopped.", "Choose a file, record or listen whenever you like."],
  unknown: ["Something went wrong.", "Try again. If it stays so, load the page anew."],
} as const satisfies Record<string, readonly [string, string]>;

export type Code = keyof typeof WORDS;

export class Trouble extends Error {
  constructor(
    readonly code: Code,
    readonly detail = "",
  ) {
    super(WORDS[code][0]);
  }

  /** What to do about it. */
  get advice(): string {
    return WORDS[this.code][1];
  }

  /** Trouble of any reason that was thrown. */
  static of(reason: unknown): Trouble {
    if (reason instanceof Trouble) return reason;
    if (reason instanceof DOMException && reason.name === "AbortError") return new Trouble("canceled");
    return new Trouble("unknown", reason instanceof Error ? reason.message : String(reason));
  }

  /** Trouble by a code of the service. */
  static called(code: unknown, detail = ""): Trouble {
    return typeof code === "string" && code in WORDS ? new Trouble(code as Code, detail) : new Trouble("unknown", detail || String(code));
  }
}
