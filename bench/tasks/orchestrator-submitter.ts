import { grpcHeaders, grpcUnary, H2Client } from '../../test/support/h2-client.ts';
import { SubmitTemplate } from './frames.ts';
import { placeOf } from './place.ts';
import type { Place } from './protocol.ts';
import type { Submitter } from './submitter.ts';

const SUBMIT = '/mycosoft.orchestrator.coordination.v1.TaskService/SubmitTask';
const CONNECTIONS = 8;
/** Of the agent that gets it: placement by resources is on. */
export const CPU_MILLI = 100n;

/** Submits tasks one by one, with unary calls over a few connections. */
export class OrchestratorSubmitter implements Submitter {
  readonly #clients: H2Client[];
  readonly #headers: Buffer;
  readonly #template = new SubmitTemplate({
    capability: 'bench',
    resources: { cpu_milli: CPU_MILLI },
    input: { data: { case: 'text', value: 'x'.repeat(32) } },
  });

  constructor({ address }: Place) {
    this.#clients = Array.from({ length: CONNECTIONS }, () => new H2Client(placeOf(address)));
    this.#headers = grpcHeaders(SUBMIT, address);
  }

  async open(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.connected()));
  }

  async submit(number: number): Promise<void> {
    const client = this.#clients[number % CONNECTIONS];
    if (client === undefined) throw new Error('there is no connection');
    const answer = await grpcUnary(client, this.#headers, this.#template.request(number));
    if (answer === undefined) throw new Error(`task ${number} was refused`);
  }
}
