import { jsonObject, readSmall, replaceFile } from './files.ts';

/** Who the agent is, beyond the life of this process. */
export interface Identity {
  namespace: string;
  /** Empty: the service makes one. */
  id: string;
  token: string | undefined;
}

const tokenText = /^[\x21-\x7e]{1,1024}$/;

/**
 * The identity in a token file, for an agent of that namespace and id. A file that holds a token alone, as
 * `agents register` prints it, is of the agent that `id` names. Throws if it is of another agent or holds none.
 */
export function readIdentity(path: string, wanted: { namespace: string; id: string }): Identity {
  const text = readSmall(path);
  if (text === undefined || text === '') return { ...wanted, token: undefined };
  const kept = jsonObject(text) ?? { ...wanted, token: text };
  const { namespace, id, token } = kept;
  if (typeof namespace !== 'string' || typeof id !== 'string' || typeof token !== 'string') {
    throw new Error(`${path} holds no agent's token`);
  }
  if (!tokenText.test(token)) throw new Error(`${path} holds no agent's token`);
  if (id === '') throw new Error(`${path} holds a token alone: --id must say whose it is`);
  if (namespace !== wanted.namespace || (wanted.id !== '' && wanted.id !== id)) {
    throw new Error(`${path} is the token of agent ${id} in ${namespace}: use another file, or remove it`);
  }
  return { namespace, id, token };
}

export function writeIdentity(path: string, { namespace, id, token }: Identity): void {
  replaceFile(path, `${JSON.stringify({ namespace, id, token })}\n`);
}
