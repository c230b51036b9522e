import { createApp, type RunningApp } from './app.ts';
import type { Config } from './config/config.ts';
import { ConfigError, formatConfigError } from './config/errors.ts';
import { loadConfig } from './config/load.ts';
import { keepHeapSmall } from './lib/heap.ts';
import { ListenError } from './lib/listen-error.ts';
import { packageVersion } from './lib/version.ts';
import { StoreOpenError } from './state/store.ts';
import { startTelemetry, type Telemetry } from './telemetry/telemetry.ts';

export interface RunOptions {
  /** Arguments after the command: "--config file", "--grpc.listen=…". */
  argv: readonly string[];
  env: NodeJS.ProcessEnv;
}

/** Exit codes: 0 left as asked, 1 failed, 2 faulty configuration or arguments. */
const FAILED = 1;
const USAGE = 2;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Runs the service until SIGINT, SIGTERM or SIGHUP (its terminal closed); a second signal or the shutdown time-out ends it at once. */
export async function runService(options: RunOptions): Promise<number> {
  keepHeapSmall();
  const arguments_ = parseArguments(options.argv);
  if ('fault' in arguments_) {
    process.stderr.write(`${arguments_.fault}\n`);
    return USAGE;
  }
  let loaded: ReturnType<typeof loadConfig>;
  try {
    loaded = loadConfig({ ...arguments_, env: options.env });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${formatConfigError(error)}\n`);
    return USAGE;
  }
  const { config, sources } = loaded;
  const telemetry = startTelemetry({ config, version: packageVersion(), env: options.env });
  try {
    return await serve(config, sources, telemetry);
  } finally {
    await telemetry.shutdown();
  }
}

async function serve(config: Config, sources: Record<string, string>, telemetry: Telemetry): Promise<number> {
  const { log } = telemetry;
  const signal = nextSignal();
  let app: RunningApp;
  try {
    app = await createApp(config, sources, { telemetry }).start();
  } catch (error) {
    signal.release();
    if (error instanceof StoreOpenError || error instanceof ListenError) log.error({}, error.message);
    else log.error({ err: error }, 'the service could not start');
    return FAILED;
  }
  const { grpc, http, store, durability } = app;
  log.info({ grpc, http, store, durability, id: config.id }, 'ready');
  if (config.log.format === 'pretty' || (config.log.format === 'auto' && process.stdout.isTTY)) welcome(app);
  log.info({ signal: await signal.received }, 'shutting down');
  signal.release();
  const forced = nextSignal();
  const late = new Promise<'late'>((resolve) => {
    setTimeout(() => resolve('late'), config.shutdown.timeoutMs).unref();
  });
  const outcome = await Promise.race([app.close(), late, forced.received]);
  forced.release();
  if (outcome === undefined) {
    log.info({}, 'stopped');
    return 0;
  }
  log.warn(
    { cause: outcome === 'late' ? 'the shutdown time-out passed' : outcome },
    'stopped before all was closed',
  );
  // Whatever is still open would keep the process alive. Not process.exit: it joins the threads of the pool, and one that is
  // amid a write of LMDB waits for this one. The store is made to survive it.
  process.kill(process.pid, 'SIGKILL');
  return await new Promise<never>(() => {});
}

/** What a newcomer does next. */
function welcome({ grpc, http }: RunningApp): void {
  process.stdout.write(
    [
      '',
      `  gRPC   ${grpc}    grpcurl -plaintext ${grpc} list`,
      `  HTTP   http://${http}/    the dashboard, metrics, Connect and gRPC-Web`,
      '  CLI    npx orchestrator status',
      '  Demo   npm run demo    (in another shell: some twenty agents of all kinds)',
      '',
      '',
    ].join('\n'),
  );
}

function nextSignal(): { received: Promise<NodeJS.Signals>; release: () => void } {
  let resolve: (signal: NodeJS.Signals) => void = () => {};
  const received = new Promise<NodeJS.Signals>((done) => {
    resolve = done;
  });
  const listen = (signal: NodeJS.Signals): void => resolve(signal);
  for (const signal of SIGNALS) process.on(signal, listen);
  return {
    received,
    release: () => {
      for (const signal of SIGNALS) process.off(signal, listen);
    },
  };
}

type Arguments = { file: string | undefined; flags: Record<string, string> } | { fault: string };

/** "--config file", "--config=file", "--key=value" and "--key value". */
function parseArguments(argv: readonly string[]): Arguments {
  const flags: Record<string, string> = {};
  let file: string | undefined;
  for (let i = 0; i < argv.length; i += 1) {
    const argument = argv[i] ?? '';
    const match = /^--([A-Za-z][\w.-]*)(?:=(.*))?$/s.exec(argument);
    if (match === null)
      return { fault: `${JSON.stringify(argument.slice(0, 60))} is not a flag: write --key=value` };
    const name = match[1] ?? '';
    const value = match[2] ?? argv[++i];
    if (value === undefined) return { fault: `--${name} needs a value` };
    if (name === 'config') file = value;
    else flags[name] = value;
  }
  return { file, flags };
}
