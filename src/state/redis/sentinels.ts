import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import { showAddress } from '../../lib/redis-url.ts';
import { Connection } from './connection.ts';
import { describeFault, isLoginRefused } from './errors.ts';
import { News } from './news.ts';
import * as scripts from './scripts.ts';
import type { Address, Target } from './target.ts';

export interface SentinelsOptions {
  target: Target;
  clock: Clock;
  log: Logger;
  timeoutMs: number;
  /** They name another primary than before. */
  onMove: () => void;
}

/** What one Sentinel says. */
export interface SentinelAnswer {
  address: Address;
  /** Counts the failovers of this primary: the higher one knows better. */
  configEpoch: number;
}

interface Sentinel {
  asks: Connection;
  hears: Connection;
  answer: SentinelAnswer | undefined;
  fault: Error | undefined;
  asking: boolean;
  again: boolean;
}

const ASK_MS = 1_000;
/** How long the others are waited for at start, once one has answered. */
const OTHERS_MS = 500;

/**
 * Knows from Sentinels where the primary is. Each is asked once a second and whenever one of them announces a
 * failover; then the connections go elsewhere at once, also when the old primary hangs and would never break them.
 */
export class Sentinels {
  readonly #options: SentinelsOptions;
  readonly #sentinels: Sentinel[];
  readonly #news = new News();
  readonly #timer: NodeJS.Timeout;
  #master: Address | undefined;
  #configEpoch = -1;

