import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { CallFailed } from '../live/client.ts';
import { Dialog } from './dialog.tsx';
import { say } from './toasts.tsx';

export interface FormDialogProps {
  title: string;
  button: string;
  /** Whether what it does cannot be taken back lightly. */
  danger?: boolean;
  /** Does it. @returns what is said afterwards */
  submit(data: FormData): Promise<string>;
  onClose(): void;
  children: ComponentChildren;
}

/** Asks, does it, and says what came of it; what went wrong stays in the dialog. */
export function FormDialog({ title, button, danger = false, submit, onClose, children }: FormDialogProps) {
  const [failure, setFailure] = useState('');
  const [busy, setBusy] = useState(false);
  const run = async (form: HTMLFormElement) => {
    setBusy(true);
    setFailure('');
    try {
      say(await submit(new FormData(form)));
      onClose();
    } catch (error) {
      setFailure(error instanceof CallFailed ? error.message : String(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void run(event.currentTarget);
        }}
      >
        {children}
        {failure !== '' && (
          <p class="failure" role="alert">
            {failure}
          </p>
        )}
        <div class="dialog-buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class={danger ? 'danger' : 'primary'} disabled={busy}>
            {busy ? 'Asking…' : button}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

export interface FieldProps {
  label: string;
  note?: string;
  name: string;
  children?: ComponentChildren;
  /** Where it holds no other element: a line of text. */
  required?: boolean;
  maxLength?: number;
}

/** A line of text with its label. */
export function TextField({ label, note, name, required = false, maxLength = 1_024 }: FieldProps) {
  const id = `field-${name}`;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input id={id} name={name} required={required} maxLength={maxLength} autocomplete="off" />
      {note !== undefined && <span class="field-note">{note}</span>}
    </div>
  );
}

export const textOf = (data: FormData, name: string): string => String(data.get(name) ?? '').trim();
