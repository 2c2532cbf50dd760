// One event stream for all tabs: a SharedWorker (or, without one, this module's own page) holds the EventSource.
const KEPT = 2000; // newest events, for tabs that open later
const LONGEST_WAIT = 5000;

export class Stream {
  constructor(tell) {
    this.tell = tell; // called with {event} or {status: "open" | "lost"}
    this.kept = [];
    this.seq = null;
    this.source = null;
    this.wait = 250;
  }

  // Start after a number; later calls are harmless.
  start(seq) {
    if (this.seq !== null) return;
    this.seq = seq;
    this.open();
  }

  open() {
    this.source = new EventSource(`/api/v1/events?after=${this.seq}`);
    this.source.onopen = () => {
      this.wait = 250;
      this.tell({ status: "open" });
    };
    this.source.onerror = () => this.lost();
    this.source.onmessage = (message) => this.hear(message);
    for (const type of TYPES) this.source.addEventListener(type, (message) => this.hear(message));
  }

  hear(message) {
    const event = JSON.parse(message.data);
    if (message.type === "gap") {
      this.tell({ status: "gap" });
      return;
    }
    if (!(event.seq > this.seq)) return;
    this.seq = event.seq;
    if (event.type !== "preview") {
      this.kept.push(event);
      if (this.kept.length > KEPT) this.kept.shift();
    }
    this.tell({ event });
  }

  lost() {
    this.source.close();
    this.tell({ status: "lost" });
    setTimeout(() => this.open(), this.wait);
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
  }

  // Kept events after a number: what a tab missed between reading the state and joining.
  since(seq) {
    return this.kept.filter((event) => event.seq > seq);
  }
}

const TYPES = [
  "queued", "started", "phase", "step", "preview", "image", "warned", "retried", "finished", "failed", "cancelled",
  "queue", "engine", "gallery", "form", "page", "gap",
];

if (typeof SharedWorkerGlobalScope !== "undefined" && self instanceof SharedWorkerGlobalScope) {
  const ports = new Set();
  const stream = new Stream((news) => {
    for (const port of ports) port.postMessage(news);
  });
  self.onconnect = ({ ports: [port] }) => {
    port.onmessage = ({ data }) => {
      if (data.bye) {
        ports.delete(port);
        return;
      }
      ports.add(port);
      stream.start(data.seq);
      for (const event of stream.since(data.seq)) port.postMessage({ event });
    };
  };
}
