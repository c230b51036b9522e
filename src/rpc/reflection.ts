import {
  create,
  createRegistry,
  type DescFile,
  type DescMessage,
  type DescService,
  type MessageInitShape,
  type Registry,
  toBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { file_google_rpc_error_details } from '../../gen/google/rpc/error_details_pb.ts';
import {
  ServerReflection,
  type ServerReflectionRequest,
  ServerReflectionResponseSchema,
} from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import {
  ServerReflection as ServerReflectionAlpha,
  ServerReflectionResponseSchema as ServerReflectionResponseAlphaSchema,
} from '../../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { file_mycosoft_orchestrator_common_v1_error_reason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { Code } from './codes.ts';
import type { ServiceBinding } from './service.ts';

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']>;

/**
 * Server reflection, v1 and v1alpha, from the descriptors of the generated code: complete, with every import, so
 * that grpcurl and buf curl can describe and call whatever this server serves. Services turned off are left out.
 */
export function createReflection(services: readonly ServiceBinding[]): ServiceBinding[] {
  const described = [
    ...services.filter((binding) => binding.gated !== true).map(({ service }) => service),
    ServerReflection,
    ServerReflectionAlpha,
  ];
  const index = new DescriptorIndex(described);
  const bind = (service: DescService, response: DescMessage): ServiceBinding => ({
    service,
    handlers: service.methods.map((method) => ({
      kind: 'bidi',
      method,
      // v1 and v1alpha differ in their package only.
      handle: async function* (requests) {
        for await (const request of requests as AsyncIterable<ServerReflectionRequest>) {
          yield create(response, {
            validHost: request.host,
            originalRequest: request,
            messageResponse: index.answer(request.messageRequest),
          } as Record<string, unknown>) as never;
        }
      },
    })),
  });
  return [
    bind(ServerReflection, ServerReflectionResponseSchema),
    bind(ServerReflectionAlpha, ServerReflectionResponseAlphaSchema),
  ];
}

class DescriptorIndex {
  readonly #services: readonly string[];
  readonly #files: ReadonlyMap<string, DescFile>;
  readonly #registry: Registry;

  constructor(services: readonly DescService[]) {
    this.#services = services.map(({ typeName }) => typeName).sort();
    // Errors carry details as Any: with these, clients can print them.
    const details = [file_google_rpc_error_details, file_mycosoft_orchestrator_common_v1_error_reason];
    const files = [...services.map(({ file }) => file), ...details].flatMap(withImports);
    this.#files = new Map(files.map((file) => [file.proto.name, file]));
    this.#registry = createRegistry(...this.#files.values());
  }

  answer(request: ServerReflectionRequest['messageRequest']): Answer {
    switch (request.case) {
      case 'listServices':
        return {
          case: 'listServicesResponse',
          value: { service: this.#services.map((name) => ({ name })) },
        };
      case 'fileByFilename':
        return this.#file(this.#files.get(request.value), `file ${request.value}`);
      case 'fileContainingSymbol':
        return this.#file(this.#fileOf(request.value), `symbol ${request.value}`);
      case 'fileContainingExtension': {
        const { containingType, extensionNumber } = request.value;
        const type = this.#registry.getMessage(containingType);
        const found = type && this.#registry.getExtensionFor(type, extensionNumber);
        return this.#file(found?.file, `extension ${extensionNumber} of ${containingType}`);
      }
      case 'allExtensionNumbersOfType': {
        const type = this.#registry.getMessage(request.value);
        if (type === undefined) return notFound(`type ${request.value}`);
        const extensionNumber = [...this.#registry]
          .filter((desc) => desc.kind === 'extension')
          .filter((desc) => desc.extendee.typeName === type.typeName)
          .map((desc) => desc.number);
        return {
          case: 'allExtensionNumbersResponse',
          value: { baseTypeName: type.typeName, extensionNumber },
        };
      }
      default:
        return {
          case: 'errorResponse',
          value: { errorCode: Code.INVALID_ARGUMENT, errorMessage: 'no request is set' },
        };
    }
  }

  /** The file first, then everything that it imports. */
  #file(file: DescFile | undefined, asked: string): Answer {
    if (file === undefined) return notFound(asked);
    const fileDescriptorProto = withImports(file).map(({ proto }) =>
      toBinary(FileDescriptorProtoSchema, proto),
    );
    return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
  }

  /** A symbol is a type, a service, or something in one: a method, field, oneof or enum value. */
  #fileOf(symbol: string): DescFile | undefined {
    const name = symbol.replace(/^\./, '');
    return (this.#registry.get(name) ?? this.#registry.get(name.slice(0, Math.max(0, name.lastIndexOf('.')))))
      ?.file;
  }
}

function withImports(file: DescFile): DescFile[] {
  const seen = new Map<string, DescFile>();
  const visit = (next: DescFile) => {
    if (seen.has(next.proto.name)) return;
    seen.set(next.proto.name, next);
    next.dependencies.forEach(visit);
  };
  visit(file);
  return [...seen.values()];
}

function notFound(asked: string): Answer {
  return {
    case: 'errorResponse',
    value: { errorCode: Code.NOT_FOUND, errorMessage: `not found: ${asked.slice(0, 300)}` },
  };
}
