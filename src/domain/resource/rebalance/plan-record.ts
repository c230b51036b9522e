import { create, fromBinary } from '@bufbuild/protobuf';
import {
  type RebalancePlan,
  RebalancePlanSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import {
  type RebalancePlanRecord,
  RebalancePlanRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import { type Entry, QUIET_PREFIX } from '../../../state/store.ts';

export const PLAN_PREFIX = `${QUIET_PREFIX}plan/`;
/** A plan is kept for so long. */
export const PLAN_KEPT_MS = 600_000;

export const planKey = (id: string): string => PLAN_PREFIX + id;

export const encodePlan = (plan: RebalancePlan, untilMs: number): Uint8Array =>
  encode(
    RebalancePlanRecordSchema,
    create(RebalancePlanRecordSchema, { plan, untilMs: BigInt(Math.round(untilMs)) }),
  );

export const decodePlan = ({ value }: Pick<Entry, 'value'>): RebalancePlanRecord =>
  fromBinary(RebalancePlanRecordSchema, value);

/** What a record says; every record has its plan. */
export const planOf = ({ plan }: RebalancePlanRecord): RebalancePlan => plan ?? create(RebalancePlanSchema);
