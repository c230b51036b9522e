import { create, fromBinary } from '@bufbuild/protobuf';
import {
  type Quota,
  QuotaSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import {
  type QuotaRecord,
  QuotaRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';

/** The format that this version writes. */
export const QUOTA_FORMAT = 1;

const PREFIX = 'quota/';

/** @param owner empty: the namespace's own */
export const quotaKey = (owner: string): string => PREFIX + owner;
export const isQuotaKey = (key: string): boolean => key.startsWith(PREFIX);
export const ownerOfQuota = (key: string): string => key.slice(PREFIX.length);

export const encodeQuota = (record: QuotaRecord): Uint8Array => encode(QuotaRecordSchema, record);
export const decodeQuota = (bytes: Uint8Array): QuotaRecord => fromBinary(QuotaRecordSchema, bytes);

/** The public part of a record; every record has one. */
export function quotaOf(record: QuotaRecord): Quota {
  return record.quota ?? create(QuotaSchema);
}

/** The revision that callers see: of the last change by UpdateQuota. @param entryRevision of the record's own entry */
export function specRevisionOf(record: QuotaRecord, entryRevision: bigint): bigint {
  return record.specRevision === 0n ? entryRevision : record.specRevision;
}
