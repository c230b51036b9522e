/**
 * Where things are in Redis. Everything of a namespace carries it as hash tag, so that a Cluster would keep it in one
 * slot; what belongs to no namespace carries `{*}`.
 *
 *     prefix:database:{*}:store           hash: epoch, run (the run_id of the server that the epoch was made on), importing (a
 *                                         transfer was begun then and not completed: it is no store)
 *     prefix:database:{*}:namespaces      set
 *     prefix:database:{ns}:meta           hash: epoch, run, revision, time, floor (the log begins after it), …
 *     prefix:database:{ns}:data           hash: key → "revision:value"
 *     prefix:database:{ns}:index          sorted set of keys, score 0: in the order of their bytes
 *     prefix:database:{ns}:log            stream: one entry a commit, its id is revision-0
 *     prefix:database:{ns}:marks          list: ends of the log's segments
 *     prefix:database:{ns}:series:name    stream: its ids are revision-index
 *     prefix:database:{ns}:request:id     string "revision:n:" + n bytes of fingerprint + response, expires
 *     prefix:database:{ns}:done:id        string: what became of a commit, expires
 *     prefix:database:{ns}:live           hash: key → "epoch:sequence:1value" or "epoch:sequence:0" (removed)
 *     prefix:database:{ns}:gone           sorted set of removed live keys by time
 */
export interface NamespaceKeys {
  meta: string;
  data: string;
  index: string;
  log: string;
  marks: string;
  live: string;
  gone: string;
}

export class Keys {
  readonly store: string;
  readonly namespaces: string;
  /** Pub/sub channels: "this namespace has a new revision", and soft records. */
  readonly newsChannel: string;
  readonly liveChannel: string;
  readonly #base: string;
  readonly #known = new Map<string, NamespaceKeys>();

  constructor(options: { prefix: string; database: string }) {
    this.#base = `${options.prefix}:${options.database}`;
    this.store = `${this.#base}:{*}:store`;
    this.namespaces = `${this.#base}:{*}:namespaces`;
    this.newsChannel = `${this.#base}:news`;
    this.liveChannel = `${this.#base}:live`;
  }

  of(namespace: string): NamespaceKeys {
    const known = this.#known.get(namespace);
    if (known) return known;
    const base = this.#space(namespace);
    const keys = {
      meta: `${base}:meta`,
      data: `${base}:data`,
      index: `${base}:index`,
      log: `${base}:log`,
      marks: `${base}:marks`,
      live: `${base}:live`,
      gone: `${base}:gone`,
    };
    // Namespaces come from callers: this is a bounded cache, not a register.
    if (this.#known.size >= 10_000) this.#known.clear();
    this.#known.set(namespace, keys);
    return keys;
  }

  done(namespace: string, commitId: string): string {
    return `${this.#space(namespace)}:done:${commitId}`;
  }

  request(namespace: string, id: string): string {
    return `${this.#space(namespace)}:request:${id}`;
  }

  /** For SCAN: every key of the database. Prefix and database hold no character that is special in a pattern. */
  get pattern(): string {
    return `${this.#base}:{*`;
  }

  /** What a key of a namespace is: "meta", "series" with its name…; undefined if it is of none. */
  parse(key: string): { namespace: string; kind: string; name: string } | undefined {
    const start = this.#base.length + 2;
    const end = key.indexOf('}:', start);
    const tag = key.slice(start, end);
    if (end < 0 || tag === '*' || !key.startsWith(`${this.#base}:{`)) return undefined;
    const [kind = '', ...name] = key.slice(end + 2).split(':');
    const namespace = tag.replace(/%([0-9a-f]{2})/g, (_, code: string) =>
      String.fromCharCode(Number.parseInt(code, 16)),
    );
    return { namespace, kind, name: name.join(':') };
  }

  series(namespace: string, name: string): string {
    return `${this.#space(namespace)}:series:${name}`;
  }

  /** A hash tag ends at the first brace, and `{*}` is taken: both are escaped. */
  #space(namespace: string): string {
    const tag = namespace.replace(/[%{}*]/g, (char) => `%${char.charCodeAt(0).toString(16)}`);
    return `${this.#base}:{${tag}}`;
  }
}
