import type { Probes } from '../../domain/monitoring/services/ports.ts';
import { grpcProbe } from './grpc.ts';
import { httpProbe, type TlsTrust } from './http.ts';
import { redisProbe } from './redis.ts';
import { tcpProbe } from './tcp.ts';

/** Each kind of probe. Certificates are verified; further authorities come by NODE_EXTRA_CA_CERTS. */
export function createProbes(trust: TlsTrust = {}): Probes {
  return { http: httpProbe(trust), tcp: tcpProbe(), grpc: grpcProbe(trust), redis: redisProbe(trust) };
}
