import { isUtf8 } from 'node:buffer';
import { configureTextEncoding } from '@bufbuild/protobuf/wire';

/**
 * Gives the protobuf runtime Node's own UTF-8 instead of TextEncoder and TextDecoder, which cost several times as much
 * for the short strings that messages are made of. Invalid UTF-8 is refused as before. Process-wide, by the runtime's
 * design; call it before the first message.
 */
export function useNodeTextEncoding(): void {
  configureTextEncoding({
    encodeUtf8: (text) => Buffer.from(text, 'utf8') as Uint8Array<ArrayBuffer>,
    decodeUtf8: (bytes, strict) => {
      if (strict && !isUtf8(bytes)) throw new TypeError('invalid UTF-8');
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
    },
    checkUtf8: (text) => text.isWellFormed(),
  });
}
