/** A last line of defence for free text: passwords in URLs, bearer tokens. Callers keep secrets out in the first place. */
export function scrub(text: string): string {
  let clean = text;
  if (clean.includes('://')) clean = clean.replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s/@"'\\]+@/gi, '$1***@');
  if (/bearer\s/i.test(clean)) clean = clean.replace(/\b(bearer\s+)[\w.~+/=-]+/gi, '$1***');
  return clean;
}
