import { useState } from 'preact/hooks';
import { FormDialog, TextField, textOf } from '../../components/form.tsx';
import { toTime } from '../../lib/time.ts';
import { call, requestId } from '../../live/client.ts';
import { replicaNow } from '../../store/link.ts';
import type { Matcher } from './matchers.ts';

const HOURS: readonly [hours: number, word: string][] = [
  [0.5, '30 minutes'],
  [1, '1 hour'],
  [4, '4 hours'],
  [24, '1 day'],
  [168, '7 days'],
];
const MOST = 16;

export interface SilenceDialogProps {
  namespace: string;
  /** To begin with. */
  matchers: readonly Matcher[];
  /** What has to be known of them, in sentences. */
  notes?: readonly string[];
  onClose(): void;
}

/** Keeps matching alerts from sinks for a time. */
export function SilenceDialog({ namespace, matchers, notes = [], onClose }: SilenceDialogProps) {
  const [rows, setRows] = useState<readonly Matcher[]>(matchers.slice(0, MOST));
  const change = (index: number, part: Partial<Matcher>) =>
    setRows(rows.map((row, at) => (at === index ? { ...row, ...part } : row)));
  return (
    <FormDialog
      title="Silence alerts"
      button="Silence"
      onClose={onClose}
      submit={async (data) => {
        const hours = Number(data.get('hours'));
        await call('AlertService', 'createSilence', {
          namespace: data.get('everywhere') === null ? namespace : '',
          matchers: rows.filter(({ name }) => name !== '').map(({ name, value }) => ({ name, value })),
          endTime: toTime(replicaNow.peek() + hours * 3_600_000),
          comment: textOf(data, 'comment'),
          requestId: requestId(),
        });
        return 'Silenced: matching alerts are judged and shown, and not sent.';
      }}
    >
      <fieldset class="matchers">
        <legend>Alerts with all of these labels</legend>
        {rows.map(({ name, value, shown = value }, index) => (
          <div class="matcher" key={index}>
            <input
              aria-label={`Label ${index + 1}`}
              value={name}
              placeholder="alertname"
              required
              onInput={(event) => change(index, { name: event.currentTarget.value.trim() })}
            />
            <span aria-hidden="true">=</span>
            <input
              aria-label={`Value ${index + 1}`}
              value={shown}
              placeholder="value, or prefix*"
              onInput={(event) =>
                change(index, { value: event.currentTarget.value, shown: event.currentTarget.value })
              }
            />
            <button
              type="button"
              class="quiet"
              aria-label={`Leave out ${name === '' ? `label ${index + 1}` : name}`}
              disabled={rows.length === 1}
              onClick={() => setRows(rows.filter((_, at) => at !== index))}
            >
              ×
            </button>
          </div>
        ))}
        {notes.map((note) => (
          <p key={note} class="note">
            {note}
          </p>
        ))}
        {rows.length < MOST && (
          <button type="button" class="quiet add" onClick={() => setRows([...rows, { name: '', value: '' }])}>
            + another label
          </button>
        )}
      </fieldset>
      <div class="field">
        <label for="silence-hours">For</label>
        <select id="silence-hours" name="hours">
          {HOURS.map(([hours, word]) => (
            <option key={hours} value={hours} selected={hours === 1}>
              {word}
            </option>
          ))}
        </select>
      </div>
      <TextField name="comment" label="Why" required />
      {namespace !== '' && (
        <label class="check">
          <input type="checkbox" name="everywhere" /> In every namespace
        </label>
      )}
    </FormDialog>
  );
}
