// What the bench's own servers have in common: methods as grpc-js wants them, with the same library as the orchestrator's.
import { type DescMethod, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type MethodDefinition, type Server, ServerCredentials } from '@grpc/grpc-js';

/** A generated method for grpc-js. `I` and `O` are its messages. */
export function methodOf<I, O>({
  input,
  output,
  parent,
  name,
  methodKind,
}: DescMethod): MethodDefinition<I, O> {
  return {
    path: `/${parent.typeName}/${name}`,
    requestStream: methodKind === 'bidi_streaming' || methodKind === 'client_streaming',
    responseStream: methodKind === 'bidi_streaming' || methodKind === 'server_streaming',
    requestSerialize: (message) => Buffer.from(toBinary(input, message as never)),
    requestDeserialize: (bytes) => fromBinary(input, bytes) as I,
    responseSerialize: (message) => Buffer.from(toBinary(output, message as never)),
    responseDeserialize: (bytes) => fromBinary(output, bytes) as O,
  };
}

/** Listens on a free port of loopback, and says which in a line on stdout. */
export function listen(server: Server): void {
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
    if (error !== null) throw error;
    process.stdout.write(`${JSON.stringify({ msg: 'ready', grpc: `127.0.0.1:${port}` })}\n`);
  });
}
