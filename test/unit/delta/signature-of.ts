/** The signature of bytes that are in memory at once. */
import {SignatureBuilder, type Signature, type SignatureOptions} from '../../../src/delta/signature.ts';

export function signatureOf(bytes: Buffer, options: SignatureOptions): Signature {
  const builder = new SignatureBuilder(options);
  builder.update(bytes);
  return builder.finish();
}
