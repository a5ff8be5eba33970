import { trimmed } from "./blank.ts";
import { canonicalName } from "./header-index.ts";
import type { Message } from "./message.ts";
import { listSpans } from "./params.ts";

/** Starts a change of a message. */
export function edit(message: Message): Edit {
  return new Edit(message);
}

interface Splice {
  readonly from: number;
  readonly to: number;
  /** Among splices at one place the smaller comes first. */
  readonly order: number;
  readonly text: string;
}

/** What happens to the values of one header. */
interface ListChange {
  /** Indices over all lines of the header that go. */
  readonly dropped: Set<number>;
  readonly replaced: Map<number, string>;
}

/**
 * Changes of a message, applied by splicing: every byte that is not meant stays. Values are counted as they stand in the message, whatever was called before;
 * a line that loses all its values goes. Names are written as given.
 */
export class Edit {
  readonly #message: Message;
  readonly #splices: Splice[] = [];
  readonly #lists = new Map<string, ListChange>();
  #order = 0;

  constructor(message: Message) {
    this.#message = message;
  }

  /** Replaces the Request-URI. */
  requestUri(uri: string): this {
    return this.startLine(`${this.#message.method} ${uri} SIP/2.0`);
  }

  /** Replaces the start line. */
  startLine(line: string): this {
    const { text, index } = this.#message;
    return this.#splice(0, text.indexOf("\n") + 1 - index.lineEnd.length, line);
  }

  /** A line before the first of that name; where there is none, directly after the start line. Of several, the last one called stands first. */
  prepend(name: string, value: string): this {
    const { text, index } = this.#message;
    const at = index.names.indexOf(canonicalName(name));
    const start = at < 0 ? text.indexOf("\n") + 1 : (index.starts[at] ?? 0);
    this.#splices.push({ from: start, to: start, order: -++this.#order, text: `${name}: ${value}${index.lineEnd}` });
    return this;
  }

  /** A line after the last of that name; where there is none, at the end of the headers. */
  append(name: string, value: string): this {
    const { index } = this.#message;
    const at = index.names.lastIndexOf(canonicalName(name));
    const start = at < 0 ? index.bodyAt - index.lineEnd.length : (index.nexts[at] ?? 0);
    return this.#splice(start, start, `${name}: ${value}${index.lineEnd}`);
  }

  /** All lines of that name go. */
  drop(name: string): this {
    const { index } = this.#message;
    const wanted = canonicalName(name);
    for (let at = index.names.indexOf(wanted); at >= 0; at = index.names.indexOf(wanted, at + 1)) this.#splice(index.starts[at] ?? 0, index.nexts[at] ?? 0, "");
    return this;
  }

  /** The first `count` values of a comma list go. */
  dropFirst(name: string, count = 1): this {
    for (let at = 0; at < count; at++) this.#list(name).dropped.add(at);
    return this;
  }

  dropValue(name: string, index: number): this {
    this.#list(name).dropped.add(index);
    return this;
  }

  replaceValue(name: string, index: number, value: string): this {
    this.#list(name).replaced.set(index, value);
    return this;
  }

  /** Only the first value of a comma list. */
  replaceFirst(name: string, value: string): this {
    return this.replaceValue(name, 0, value);
  }

  /** The first line of that name gets the value, further ones go; where there is none, one is appended. */
  replace(name: string, value: string): this {
    const { index } = this.#message;
    const wanted = canonicalName(name);
    const first = index.names.indexOf(wanted);
    if (first < 0) return this.append(name, value);
    this.#splice(index.values[first] ?? 0, (index.nexts[first] ?? 0) - index.lineEnd.length, value);
    for (let at = index.names.indexOf(wanted, first + 1); at >= 0; at = index.names.indexOf(wanted, at + 1))
      this.#splice(index.starts[at] ?? 0, index.nexts[at] ?? 0, "");
    return this;
  }

  /** Replaces the body and sets Content-Length; `contentType` replaces that of the message. */
  body(text: string, contentType?: string): this {
    if (contentType !== undefined) this.replace("Content-Type", contentType);
    this.replace("Content-Length", String(text.length));
    return this.#splice(this.#message.index.bodyAt, this.#message.end, text);
  }

  toString(): string {
    const { text, end } = this.#message;
    const splices = this.#lists.size === 0 ? this.#splices : [...this.#splices, ...this.#listSplices()];
    splices.sort((a, b) => a.from - b.from || a.order - b.order);
    let out = "";
    let at = 0;
    for (const splice of splices) {
      if (splice.from > at) out += text.slice(at, splice.from);
      out += splice.text;
      if (splice.to > at) at = splice.to;
    }
    return at < end ? out + text.slice(at, end) : out;
  }

  #splice(from: number, to: number, text: string): this {
    this.#splices.push({ from, to, order: ++this.#order, text });
    return this;
  }

  #list(name: string): ListChange {
    const wanted = canonicalName(name);
    let change = this.#lists.get(wanted);
    if (change === undefined) {
      change = { dropped: new Set(), replaced: new Map() };
      this.#lists.set(wanted, change);
    }
    return change;
  }

  #listSplices(): Splice[] {
    const { text, index } = this.#message;
    const splices: Splice[] = [];
    for (const [name, { dropped, replaced }] of this.#lists) {
      const most = Math.max(...dropped, ...replaced.keys());
      let count = 0;
      for (let line = index.names.indexOf(name); line >= 0 && count <= most; line = index.names.indexOf(name, line + 1)) {
        const from = index.values[line] ?? 0;
        const to = (index.nexts[line] ?? 0) - index.lineEnd.length;
        const value = text.slice(from, to);
        const spans = listSpans(value);
        const kept: string[] = [];
        let changed = false;
        for (const [start, end] of spans) {
          const replacement = replaced.get(count);
          if (dropped.has(count)) changed = true;
          else if (replacement === undefined) kept.push(trimmed(value.slice(start, end)));
          else {
            kept.push(replacement);
            changed = true;
          }
          count++;
        }
        if (!changed) continue;
        if (kept.length === 0) splices.push({ from: index.starts[line] ?? 0, to: index.nexts[line] ?? 0, order: 0, text: "" });
        else splices.push({ from, to, order: 0, text: kept.join(", ") });
      }
    }
    return splices;
  }
}
