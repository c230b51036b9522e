/** The namespace of requests that name none. */
export const DEFAULT_NAMESPACE = 'default';

/** The service's own records, in the system database; no namespace of users can have this name. */
export const SYSTEM_NAMESPACE = '_system';

export const namespaceOf = (request: { namespace: string }): string =>
  request.namespace === '' ? DEFAULT_NAMESPACE : request.namespace;