  constructor(options: SentinelsOptions) {
    this.#options = options;
    this.#sentinels = options.target.addresses.map((address, index) => this.#make(address, index));
    this.#timer = setInterval(() => {
      this.ask();
      // One that hears nothing any more is made anew.
      for (const { hears } of this.#sentinels) if (hears.up) hears.call('ping').catch(() => {});
    }, ASK_MS);
    this.#timer.unref();
  }

  /** Where the primary is, or why that is not known. The same object until it moves. */
  get master(): Address | Error {
    return this.#master ?? new Error(this.excuse);
  }

  /** Connects. Resolves with whether a primary is known by then. */
  async open(timeoutMs: number): Promise<boolean> {
    const { clock } = this.#options;
    for (const { asks, hears } of this.#sentinels) {
      asks.connect();
      hears.connect();
    }
    let deadlineMs = clock.monoMs() + timeoutMs;
    let heard = false;
    while (clock.monoMs() < deadlineMs) {
      const silent = this.#sentinels.filter(({ answer, asks, fault }) => !answer && !asks.fault && !fault);
      if (silent.length === 0) break;
      if (!heard && this.#sentinels.some(({ answer }) => answer !== undefined)) {
        heard = true;
        deadlineMs = Math.min(deadlineMs, clock.monoMs() + OTHERS_MS);
      }
      await this.#news.next(deadlineMs - clock.monoMs());
    }
    this.#decide(true);
    return this.#master !== undefined;
  }

  /** Asks all of them now. */
  ask(): void {
    for (const sentinel of this.#sentinels) void this.#ask(sentinel);
  }

  close(): void {
    clearInterval(this.#timer);
    for (const { asks, hears } of this.#sentinels) {
      asks.close();
      hears.close();
    }
  }

  #make(address: Address, index: number): Sentinel {
    const { target, clock, log, timeoutMs } = this.#options;
    const connection = (name: string, prepare: (made: Connection) => Promise<void>): Connection =>
      new Connection({
        ...{ clock, log, timeoutMs, tls: target.tls, login: target.sentinelLogin },
        locate: () => address,
        name: `${name}-${index + 1}`,
        prepare,
        onUp: () => {},
        onDown: () => {
          if (name === 'sentinel') sentinel.answer = undefined;
          this.#news.tell();
        },
        onMessage: (_, message) => {
          if (
            message
              .toString()
              .split(' ')
              .includes(target.master ?? '')
          )
            this.ask();
        },
      });
    const sentinel: Sentinel = {
      asks: connection('sentinel', (made) => this.#query(sentinel, made)),
      hears: connection('sentinel-news', async (made) => {
        // The others learn of it from the one that did it, a moment later.
        await made.subscribe('+switch-master', '+promoted-slave');
        if (sentinel.asks.up) void this.#ask(sentinel);
      }),
      ...{ answer: undefined, fault: undefined, asking: false, again: false },
    };
    return sentinel;
  }

  async #ask(sentinel: Sentinel): Promise<void> {
    sentinel.again = true;
    if (sentinel.asking || !sentinel.asks.up) return;
    sentinel.asking = true;
    try {
      while (sentinel.again && sentinel.asks.up) {
        sentinel.again = false;
        await this.#query(sentinel, sentinel.asks);
      }
    } catch (error) {
      // Without an answer the connection ends by itself.
      this.#options.log.debug({ reason: describeFault(error as Error) }, 'a Sentinel does not answer');
    } finally {
      sentinel.asking = false;
    }
  }

  async #query(sentinel: Sentinel, connection: Connection): Promise<void> {
    const name = this.#options.target.master ?? '';
    // The first one names the new primary as soon as it is promoted, the second one counts failovers.
    const [place, state] = await connection.send([
      ['sentinel', 'get-master-addr-by-name', name],
      ['sentinel', 'master', name],
    ]);
    if (place instanceof Error) throw place;
    const [host, port] = scripts.list(place).map(scripts.text);
    if (host === undefined || port === undefined) {
      sentinel.answer = undefined;
      sentinel.fault = new UnknownMasterError(`the Sentinels know no primary named ${name}`);
    } else {
      const fields = state instanceof Error ? [] : scripts.list(state).map(scripts.text);
      const configEpoch = Number(fields[fields.indexOf('config-epoch') + 1]) || 0;
      sentinel.answer = { address: { host, port: Number(port) }, configEpoch };
      sentinel.fault = undefined;
    }
    this.#decide(false);
    this.#news.tell();
  }

  /** `all`: everybody had the chance to answer. Before that, at start, the first one might be behind. */
  #decide(all: boolean): void {
    if (this.#master === undefined && !all && this.#sentinels.some(({ answer }) => !answer)) return;
    const answers = this.#sentinels.flatMap(({ answer }) => answer ?? []);
    const known = this.#master && { address: this.#master, configEpoch: this.#configEpoch };
    const chosen = chooseMaster({ answers, known, sentinels: this.#sentinels.length });
    if (chosen === undefined) return;
    this.#configEpoch = chosen.configEpoch;
    if (this.#master && sameAddress(this.#master, chosen.address)) return;
    const { log, target, onMove } = this.#options;
    const [from, to] = [this.#master && showAddress(this.#master), showAddress(chosen.address)];
    log.info({ redis: target.label, from, to }, 'Sentinels name the primary');
    this.#master = chosen.address;
    if (from !== undefined) onMove();
  }

  /** Why no primary is known. */
  get excuse(): string {
    const faults = this.#sentinels.map(({ fault, asks }) => fault ?? asks.fault);
    const unknown = faults.find((fault) => fault instanceof UnknownMasterError);
    if (unknown) return unknown.message;
    if (faults.some(isLoginRefused)) {
      return 'the Sentinels refuse redis.sentinel_user or redis.sentinel_password, or want them';
    }
    return `no Sentinel answers: ${describeFault(faults.find((fault) => fault !== undefined))}`;
  }
}

class UnknownMasterError extends Error {}

/**
 * Whom to believe. The highest configuration epoch wins; one that is lower than what is known already, as a Sentinel
 * says that slept through a failover, counts only if most of them say so (they were set up anew).
 */
export function chooseMaster(options: {
  answers: readonly SentinelAnswer[];
  known: SentinelAnswer | undefined;
  /** How many there are, whether they answer or not. */
  sentinels: number;
}): SentinelAnswer | undefined {
  const { answers, known, sentinels } = options;
  const votes = ({ address }: SentinelAnswer): number =>
    answers.filter((other) => sameAddress(other.address, address)).length;
  let best: SentinelAnswer | undefined;
  for (const answer of answers) {
    const better =
      best === undefined ||
      answer.configEpoch > best.configEpoch ||
      (answer.configEpoch === best.configEpoch && votes(answer) > votes(best));
    if (better) best = answer;
  }
  if (best === undefined || known === undefined || best.configEpoch > known.configEpoch) return best;
  if (sameAddress(best.address, known.address) && best.configEpoch === known.configEpoch) return best;
  return votes(best) * 2 > sentinels ? best : undefined;
}

function sameAddress(a: Address, b: Address): boolean {
  return a.host === b.host && a.port === b.port;
}
