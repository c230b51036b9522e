import { clone, create, fromBinary } from '@bufbuild/protobuf';
import {
  type Alert,
  Alert_State,
  AlertSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  type AlertRecord,
  AlertRecordSchema,
  type SilenceRecord,
  SilenceRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';

export const RECORD_FORMAT = 1;

const ALERT = 'alert/';
const SILENCE = 'silence/';
/** How far events were judged in a namespace. */
export const PROGRESS_KEY = 'monitor/alerts';

export const alertKey = (id: string): string => ALERT + id;
export const isAlertKey = (key: string): boolean => key.startsWith(ALERT);
export const alertIdOf = (key: string): string => key.slice(ALERT.length);
export const silenceKey = (id: string): string => SILENCE + id;
export const isSilenceKey = (key: string): boolean => key.startsWith(SILENCE);
export const silenceIdOf = (key: string): string => key.slice(SILENCE.length);

/** Stands in a record for the revision of the commit that it is stored in, which is not known before. */
const THIS_COMMIT = '*';
/** An event of the commit that stores the record. */
export const eventOfThisCommit = (index: number): string => `${THIS_COMMIT}-${index}`;

export const encodeAlert = (record: AlertRecord): Uint8Array => encode(AlertRecordSchema, record);

/** @param revision of the commit that stored it */
export function decodeAlert(bytes: Uint8Array, revision: bigint): AlertRecord {
  const record = fromBinary(AlertRecordSchema, bytes);
  const alert = alertOf(record);
  if (alert.eventId.startsWith(THIS_COMMIT))
    alert.eventId = `${revision}${alert.eventId.slice(THIS_COMMIT.length)}`;
  return record;
}

export const encodeSilence = (record: SilenceRecord): Uint8Array => encode(SilenceRecordSchema, record);
export const decodeSilence = (bytes: Uint8Array): SilenceRecord => fromBinary(SilenceRecordSchema, bytes);

export const copyAlertRecord = (record: AlertRecord): AlertRecord => clone(AlertRecordSchema, record);

/** The public part; every record has one. */
export function alertOf(record: AlertRecord): Alert {
  record.alert ??= create(AlertSchema);
  return record.alert;
}

export const isOpen = ({ state }: Pick<Alert, 'state'>): boolean => state !== Alert_State.RESOLVED;
/** It calls for somebody, or somebody looks after it. */
export const isFiring = ({ state }: Pick<Alert, 'state'>): boolean =>
  state === Alert_State.FIRING || state === Alert_State.ACKNOWLEDGED;

/** What an alert is about, as a key: the rule, and the labels of its subject. */
export function fingerprintOf(rule: string, subject: Readonly<Record<string, string>>): string {
  const parts = Object.keys(subject)
    .sort()
    .map((name) => `${name}=${JSON.stringify(subject[name])}`);
  return `${rule}{${parts.join(',')}}`;
}
